"""The outbound HTTP door: a pipeline around an httpx2 transport.

Needs the `http` extra, and says so.
"""

from prodkit._extras import extra

with extra("http", of=__name__):
    import httpx2  # noqa: F401

from prodkit.transports.http.transport import Credentials, Inject, PipelineTransport

__all__ = ["Credentials", "Inject", "PipelineTransport"]
