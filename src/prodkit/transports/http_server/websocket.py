"""Websocket connections of the HTTP server: uvicorn's protocol, which keeps quiet."""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

#: Where uvicorn's protocols speak: to the handlers of `prodkit.http`, of trouble alone. What they
#: would say of good connections is the access line's business, and holds query strings.
CONNECTION_LOG = logging.Logger("prodkit.http", logging.WARNING)
CONNECTION_LOG.parent = logging.getLogger("prodkit.http")


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One websocket connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = CONNECTION_LOG
        self.conn.debug = False  # it would write down the headers of the handshake
