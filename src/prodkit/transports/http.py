"""The outbound HTTP door: a pipeline around an httpx2 transport.

Needs the `http` extra, and says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from prodkit.call import CURRENT, Call, Kind, new_request_id
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError, DeadlineExceededError, UnavailableError
from prodkit.pipeline import Pipeline, Trait
from prodkit.transports.asgi.request import idempotency_key_of
from prodkit.transports.problem import CODE_OF_STATUS

try:
    import httpx2
except ImportError as error:
    raise ImportError(
        f"prodkit.transports.http needs the http extra ({error.name} is missing): "
        "pip install 'prodkit-services[http]'"
    ) from error

Credentials: TypeAlias = Callable[[], "str | Awaitable[str]"]
Inject: TypeAlias = Callable[[dict[str, str]], None]

#: Methods that may be repeated (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
#: Seconds; a callee that asks for more is asked again then, and puts nothing off for years.
_LONGEST_RETRY_AFTER = 86400.0


class _Attempts:
    """What a call carries: the request, and the response of the attempt before, still open."""

    __slots__ = ("request", "response")

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request
        self.response: httpx2.Response | None = None

    async def close(self) -> None:
        """Give back the connection of an attempt that nobody will read."""
        response, self.response = self.response, None
        if response is not None:
            await response.aclose()


class PipelineTransport(httpx2.AsyncBaseTransport):
    """Passes every request of an `httpx2.AsyncClient` through `pipeline`.

    The operation is `extensions={"operation": "GET /orders/{id}"}` of the request, else method and
    host. GET, HEAD, OPTIONS, TRACE, PUT and DELETE may be repeated, others with an Idempotency-Key.
    A status becomes `call.code`, and the response is returned; what never became a response raises
    UnavailableError or DeadlineExceededError. From the call being answered, a request inherits its
    deadline (sent as `x-request-timeout`, and bounding httpx2's own time-outs), its request id and
    its principal; its token only by `credentials`, which gives the bearer token ("" for none).
    `inject` adds the trace context: `prodkit.telemetry.inject`.

    Policies judge the whole exchange where the response announces at most `body_limit` bytes; a
    larger or unannounced body is read by the caller, after the pipeline. A pipeline that repeats
    needs bodies that can be sent again: bytes, not iterators.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        inner: httpx2.AsyncBaseTransport | None = None,
        *,
        credentials: Credentials | None = None,
        inject: Inject | None = None,
        body_limit: int = 1 << 20,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        pipeline.check(door="PipelineTransport", kind=Kind.CLIENT, principal=True)
        self._inner = inner or httpx2.AsyncHTTPTransport()
        self._repeats = Trait.REPEATS in pipeline.traits
        self._credentials = credentials
        self._inject = inject
        self._body_limit = body_limit
        self._clock = clock
        self._run = pipeline.bind(self._send)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer `request`; called by the client."""
        if self._repeats and not isinstance(request.stream, httpx2.ByteStream):
            raise ConfigurationError(
                "a pipeline that repeats cannot send a body twice that is read once; "
                "read it first: await request.aread()"
            )
        attempts = _Attempts(request)
        call = self._describe(request, attempts)
        try:
            response = await self._run(call)
        except BaseException:
            await attempts.close()
            raise
        if response is not attempts.response:  # a policy answered by itself
            await attempts.close()
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    def _describe(self, request: httpx2.Request, attempts: _Attempts) -> Call:
        key = request.headers.get("idempotency-key")
        call = Call(
            request.extensions.get("operation") or f"{request.method} {request.url.host}",
            Kind.CLIENT,
            transport="http",
            metadata=request.headers,
            payload=attempts,
            key=None if key is None else idempotency_key_of(key.encode("latin-1")),
            safe=request.method in _IDEMPOTENT,
        )
        parent = CURRENT.get()
        if parent is not None:
            call.deadline = parent.deadline
            call.principal = parent.principal
            call.request_id = parent.request_id
        request_id = call.request_id or new_request_id()
        call.request_id = request.headers.setdefault("x-request-id", request_id)
        return call

    async def _send(self, call: Call) -> httpx2.Response:
        attempts: _Attempts = call.payload
        await attempts.close()
        request = attempts.request
        await self._prepare(call, request)
        try:
            response = await self._inner.handle_async_request(request)
            attempts.response = response
            response = attempts.response = await self._read_small(response)
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError):
            raise  # a mistake of the caller's, that no other time or place mends
        except httpx2.TimeoutException as error:
            raise DeadlineExceededError(f"{call.operation}: {type(error).__name__}") from error
        except httpx2.TransportError as error:
            raise UnavailableError(f"{call.operation}: {type(error).__name__}") from error
        call.status = response.status_code
        call.code = CODE_OF_STATUS[response.status_code]
        call.retry_after = self._retry_after(response.headers)
        return response

    async def _prepare(self, call: Call, request: httpx2.Request) -> None:
        if call.deadline is not None:
            left = call.deadline - self._clock.monotonic()
            if left <= 0:
                raise DeadlineExceededError("the deadline had passed before the call began")
            request.headers["x-request-timeout"] = f"{left:.3f}"
            own = request.extensions.get("timeout", {})
            request.extensions = {
                **request.extensions,
                "timeout": {
                    phase: left if own.get(phase) is None else min(left, own[phase])
                    for phase in ("connect", "read", "write", "pool")
                },
            }
        if self._credentials is not None:
            token = self._credentials()
            bearer = await token if inspect.isawaitable(token) else token
            if bearer:
                request.headers["authorization"] = f"Bearer {bearer}"
        if self._inject is not None:
            context: dict[str, str] = {}
            self._inject(context)
            request.headers.update(context)

    async def _read_small(self, response: httpx2.Response) -> httpx2.Response:
        """Read a body that is announced small, so that its loss is a failure of the call."""
        length = response.headers.get("content-length", "")
        if not length.isdigit() or int(length) > self._body_limit:
            return response
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        body = b"".join([chunk async for chunk in response.stream])
        await response.aclose()
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=httpx2.ByteStream(body),
            extensions=response.extensions,
        )

    def _retry_after(self, headers: httpx2.Headers) -> float | None:
        if "x-prodkit-retry" in headers:
            return -1.0  # it was repeated in vain further down: not again
        text = headers.get("retry-after", "")
        try:
            if text.isdecimal():
                asked = float(text)
            else:
                asked = parsedate_to_datetime(text).timestamp() - self._clock.wall()
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, asked), _LONGEST_RETRY_AFTER)
