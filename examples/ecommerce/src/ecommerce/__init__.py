"""The shop, a project made by prodkit."""

from typing import Final

#: What it is called on the command line.
COMMAND: Final = "ecommerce"
