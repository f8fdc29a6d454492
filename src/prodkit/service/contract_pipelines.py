"""What a contract says of its methods, as the pipelines of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.contract import Contract, IdempotencyKey, MethodContract, Validate
from prodkit.errors import ConfigurationError
from prodkit.pipeline import Middleware, Pipeline
from prodkit.policies.deadline import Deadline
from prodkit.policies.idempotency import Idempotency, IdempotencyStore, principal_and_operation
from prodkit.policies.rate_limiter import (
    MemoryRateLimitStore,
    Rate,
    RateLimiter,
    RateLimitStore,
    by_caller,
    by_principal,
)
from prodkit.security.authorization import Authenticate, Authorize
from prodkit.telemetry.observe import Observe
from prodkit.telemetry.telemetry import Telemetry
from prodkit.transports.rpc.method import MethodInfo


class ContractPipelines:
    """Gives `GrpcServer` and `LocalServer` the pipeline of each method that `contract` describes.

    Observe, Authenticate, Authorize, Deadline, RateLimiter, Validate, Idempotency, each as far as
    the method's options ask for it. `deadline` (seconds) holds for methods that name none.
    `idempotency` and `secret` (16 bytes or more) are needed where a method takes a key, and a
    method that anybody may call then needs a function in `scopes`, by its full name; `lease` is how
    many seconds a key stays taken after its process died. Rates are kept in `rates`, by default in
    this process. Raises ConfigurationError, naming the method, when the
    server starts.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        telemetry: Telemetry,
        authenticate: Authenticate,
        idempotency: IdempotencyStore | None = None,
        secret: bytes = b"",
        scopes: Mapping[str, Callable[[Call], str]] | None = None,
        lease: float = 30.0,
        rates: RateLimitStore | None = None,
        deadline: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._contract = contract
        self._observe = Observe(telemetry)
        self._authenticate = authenticate
        self._idempotency = idempotency
        self._secret = secret
        self._scopes = scopes or {}
        self._lease = lease
        self._rates = MemoryRateLimitStore() if rates is None else rates
        self._deadline = deadline
        self._clock = clock

    @property
    def unknown(self) -> Pipeline:
        """The pipeline of calls to methods that do not exist: they are counted, no more."""
        return Pipeline(self._observe)

    def __call__(self, method: MethodInfo) -> Pipeline:
        """Return the pipeline of `method`; servers ask once per method, when they start."""
        described = self._contract.methods.get(method.full_name)
        if described is None:
            raise ConfigurationError(f"{method.full_name} is not in the contract")
        return Pipeline(*self._members(described))

    def _members(self, method: MethodContract) -> Iterator[Middleware]:
        yield self._observe
        yield self._authenticate
        yield Authorize(method.access)
        yield Deadline(method.deadline or self._deadline, clock=self._clock)
        if method.rate is not None:
            yield RateLimiter(
                Rate(method.rate.limit, method.rate.per, method.rate.burst),
                key=by_caller if method.access.public else by_principal,
                store=self._rates,
                name=method.full_name[1:],
                clock=self._clock,
            )
        yield Validate()
        if method.idempotency is not IdempotencyKey.NONE:
            yield self._keyed(method)

    def _keyed(self, method: MethodContract) -> Idempotency:
        if self._idempotency is None:
            raise ConfigurationError(f"{method.full_name} takes a key: an idempotency store needed")
        scope = self._scopes.get(method.full_name)
        if scope is None and method.access.public:
            raise ConfigurationError(
                f"{method.full_name} is public and takes a key: name its scope function in scopes"
            )
        return Idempotency(
            self._idempotency,
            secret=self._secret,
            scope=scope or principal_and_operation,
            required=method.idempotency is IdempotencyKey.REQUIRED,
            lease=self._lease,
            clock=self._clock,
        )
