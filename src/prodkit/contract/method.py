"""The contract: what the .proto files of a service say of its methods, read once, at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Self

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from prodkit.contract import access
from prodkit.contract.access import IdempotencyKey, RateOption, SloOption
from prodkit.contract.bindings import HttpBinding, bindings_of
from prodkit.contract.validation import check_rules
from prodkit.errors import ConfigurationError
from prodkit.security.authorization import Access


@dataclass(frozen=True, slots=True)
class MethodContract:
    """Everything that a .proto says of one method.

    `full_name` is "/package.Service/Method". `safe` is True where `idempotency_level` declares
    that the method may be repeated, None where it declares nothing. `statuses` are the HTTP
    statuses of the method's own reasons. `deadline` is in seconds.
    """

    full_name: str
    descriptor: MethodDescriptor
    bindings: tuple[HttpBinding, ...]
    access: Access
    idempotency: IdempotencyKey
    success_status: int
    statuses: Mapping[str, int]
    deadline: float | None
    rate: RateOption | None
    slo: SloOption | None

    @property
    def service(self) -> str:
        """The service's full name, "package.Service"."""
        return self.full_name[1:].partition("/")[0]

    @property
    def input(self) -> Descriptor:
        """The type of the request."""
        return self.descriptor.input_type

    @property
    def output(self) -> Descriptor:
        """The type of the response."""
        return self.descriptor.output_type

    @property
    def client_streaming(self) -> bool:
        """Whether requests are a stream."""
        return self.descriptor.client_streaming

    @property
    def server_streaming(self) -> bool:
        """Whether responses are a stream."""
        return self.descriptor.server_streaming

    @property
    def safe(self) -> bool | None:
        """Whether the method may be repeated; idempotent counts as safe."""
        level = self.descriptor.GetOptions().idempotency_level
        return None if level == MethodOptions.IDEMPOTENCY_UNKNOWN else True


class Contract:
    """The methods of some services, by full name; make it with `Contract.load`."""

    def __init__(self, methods: Iterable[MethodContract]) -> None:
        self.methods: Mapping[str, MethodContract] = MappingProxyType(
            {method.full_name: method for method in methods}
        )
        _check_bindings(self.methods.values())

    @classmethod
    def load(cls, *modules: ModuleType) -> Self:
        """Read every service of the generated `modules` (`*_pb2`).

        Raises ConfigurationError, naming the method, for a method without an access option, an
        idempotency key on an answer with secrets, a binding that does not fit its request, and two
        methods with one verb and path.
        """
        return cls(
            _read(method)
            for module in modules
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        )

    def __getitem__(self, full_name: str) -> MethodContract:
        return self.methods[full_name]


def _read(method: MethodDescriptor) -> MethodContract:
    name = f"/{method.containing_service.full_name}/{method.name}"
    option = access.option_of(method)
    try:
        check_rules(method.input_type)
        return MethodContract(
            full_name=name,
            descriptor=method,
            bindings=bindings_of(method),
            access=access.access_of(option),
            idempotency=access.idempotency_of(method, option),
            success_status=access.status_of(option),
            statuses=access.statuses_of(option),
            deadline=access.deadline_of(option),
            rate=access.rate_of(option),
            slo=access.slo_of(option),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _check_bindings(methods: Iterable[MethodContract]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for method in methods:
        for binding in method.bindings:
            key = (binding.verb, binding.template.shape)
            if key in taken:
                raise ConfigurationError(
                    f"{method.full_name}: {binding.verb} {binding.template.text} "
                    f"is already bound by {taken[key]}"
                )
            taken[key] = method.full_name
