"""A shop that takes money: six services, a storefront, and the outside world in a sandbox."""

from typing import Final

COMMAND: Final = "ecommerce"
