"""Closing a connection whose client still sends, without losing the answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

#: How long a client gets to read its answer and to stop sending.
_LINGER = 2.0


class LingeringTransport(asyncio.Transport):
    """A transport whose `close` lets the client finish reading (RFC 9112, 9.6).

    A socket that is closed with unread bytes in it resets the connection, and the reset may
    overtake the answer. So while `unread()` the sending side alone is closed, and what still
    comes is read and dropped by the protocol, for two seconds at most. TLS cannot half-close, and
    is closed.
    """

    def __init__(self, direct: asyncio.Transport, unread: Callable[[], bool]) -> None:
        super().__init__()
        self.direct = direct
        self._unread = unread
        self._lingering = False
        # Bound once, so that a write costs what it costs without us; mypy wants methods.
        self.write = direct.write  # type: ignore[method-assign]
        self.get_extra_info = direct.get_extra_info  # type: ignore[method-assign]
        self.pause_reading = direct.pause_reading  # type: ignore[method-assign]
        self.resume_reading = direct.resume_reading  # type: ignore[method-assign]

    def is_closing(self) -> bool:
        """Say whether nothing more can be written."""
        return self._lingering or self.direct.is_closing()

    def close(self) -> None:
        """Close, at once if the client has nothing more to say."""
        if self._unread():
            self.linger()
        else:
            self.direct.close()

    def linger(self) -> None:
        """Close the sending side now, the rest when the client has, or soon."""
        if self.is_closing():
            return
        if not self.direct.can_write_eof():
            self.direct.close()
            return
        self._lingering = True
        self.direct.write_eof()
        self.direct.resume_reading()
        asyncio.get_running_loop().call_later(_LINGER, self.direct.close)

    def abort(self) -> None:
        """Close at once, whatever is left unsaid."""
        self.direct.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self.direct.set_protocol(protocol)

    def get_protocol(self) -> Any:
        """Return the protocol of the connection."""
        return self.direct.get_protocol()
