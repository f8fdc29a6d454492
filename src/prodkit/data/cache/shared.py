"""The second tier: what processes share, asked with a time limit and done without if it fails."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf
from random import getrandbits
from typing import Generic, NamedTuple, TypeVar, cast

from prodkit._tasks import complete
from prodkit.clock import SYSTEM_CLOCK, Alarm, Clock, seconds
from prodkit.data.cache.store import CacheStore, SharedTierError
from prodkit.errors import ConfigurationError

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

#: How often those who wait for another process's load look for its answer, in seconds.
_POLL = 0.05
_MISSING, _PRESENT = b"\x00", b"\x01"


class Fetched(NamedTuple, Generic[V]):
    """An answer, the seconds that it may be used for, and whether others had it already."""

    value: V
    lasts: float
    shared: bool = False


class Shared(Generic[K, V]):
    """The tier that a `Cache` keeps in a `CacheStore`, beside its own memory.

    `dumps` and `loads` turn a value into bytes and back; None never reaches them. There is no
    default: pickle runs what it reads, JSON changes what it writes. Keys are `namespace:` and what
    `key` makes of a key; put a version into the namespace and raise it when the format changes. A
    value that cannot be read is left to whoever wrote it, and loaded.

    `ttl` is how old an answer may get, at least the cache's own, which is how long a process does
    without looking here. `lease` is how long one process may take to load a key before the next
    tries (5 s; others look for its answer meanwhile, then load for themselves alone); with
    `lease=None` every process loads, and a load that was under way when the key was invalidated may
    bring its old value back for `ttl`.

    Each question to the store may take `timeout` (0.25 s). When it fails, the cache loads as if it
    were alone.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        namespace: str,
        dumps: Callable[[V], bytes],
        loads: Callable[[bytes], V],
        ttl: float | timedelta,
        key: Callable[[K], str] | None = None,
        lease: float | timedelta | None = 5.0,
        timeout: float | timedelta = 0.25,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(namespace, str) or not namespace:
            raise ConfigurationError(f"namespace must be a text, not {namespace!r}")
        self.ttl = seconds("ttl", ttl)
        self._store = store
        self._prefix = f"{namespace}:"
        self._dumps = dumps
        self._loads = loads
        self._key = key
        self._lease = None if lease is None else seconds("lease", lease)
        self._timeout = seconds("timeout", timeout)
        self._clock = clock

    async def fetch(
        self,
        key: K,
        load: Callable[[K], Awaitable[V]],
        *,
        lasts: Callable[[V], float],
        report: Callable[[SharedTierError], None],
    ) -> Fetched[V]:
        """Return what the store has for `key`; else `load` it, here or in another process.

        `lasts` says how long a loaded value may be kept, `report` hears of the store's failures.
        """
        name = self._name(key)
        try:
            found, holder = await self._find(name, report)
        except SharedTierError as failure:
            report(failure)
            return Fetched(await load(key), inf)
        if found is not None:
            return found
        try:
            value = await load(key)
        except BaseException:
            if holder is not None:
                await complete(self._release(name, holder, report))
            raise
        ttl = lasts(value)
        if holder is not None or self._lease is None:
            await complete(self._write(name, value, ttl, holder, report))
        return Fetched(value, ttl)

    async def put(self, key: K, value: V, ttl: float) -> None:
        """Keep `value`, whoever is loading; raises SharedTierError."""
        name = self._name(key)
        await self._ask("set", name, self._store.set(name, self._encoded(name, value), ttl=ttl))

    async def delete(self, key: K) -> None:
        """Forget the value and refuse the loads under way; raises SharedTierError."""
        name = self._name(key)
        await self._ask("delete", name, self._store.delete(name))

    async def _find(
        self, name: str, report: Callable[[SharedTierError], None]
    ) -> tuple[Fetched[V] | None, str | None]:
        """Return what the store has, or else the lease by which it is ours to load."""
        holder = f"{getrandbits(64):016x}"
        patience = self._clock.monotonic() + (self._lease or 0.0)
        while True:
            stored = await self._ask("get", name, self._store.get(name))
            if stored is not None:
                return Fetched(self._decoded(name, stored[0]), stored[1], True), None
            if self._lease is None:
                return None, None
            asked = self._store.acquire(name, holder, ttl=self._lease)
            try:
                mine = await self._ask("acquire", name, asked)
            except CancelledError:  # the lease may have been given, and all would wait for its end
                await complete(self._release(name, holder, report))
                raise
            if mine:
                return None, holder
            if self._clock.monotonic() >= patience:
                return None, None
            await self._clock.sleep(_POLL)

    async def _write(
        self,
        name: str,
        value: V,
        ttl: float,
        holder: str | None,
        report: Callable[[SharedTierError], None],
    ) -> None:
        try:
            data = self._encoded(name, value)
            await self._ask("set", name, self._store.set(name, data, ttl=ttl, holder=holder))
        except SharedTierError as failure:
            report(failure)
            if failure.operation == "encode" and holder is not None:
                await self._release(name, holder, report)

    async def _release(
        self, name: str, holder: str, report: Callable[[SharedTierError], None]
    ) -> None:
        try:
            await self._ask("release", name, self._store.release(name, holder))
        except SharedTierError as failure:
            report(failure)

    async def _ask(self, operation: str, name: str, work: Awaitable[T]) -> T:
        alarm = Alarm(self._clock, self._timeout)
        try:
            return await work
        except CancelledError:
            if not alarm.rang():
                raise
            late = TimeoutError(f"no answer within {self._timeout:g} s")
            raise SharedTierError(operation, name, late) from None
        except Exception as error:
            raise SharedTierError(operation, name, error) from error
        finally:
            alarm.stop()

    def _name(self, key: K) -> str:
        name = key if self._key is None else self._key(key)
        if not isinstance(name, str):
            raise TypeError(
                f"a shared cache needs texts for keys, not {name!r}: give Shared(key=...)"
            )
        return self._prefix + name

    def _encoded(self, name: str, value: V) -> bytes:
        if value is None:
            return _MISSING
        try:
            return _PRESENT + self._dumps(value)
        except Exception as error:
            raise SharedTierError("encode", name, error) from error

    def _decoded(self, name: str, data: bytes) -> V:
        try:
            if data[:1] == _PRESENT:
                return self._loads(data[1:])
            if data == _MISSING:
                return cast("V", None)
            raise ValueError("no value of a prodkit cache")
        except Exception as error:
            raise SharedTierError("decode", name, error) from error

    def __repr__(self) -> str:
        return f"Shared({self._prefix[:-1]!r}, {self.ttl:g} s)"
