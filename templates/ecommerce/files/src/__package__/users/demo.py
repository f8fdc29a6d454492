"""The first accounts of a shop; the password of the demo's the whole world knows."""

from __future__ import annotations

from typing import Final

from prodkit.errors import AlreadyExistsError
from prodkit.security.passwords import PasswordHasher

from ..identity import new_id
from . import accounts
from .accounts import Units

PASSWORD: Final = "demo-password"  # noqa: S105 - known to the world on purpose
ACCOUNTS: Final = {
    "admin@example.com": ("Ada Admin", ["admin", "customer"]),
    "staff@example.com": ("Stan Staff", ["customer", "staff"]),
    "customer@example.com": ("Cora Customer", ["customer"]),
}


class FirstAccounts:
    """Creates the accounts that are not there yet; those that are keep their password."""

    name = "first accounts"

    def __init__(self, units: Units, passwords: PasswordHasher, password: str) -> None:
        self._units = units
        self._passwords = passwords
        self._password = password

    async def start(self) -> None:
        """Create what is missing."""
        for email, (name, roles) in ACCOUNTS.items():
            if await accounts.by_email(self._units.database.fetch, email) is not None:
                continue
            hashed = await self._passwords.hash(self._password)
            try:
                async with self._units() as work:
                    await accounts.add(
                        work,
                        new_id("user"),
                        name=name,
                        email=email,
                        password_hash=hashed,
                        roles=roles,
                    )
            except AlreadyExistsError:
                continue  # another process was faster

    async def stop(self, grace: float) -> None:
        """Leave them."""
