"""The HTTP server that a service runs, with limits on what peers may do. Extra: `server`."""

from prodkit.transports.http_server.server import HttpServer

__all__ = ["HttpServer"]
