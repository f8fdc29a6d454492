"""The transport: what a request becomes for policies, and what they make of its answers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeAlias

import httpx2

from prodkit.call import CURRENT, Call, Kind, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError, DeadlineExceededError
from prodkit.holding import check_nothing_held
from prodkit.pipeline import Pipeline, admit
from prodkit.traits import Trait
from prodkit.transports.asgi.request import idempotency_key_of
from prodkit.transports.http.attempt import Attempt, HttpCall
from prodkit.transports.http.failures import MISTAKES, code_instead_of, meaning_of
from prodkit.transports.problem import CODE_OF_STATUS

Credentials: TypeAlias = Callable[[], "str | Awaitable[str]"]
Inject: TypeAlias = Callable[[dict[str, str]], None]

#: Methods that may be repeated (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
#: Seconds; a callee that asks for more is asked again then, and puts nothing off for years.
_LONGEST_RETRY_AFTER = 86400.0


class PipelineTransport(httpx2.AsyncBaseTransport):
    """Passes every request of an `httpx2.AsyncClient` through `pipeline`.

    The operation is `extensions={"operation": "GET /orders/{id}"}` of the request, else method and
    host. GET, HEAD, OPTIONS, TRACE, PUT and DELETE may be repeated, others with an Idempotency-Key.
    From the call being answered, a request inherits its
    deadline (sent as `x-request-timeout`, and bounding httpx2's own time-outs), its request id and
    its principal; its token only by `credentials`, which gives the bearer token ("" for none).
    `inject` adds the trace context: `prodkit.telemetry.inject`.

    What happened, what comes out of the door, and the code that policies go by:

    - any response: that response; the code of its status, UNAVAILABLE for 502 and 503 say
    - no connection, a lost one, broken HTTP: UnavailableError; UNAVAILABLE
    - a time-out of httpx2, or no time left: DeadlineExceededError; DEADLINE_EXCEEDED
    - a request that cannot be sent at all: httpx2.UnsupportedProtocol, LocalProtocolError; UNKNOWN

    So `Retry(on=Code.UNAVAILABLE)` repeats 502, 503 and what is lost on its way; a policy that
    waits for the exceptions of httpx2 is refused at start. Messages name no host; a note of the
    exception does.

    Policies judge the whole exchange where the response announces at most `body_limit` bytes; a
    larger or unannounced body is read by the caller, after the pipeline. A pipeline that repeats
    needs bodies that can be sent again: bytes, not iterators. Within a transaction of
    `data.database` nothing is sent: HeldConnectionError, see `prodkit.holding`.
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
        admit(
            pipeline,
            Doorway(
                "PipelineTransport",
                Kind.CLIENT,
                substitutes=True,
                principal=True,
                hosts=True,
                instead=code_instead_of,
            ),
        )
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
        attempt = Attempt(request)
        call = self._describe(request, attempt)
        check_nothing_held(call.operation)
        try:
            response = await self._run(call)
        except BaseException:
            await attempt.end()
            raise
        await attempt.end(kept=response)
        return response

    def handle_request(self, request: httpx2.Request) -> NoReturn:
        """Tell a client that is not async that it cannot have this transport."""
        raise _only_async()

    def __enter__(self) -> NoReturn:
        """Tell the same."""
        raise _only_async()

    def __exit__(self, *_: object) -> None:
        """Never be reached; `with` asks for it first."""

    def close(self) -> None:
        """Let such a client be closed: nothing was opened."""

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    def _describe(self, request: httpx2.Request, attempt: Attempt) -> Call:
        keys = [key.encode("latin-1") for key in request.headers.get_list("idempotency-key")]
        call = HttpCall(
            request.extensions.get("operation") or f"{request.method} {request.url.host}",
            Kind.CLIENT,
            transport="http",
            metadata=request.headers,
            payload=attempt,
            key=idempotency_key_of(*keys) if keys else None,
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
        attempt: Attempt = call.payload
        await attempt.begin()
        request = attempt.request
        await self._prepare(call, request)
        try:
            response = await self._inner.handle_async_request(request)
            attempt.opened(response)
            response = await self._read_small(response)
        except httpx2.TransportError as error:
            if isinstance(error, MISTAKES):
                raise
            raise meaning_of(error, call, request) from error
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


def _only_async() -> ConfigurationError:
    return ConfigurationError(
        "PipelineTransport needs an httpx2.AsyncClient: policies are async, httpx2.Client is not"
    )
