"""Passwords: argon2id in a bounded pool of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import TypeVar
from unicodedata import normalize

from prodkit._extras import extra

with extra("auth", of=__name__):
    import argon2  # noqa: F401

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from prodkit.errors import InvalidArgumentError, UnavailableError

T = TypeVar("T")

#: Longer ones are refused unhashed. NIST SP 800-63B asks for at least 64 characters.
_MAX_BYTES = 1024


class PasswordHasher:
    """Hashes and verifies passwords; a component, so that its threads end with the service.

    The defaults are OWASP's minimum for argon2id: 19 MiB, two passes, one lane; some 50 ms of CPU
    each, so limit attempts before they get here. At most `threads` run at once and `max_pending`
    wait; beyond that UnavailableError (PASSWORDS_BUSY), so that a flood of logins cannot take the
    process down. Passwords are normalized (NFKC): one keyboard's ü is another one's u and dots.
    """

    def __init__(
        self,
        *,
        name: str = "passwords",
        memory_cost: int = 19_456,
        time_cost: int = 2,
        parallelism: int = 1,
        threads: int = 2,
        max_pending: int = 32,
    ) -> None:
        self.name = name
        self._argon2 = Argon2(time_cost, memory_cost, parallelism)
        self._max_pending = max_pending
        self._pending = 0
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._nobody = ""

    async def start(self) -> None:
        """Make the hash that unknown users are verified against."""
        self._nobody = await self.hash(token_hex(16))

    async def stop(self, grace: float) -> None:
        """Let the threads end; what waits for one is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the hash to store: algorithm, parameters, salt and digest in one string."""
        text = _normalized(password)
        return await self._in_thread(lambda: self._argon2.hash(text))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Say whether `password` made `stored`.

        For None (no such user) it takes the same time and says no, so nobody learns who has an
        account. Raises ValueError for something stored that is no argon2 hash.
        """
        if stored is None and not self._nobody:
            raise RuntimeError(f"{self.name} is not started")
        against, text = stored or self._nobody, _normalized(password)
        matches = await self._in_thread(lambda: self._matches(against, text))
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Say whether `stored` was made with other parameters: hash anew at the next login."""
        return self._argon2.check_needs_rehash(stored)

    def _matches(self, stored: str, text: str) -> bool:
        try:
            return self._argon2.verify(stored, text)
        except InvalidHashError:
            raise ValueError("what is stored is no argon2 hash") from None
        except VerificationError:
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._pending >= self._threads + self._max_pending:
            raise UnavailableError(
                "too many passwords are being checked", reason="PASSWORDS_BUSY", retry_after=1.0
            )
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._ended)
        return await future

    def _ended(self, _: object) -> None:
        self._pending -= 1


def _normalized(password: str) -> str:
    text = normalize("NFKC", password)
    if len(text.encode("utf-8", "replace")) > _MAX_BYTES:
        raise InvalidArgumentError(f"a password has at most {_MAX_BYTES} bytes")
    return text
