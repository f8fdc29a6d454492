"""Who is calling, and whether they may: authentication and authorization as middlewares."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Protocol, TypeVar

from prodkit.call import Call, Principal
from prodkit.errors import ConfigurationError, PermissionDeniedError, UnauthenticatedError
from prodkit.events import Event
from prodkit.pipeline import Next
from prodkit.traits import Trait

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an operation; one of its sentences must be true of the caller.

    `public`: anybody, known or not. `authenticated`: any person who is signed in. `permission`:
    persons who hold it. `services`: the services admitted, by name; a service is admitted by
    nothing else. Raises ConfigurationError for no sentence at all (silence is not permission) and
    for two of which one makes the other idle.
    """

    public: bool = False
    authenticated: bool = False
    permission: str = ""
    services: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.public or self.authenticated or self.permission or self.services):
            raise ConfigurationError("access names nobody: say public, authenticated, ...")
        if self.public and (self.authenticated or self.permission or self.services):
            raise ConfigurationError("access is public, so its other conditions would be idle")
        if self.authenticated and self.permission:
            raise ConfigurationError("access admits everybody signed in: the permission is idle")

    def admits(self, principal: Principal | None) -> bool:
        """Say whether `principal` may call."""
        if self.public:
            return True
        if principal is None:
            return False
        service = principal.service
        if service is not None:
            return service in self.services
        return self.authenticated or (
            bool(self.permission) and self.permission in principal.permissions
        )


class Roles:
    """Which permissions a role holds: `Roles({"staff": {"products:write"}})`.

    There are no wildcards: what a role may do can be read, and searched for. A role that the
    mapping does not know gives nothing, so a token of tomorrow is harmless today.
    """

    def __init__(self, permissions: Mapping[str, Set[str]]) -> None:
        for role, granted in permissions.items():
            if any("*" in permission for permission in granted):
                raise ConfigurationError(f"role {role!r}: permissions have no wildcards")
        self._permissions = {role: frozenset(granted) for role, granted in permissions.items()}

    def __call__(self, roles: frozenset[str]) -> frozenset[str]:
        """Return the permissions that `roles` hold together."""
        held = (self._permissions.get(role, frozenset()) for role in roles)
        return frozenset[str]().union(*held)


class Verifier(Protocol):
    """What turns a bearer token into a principal, or raises UnauthenticatedError."""

    def known(self, token: str) -> Principal | None:
        """Return the principal of a token that was verified before and still holds, else None."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of `token`; UnauthenticatedError when it proves nothing."""


class Revocations(Protocol):
    """What ends a token before its time."""

    def revokes(self, principal: Principal) -> bool:
        """Say whether the session ended or the roles changed since the token was signed."""


class NoRevocations:
    """Tokens live until they expire."""

    def revokes(self, principal: Principal) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True, slots=True)
class AuthenticationFailed(Event):
    """A credential was presented and proved nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class AccessDenied(Event):
    """A caller may not do what it asked for."""

    reason: str
    subject: str


class Authenticate:
    """Finds out who is calling, from the bearer token in the `authorization` metadatum.

    No token leaves the caller anonymous; that may be enough for a public operation. A token that
    does not hold is refused everywhere, public operations included: its owner should learn now
    that it ended. Whatever principal the call carried before is not believed.
    """

    traits = Trait.GIVES_PRINCIPAL

    def __init__(self, verifier: Verifier, *, revocations: Revocations | None = None) -> None:
        self._verifier = verifier
        self._revocations = revocations or NoRevocations()

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Set `call.principal` and go on."""
        call.principal = None
        header = call.metadata.get("authorization")
        if header is not None:
            try:
                call.principal = await self._principal(header)
            except UnauthenticatedError as error:
                call.emit(AuthenticationFailed("authenticate", error.reason))
                raise
        return await proceed(call)

    async def _principal(self, header: str) -> Principal:
        token = bearer(header)
        principal = self._verifier.known(token) or await self._verifier.verify(token)
        if self._revocations.revokes(principal):
            raise UnauthenticatedError("the session has ended", reason="TOKEN_REVOKED")
        return principal


class Authorize:
    """Admits the callers that `access` names.

    Raises UnauthenticatedError where nobody is known, PermissionDeniedError where the caller is.
    That an object belongs to somebody else is for the handler to see, which answers NotFoundError.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.traits = Trait.NONE if access.public else Trait.NEEDS_PRINCIPAL

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Go on if the caller may."""
        if not self.access.admits(call.principal):
            raise self._refusal(call)
        return await proceed(call)

    def _refusal(self, call: Call) -> UnauthenticatedError | PermissionDeniedError:
        principal = call.principal
        if principal is None:
            return UnauthenticatedError("sign in first", reason="AUTHENTICATION_REQUIRED")
        call.emit(AccessDenied("authorize", "PERMISSION_DENIED", principal.subject))
        if principal.service is None and self.access.permission:
            return PermissionDeniedError(f"this needs the permission {self.access.permission}")
        return PermissionDeniedError("this operation is not for this caller")


def bearer(header: str) -> str:
    """Return the token in an Authorization header; UnauthenticatedError for any other scheme."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("a bearer token is expected", reason="TOKEN_INVALID")
    return token
