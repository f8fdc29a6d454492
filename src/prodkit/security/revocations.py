"""What ends a token before its time: sessions that ended, roles that changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from prodkit.call import Principal
from prodkit.clock import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a loader returns: sessions ended, and the role version each subject is at.

    Only those of the last token lifetime are needed: older tokens have expired by themselves.
    """

    sessions: Collection[str] = ()
    role_versions: Mapping[str, int] = field(default_factory=dict)


class RevocationList:
    """The revocations that `Authenticate` consults, a copy of what `load` returns.

    It is a component: loaded at start. Refresh it by a worker at most 60 s apart; that, and not a
    query per request, is how long a revoked token can still be used in another process. In this
    process `end_session` and `change_roles` act at once. Its size is bounded by `lifetime`, how
    long (seconds) a token lives with its leeway.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Revoked]],
        *,
        name: str = "revocations",
        lifetime: float = 330.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self._load = load
        self._lifetime = lifetime
        self._clock = clock
        self._sessions: frozenset[str] = frozenset()
        self._versions: Mapping[str, int] = {}
        self._ended: dict[str, float] = {}
        self._changed: dict[str, tuple[int, float]] = {}

    async def start(self) -> None:
        """Load; a service that cannot must not let ended sessions in, so failure is passed on."""
        await self.refresh()

    async def stop(self, grace: float) -> None:
        """Nothing to end."""

    async def refresh(self) -> None:
        """Replace the copy by what `load` returns now, and forget what has expired."""
        revoked = await self._load()
        self._sessions = frozenset(revoked.sessions)
        self._versions = dict(revoked.role_versions)
        now = self._clock.monotonic()
        self._ended = {sid: until for sid, until in self._ended.items() if until > now}
        self._changed = {who: entry for who, entry in self._changed.items() if entry[1] > now}

    def end_session(self, session: str) -> None:
        """Refuse the tokens of `session` in this process from now on."""
        self._ended[session] = self._clock.monotonic() + self._lifetime

    def change_roles(self, subject: str, version: int) -> None:
        """Refuse the tokens of `subject` signed with an earlier role version from now on."""
        self._changed[subject] = (version, self._clock.monotonic() + self._lifetime)

    def revokes(self, principal: Principal) -> bool:
        """Say whether the session ended or the roles changed since the token was signed."""
        session, subject = principal.session, principal.subject
        if session and (session in self._sessions or session in self._ended):
            return True
        required = self._versions.get(subject, 0)
        if subject in self._changed:
            required = max(required, self._changed[subject][0])
        version = principal.claims.get("rv", 0)
        return not isinstance(version, int) or version < required
