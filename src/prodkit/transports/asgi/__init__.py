"""The ASGI door: `PipelineMiddleware` around any ASGI app, `route_pipeline` around its routes."""

from prodkit.transports.asgi.endpoint import route_pipeline
from prodkit.transports.asgi.exchange import BufferedResponse
from prodkit.transports.asgi.middleware import PipelineMiddleware

__all__ = ["BufferedResponse", "PipelineMiddleware", "route_pipeline"]
