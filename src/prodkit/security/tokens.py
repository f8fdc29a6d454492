"""Access tokens: JWTs signed with Ed25519, verified as RFC 8725 and RFC 9068 ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from types import MappingProxyType
from typing import Any, Literal

from prodkit._extras import extra

with extra("auth", of=__name__):
    import joserfc  # noqa: F401

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from prodkit.call import Principal
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import UnauthenticatedError
from prodkit.security.keys import ALGORITHM, KeySet, KeySource, RemoteKeys

__all__ = ["KeySet", "KeySource", "RemoteKeys", "TokenSigner", "TokenVerifier"]

_TYPE = "at+jwt"
#: Longer tokens are refused unread. Ours have 400 to 600 characters.
_MAX_LENGTH = 8192
#: Three parts of canonical base64url; 64 bytes of signature leave four choices for the last one.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]{85}[AQgw]")
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """All that a header may say: what brings its own key or rules (jwk, jku, crit) is refused."""

    alg: Literal["Ed25519"]
    typ: Literal["at+jwt", "application/at+jwt"]
    kid: str


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nbf: float = 0.0
    sid: str = ""
    roles: list[str] = []
    rv: int = 0


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode


class TokenSigner:
    """Signs access tokens as `issuer`.

    An issuer `service:orders` signs for the subject of the same name and for nobody else; no other
    issuer signs for services. Verifiers hold it to that too.
    """

    def __init__(
        self, keys: KeySet, *, issuer: str, audience: str, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def sign(
        self,
        subject: str,
        *,
        lifetime: float = 300.0,
        session: str = "",
        roles: Iterable[str] = (),
        role_version: int = 0,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token for `subject` that expires after `lifetime` seconds.

        `session` and `role_version` are what revocations name. `claims` are the application's own
        and cannot replace the standard ones; a token can be read by whoever holds it.
        """
        if not _may_sign(self._issuer, subject):
            raise ValueError(f"{self._issuer} does not sign for {subject}")
        now = int(self._clock.wall())
        body = {
            **(claims or {}),
            "iss": self._issuer,
            "sub": subject,
            "aud": self._audience,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": token_urlsafe(12),
            "sid": session,
            "roles": sorted(roles),
            "rv": role_version,
        }
        key = self._keys.signing_key
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": key.kid}
        return jws.serialize_compact(header, msgspec.json.encode(body), key, registry=_REGISTRY)


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires: float
    source: KeySource
    kid: str


class TokenVerifier:
    """Turns tokens into principals, or says UnauthenticatedError and no more than that.

    `issuers` maps each issuer to its keys: a key speaks for its issuer alone. `roles` turns role
    names into permissions (`authorization.Roles`). `leeway` allows for clocks that differ, in
    seconds. Verified tokens are remembered by hash until they expire (or their key is withdrawn),
    `cache_size` of them, because checking a signature costs what a hundred look-ups do.
    """

    def __init__(
        self,
        issuers: Mapping[str, KeySource],
        *,
        audience: str,
        roles: Callable[[frozenset[str]], frozenset[str]] | None = None,
        leeway: float = 10.0,
        cache_size: int = 10_000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._issuers = dict(issuers)
        self._audience = audience
        self._permissions = roles or (lambda _: frozenset())
        self._leeway = leeway
        self._cache_size = cache_size
        self._clock = clock
        self._verified: dict[bytes, _Verified] = {}

    def known(self, token: str) -> Principal | None:
        """Return the principal of a token that was verified before and still holds, else None."""
        if len(token) > _MAX_LENGTH:
            return None
        digest = _digest(token)
        kept = self._verified.get(digest)
        if kept is None:
            return None
        if self._clock.wall() < kept.expires and kept.source.known(kept.kid) is not None:
            return kept.principal
        del self._verified[digest]
        return None

    async def verify(self, token: str) -> Principal:
        """Return the principal of `token`; UnauthenticatedError when it proves nothing."""
        header, claims, payload = _read(token)
        source = self._issuers.get(claims.iss)
        if source is None or not _may_sign(claims.iss, claims.sub):
            raise _invalid()
        key = await source.find(header.kid)
        if key is None:
            raise _invalid()
        try:
            jws.deserialize_compact(token, key, registry=_REGISTRY)
        except (JoseError, ValueError) as error:
            raise _invalid() from error
        self._check(claims)
        principal = self._principal(claims, payload)
        self._keep(token, _Verified(principal, claims.exp + self._leeway, source, header.kid))
        return principal

    def _check(self, claims: _Claims) -> None:
        now = self._clock.wall()
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self._audience not in audiences or not claims.sub:
            raise _invalid()
        if max(claims.iat, claims.nbf) > now + self._leeway:
            raise _invalid()
        if now >= claims.exp + self._leeway:
            raise UnauthenticatedError("the token has expired", reason="TOKEN_EXPIRED")

    def _principal(self, claims: _Claims, payload: bytes) -> Principal:
        # A service is admitted by name; roles in a token that it signed itself mean nothing.
        roles = frozenset() if claims.sub.startswith("service:") else frozenset(claims.roles)
        return Principal(
            subject=claims.sub,
            permissions=self._permissions(roles),
            roles=roles,
            session=claims.sid,
            claims=MappingProxyType(msgspec.json.decode(payload, type=dict[str, Any])),
        )

    def _keep(self, token: str, verified: _Verified) -> None:
        while len(self._verified) >= self._cache_size:
            del self._verified[next(iter(self._verified))]
        self._verified[_digest(token)] = verified


def _read(token: str) -> tuple[_Header, _Claims, bytes]:
    """Take `token` apart; nothing in it is believed yet."""
    parts = _COMPACT.fullmatch(token) if len(token) <= _MAX_LENGTH else None
    if parts is None:
        raise _invalid()
    try:
        header = _decode_header(urlsafe_b64decode(parts[1].encode()))
        payload = urlsafe_b64decode(parts[2].encode())
        return header, _decode_claims(payload), payload
    except (ValueError, RecursionError) as error:
        raise _invalid() from error


def _may_sign(issuer: str, subject: str) -> bool:
    if issuer.startswith("service:") or subject.startswith("service:"):
        return issuer == subject
    return True


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _invalid() -> UnauthenticatedError:
    return UnauthenticatedError("the token does not hold", reason="TOKEN_INVALID")
