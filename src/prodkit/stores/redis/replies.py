"""What Redis says no with, and what that means for whoever asked."""

from __future__ import annotations

from prodkit.errors import ConfigurationError, InternalError, ServiceError, UnavailableError

#: When it is worth another try.
_RETRY_AFTER = 1.0
#: First words of replies that say: not now, or not here. What was asked did not happen.
_AWAY = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MAXCLIENTS",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    }
)
#: Of these, those by which one hears that the primary is somewhere else now.
_MOVED = frozenset(("READONLY", "MASTERDOWN"))


class Refusal(Exception):  # noqa: N818  # an answer, that the connection hands on as it came
    """An error reply of Redis, as it came."""

    @property
    def word(self) -> str:
        """The word that programs test."""
        text = str(self)
        if text.startswith("ERR max number of clients"):
            return "MAXCLIENTS"  # the one reply of the sort that has no word of its own
        return text.partition(" ")[0]

    @property
    def moved(self) -> bool:
        """Whether it is the wrong server that answers here."""
        return self.word in _MOVED


class CommandError(InternalError):
    """Redis did not understand or did not permit a command: a fault of ours, or of its rules."""

    reason = "REDIS_COMMAND_FAILED"


def away(how: str) -> UnavailableError:
    """Return the error that says that Redis is away; each waiter needs one of its own."""
    return UnavailableError(f"Redis {how}", reason="REDIS_AWAY", retry_after=_RETRY_AFTER)


def failure(refusal: Refusal) -> ServiceError:
    """Return the error that `refusal` means for who asked."""
    error = away(f"cannot serve: {refusal.word}") if refusal.word in _AWAY else _fault()
    error.__cause__ = refusal
    return error


def greeting_failure(refusal: Refusal) -> Exception:
    """Return the error that `refusal` means for a connection that begins."""
    if refusal.word in _AWAY:
        return failure(refusal)
    return ConfigurationError(f"Redis does not let us in: {refusal}")


def _fault() -> CommandError:
    return CommandError("Redis refused a command")
