"""The ASGI door: `PipelineMiddleware` around any ASGI app."""

from prodkit.transports.asgi.exchange import BufferedResponse
from prodkit.transports.asgi.middleware import PipelineMiddleware

__all__ = ["BufferedResponse", "PipelineMiddleware"]
