"""Lua scripts: steps that Redis takes at once, by one command."""

from __future__ import annotations

import asyncio
from hashlib import sha1
from importlib.resources import files

from prodkit.stores.redis.command import Word, pack
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.replies import Refusal
from prodkit.stores.redis.wire import Reply

#: A script may be forgotten again while it is being loaded; not for ever.
_TRIES = 3


class Script:
    """A script of this folder, run by its digest; one that Redis does not know is loaded first."""

    __slots__ = ("_digest", "_load", "_loading", "_redis")

    def __init__(self, redis: RedisConnection, name: str) -> None:
        source = files(__package__).joinpath(f"{name}.lua").read_bytes()
        self._redis = redis
        self._digest = sha1(source, usedforsecurity=False).hexdigest()
        self._load: bytes = pack(("SCRIPT", "LOAD", source))
        self._loading = False

    async def __call__(self, keys: int, *words: Word) -> Reply:
        """Run it with `words`, the first `keys` of which are keys."""
        packed = pack(("EVALSHA", self._digest, keys, *words))
        reply = await self._redis.ask(packed)
        if type(reply) is Refusal:
            return await self._again(reply, packed)
        return reply

    async def _again(self, refusal: Refusal, packed: bytes) -> Reply:
        """Load the script if that is what was missing, and run it."""
        for _ in range(_TRIES):
            if refusal.word != "NOSCRIPT":
                break
            reply = await self._loaded(packed)
            if type(reply) is not Refusal:
                return reply
            refusal = reply
        raise self._redis.failed(refusal)

    async def _loaded(self, packed: bytes) -> Reply:
        if self._loading:  # that is ahead of us on the wire
            return await self._redis.ask(packed)
        self._loading = True
        try:
            asked = self._redis.ask(self._load), self._redis.ask(packed)
            loaded, reply = await asyncio.gather(*asked)
        finally:
            self._loading = False
        return loaded if type(loaded) is Refusal else reply
