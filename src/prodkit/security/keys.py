"""Signing keys: key sets in files, rotation with overlap, and key sets read from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from prodkit._extras import extra

with extra("auth", of=__name__):
    import joserfc  # noqa: F401

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError, UnavailableError

#: One algorithm a key (RFC 8725), by its full name (RFC 9864, which retires "EdDSA").
ALGORITHM: Final = "Ed25519"

_log = structlog.get_logger("prodkit.security")


class KeySource(Protocol):
    """Where the public keys of one issuer come from."""

    def known(self, kid: str) -> OKPKey | None:
        """Return the key if it is at hand and still stands."""

    async def find(self, kid: str) -> OKPKey | None:
        """Return the key, after looking for it where it may be new; None if there is none."""


class KeySet:
    """The keys of one issuer, in the order of their file: the first signs.

    The second is its successor, published one rotation before it signs, so that no verifier meets
    a token of a key it has not heard of; the rest only verify until their tokens have expired.
    `kid` is the RFC 7638 thumbprint. The file is a private JWK Set, readable by its owner alone;
    reading and writing it blocks, so do it at start or in a thread.
    """

    def __init__(self, keys: Iterable[OKPKey], *, path: Path | None = None) -> None:
        self._path = path
        self._use(keys)

    @classmethod
    def generate(cls) -> KeySet:
        """Return a new set that lives in memory."""
        return cls([_new_key(), _new_key()])

    @classmethod
    def open(cls, path: str | Path) -> KeySet:
        """Return the set kept in `path`; the first of several processes to come creates it."""
        path = Path(path)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path, _dump([_new_key(), _new_key()]))
        return cls(_load(path), path=path)

    @property
    def signing_key(self) -> OKPKey:
        """The key that signs now."""
        return self._keys[0]

    def rotate(self, *, keep: int = 1) -> None:
        """Let the successor sign; `keep` earlier keys go on verifying.

        Rotate no more often than tokens live, or tokens in use become invalid before their time.
        """
        old, successor, *earlier = self._keys
        keys = [successor, _new_key(), *[old, *earlier][:keep]]
        if self._path is not None:
            _replace(self._path, _dump(keys))
        self._use(keys)

    def reload(self) -> None:
        """Read the file again, after another process rotated it."""
        if self._path is not None:
            self._use(_load(self._path))

    def jwks(self) -> dict[str, Any]:
        """Return the public JWK Set, for `/.well-known/jwks.json`."""
        return {"keys": [key.as_dict(private=False) for key in self._keys]}

    def known(self, kid: str) -> OKPKey | None:
        """Return the key if it is in the set."""
        return self._by_kid.get(kid)

    async def find(self, kid: str) -> OKPKey | None:
        """Return the key if it is in the set."""
        return self._by_kid.get(kid)

    def _use(self, keys: Iterable[OKPKey]) -> None:
        self._keys = tuple(keys)
        if len(self._keys) < 2:
            raise ValueError("a key set needs a key that signs and its successor")
        self._by_kid = {str(key.kid): key for key in self._keys}


class RemoteKeys:
    """The public keys of an issuer elsewhere; `fetch` returns its JWK Set.

    An unknown `kid` makes one fetch, at most one in `min_interval` seconds, so a flood of made-up
    ones costs nothing. Keys older than `max_age` seconds are fetched again at their next use, in
    the background, so a withdrawn key ends. When a fetch fails the keys at hand stay in use (and a
    warning is logged); with none at hand UnavailableError is raised: the token may well be good.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Mapping[str, Any]]],
        *,
        min_interval: float = 30.0,
        max_age: float = 300.0,
        timeout: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._fetch = fetch
        self._min_interval = min_interval
        self._max_age = max_age
        self._timeout = timeout
        self._clock = clock
        self._keys: dict[str, OKPKey] | None = None
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Fetch the keys at start; UnavailableError when that fails."""
        await self._refresh()
        self._at_hand()

    def known(self, kid: str) -> OKPKey | None:
        """Return the key if it is at hand; where the keys grew old, begin to fetch them again."""
        if self._clock.monotonic() - self._fetched > self._max_age and self._may_fetch():
            self._begin()
        return self._keys.get(kid) if self._keys is not None else None

    async def find(self, kid: str) -> OKPKey | None:
        """Return the key, after a fetch if one may be made and could help."""
        key = self.known(kid)
        if key is not None:
            return key
        if self._fetching is not None or self._may_fetch():
            await self._refresh()
        return self._at_hand().get(kid)

    def _may_fetch(self) -> bool:
        waited = self._clock.monotonic() - self._tried >= self._min_interval
        return self._fetching is None and waited

    def _at_hand(self) -> dict[str, OKPKey]:
        if self._keys is None:
            raise UnavailableError(
                "the keys of the token's issuer cannot be read",
                reason="KEYS_UNAVAILABLE",
                retry_after=self._min_interval,
            )
        return self._keys

    async def _refresh(self) -> None:
        """Join the fetch under way or begin one; a caller that gives up does not end it."""
        await asyncio.shield(self._fetching or self._begin())

    def _begin(self) -> asyncio.Task[None]:
        """Begin a fetch; it ends by itself within the time limit, so nobody need await it."""
        self._tried = self._clock.monotonic()
        self._fetching = asyncio.create_task(self._fetch_keys(), name="fetch keys")
        return self._fetching

    async def _fetch_keys(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                self._keys = _public_keys(await self._fetch())
            self._fetched = self._clock.monotonic()
        except Exception as error:  # noqa: BLE001  # whatever it is, the keys at hand stay in use
            _log.warning("keys not fetched", error=type(error).__name__)
        finally:
            self._fetching = None


def _new_key() -> OKPKey:
    return _named(OKPKey.generate_key(ALGORITHM, private=True).as_dict(private=True))


def _named(jwk: Mapping[str, Any]) -> OKPKey:
    """Return the key of `jwk` under its thumbprint, bound to one use and one algorithm."""
    members = {name: jwk[name] for name in ("kty", "crv", "x", "d") if name in jwk}
    kid = OKPKey.import_key(members).thumbprint()
    return OKPKey.import_key({**members, "kid": kid, "use": "sig", "alg": ALGORITHM})


def _public_keys(jwks: Mapping[str, Any]) -> dict[str, OKPKey]:
    """Return the Ed25519 keys of a JWK Set by thumbprint; keys of other kinds are not for us."""
    keys = {}
    for jwk in jwks["keys"]:
        if jwk.get("kty") == "OKP" and jwk.get("crv") == ALGORITHM and jwk.get("use") != "enc":
            key = _named({name: jwk[name] for name in ("kty", "crv", "x")})
            keys[str(key.kid)] = key
    return keys


def _dump(keys: Iterable[OKPKey]) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=True) for key in keys]}, indent=1).encode()


def _load(path: Path) -> list[OKPKey]:
    try:
        keys = [_named(jwk) for jwk in json.loads(path.read_bytes())["keys"]]
    except (ValueError, KeyError, TypeError, JoseError) as error:
        raise ConfigurationError(f"{path} is no set of Ed25519 keys") from error
    if not all(key.is_private for key in keys):
        raise ValueError(f"{path} holds public keys only; signing needs the private ones")
    return keys


def _create(path: Path, content: bytes) -> None:
    """Bring `path` into being whole; whoever was faster wins."""
    temporary = _written(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _replace(path: Path, content: bytes) -> None:
    _written(path, content).replace(path)


def _written(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return temporary
