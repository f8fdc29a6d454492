"""Sessions: a refresh token that changes at each use, until the session ends."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe

from prodkit.data.database import Transaction
from prodkit.errors import UnauthenticatedError
from sqlalchemy import delete, insert, select, update

from .accounts import Work
from .tables import sessions, spent_tokens


class Sessions:
    """Begins, continues and ends sessions.

    `lifetime` is how long (seconds) a session lasts without use. `remember` is how long its end
    must be told to others: the life of an access token and its leeway.
    """

    def __init__(self, *, lifetime: float, remember: float, now: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._remember = remember
        self._now = now

    async def begin(self, work: Work, user_id: str) -> tuple[str, str]:
        """Open a session; return its id and its first refresh token."""
        session, token = token_urlsafe(12), token_urlsafe(32)
        await work.execute(
            insert(sessions).values(
                id=session,
                user_id=user_id,
                refresh_hash=_digest(token),
                expires_at=self._now() + self._lifetime,
            )
        )
        return session, token

    async def rotate(self, work: Work, token: str) -> tuple[str, str, str] | None:
        """Exchange a refresh token: return session, user and the new token; None if it is no good.

        A token that was exchanged before was copied by somebody: its session is ended, for the
        thief and the owner alike. The caller commits that before it refuses.
        """
        digest, fresh, now = _digest(token), token_urlsafe(32), self._now()
        found = await work.execute(
            update(sessions)
            .where(
                sessions.c.refresh_hash == digest,
                sessions.c.ended_at.is_(None),
                sessions.c.expires_at > now,
            )
            .values(refresh_hash=_digest(fresh), expires_at=now + self._lifetime)
            .returning(sessions.c.id, sessions.c.user_id)
        )
        row = found.one_or_none()
        if row is not None:
            await work.execute(
                insert(spent_tokens).values(hash=digest, session_id=row.id, spent_at=now)
            )
            return row.id, row.user_id, fresh
        spent = select(spent_tokens.c.session_id).where(spent_tokens.c.hash == digest)
        copied = (await work.execute(spent)).scalar_one_or_none()
        if copied is not None:
            await self.end(work, copied)
        return None

    async def end(self, work: Work, session: str) -> None:
        """End one session."""
        await work.execute(
            update(sessions)
            .where(sessions.c.id == session, sessions.c.ended_at.is_(None))
            .values(ended_at=self._now())
        )

    async def end_all(self, work: Work, user_id: str) -> None:
        """End all sessions of a user."""
        await work.execute(
            update(sessions)
            .where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
            .values(ended_at=self._now())
        )

    async def ended(self, tx: Transaction) -> list[str]:
        """Return the sessions that ended while tokens of theirs may still be alive."""
        found = await tx.execute(select(sessions.c.id).where(sessions.c.ended_at >= self.since()))
        return [row.id for row in found]

    def since(self) -> float:
        """Return when the oldest token that may be alive was signed."""
        return self._now() - self._remember

    async def purge(self, work: Work) -> None:
        """Forget sessions and spent tokens that can do nothing any more."""
        old = self._now() - self._lifetime
        await work.execute(delete(sessions).where(sessions.c.expires_at < old))
        await work.execute(delete(spent_tokens).where(spent_tokens.c.spent_at < old))


def refused() -> UnauthenticatedError:
    """Return the one answer to every refresh token that is no good."""
    return UnauthenticatedError("the refresh token does not hold", reason="TOKEN_INVALID")


def _digest(token: str) -> str:
    # 256 random bits need no slow hash.
    return sha256(token.encode()).hexdigest()
