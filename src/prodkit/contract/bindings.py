"""How a method is reached over HTTP: google.api.http, checked against the request's fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from prodkit.contract.templates import PathTemplate, parse_template
from prodkit.errors import ConfigurationError

HTTP_BODY = "google.api.HttpBody"
_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class HttpBinding:
    """One verb and path of a method.

    `body` is "*" for the whole request, the name of a field, or "" for none; what neither path nor
    body binds comes from the query.
    """

    verb: str
    template: PathTemplate
    body: str


def bindings_of(method: MethodDescriptor) -> tuple[HttpBinding, ...]:
    """Return the bindings of `method`, the additional ones included; none if it has no option.

    Raises ConfigurationError for what cannot work.
    """
    extension: Any = annotations_pb2.http  # its stub says nothing of the type
    options = method.GetOptions()
    if not options.HasExtension(extension):
        return ()
    if method.client_streaming:
        raise ConfigurationError("a stream of requests has no HTTP binding")
    rules = _rules(options.Extensions[extension])
    return tuple(_binding(rule, method.input_type) for rule in rules)


def _rules(rule: HttpRule) -> Iterator[HttpRule]:
    yield rule
    yield from rule.additional_bindings


def _binding(rule: HttpRule, request: Descriptor) -> HttpBinding:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        raise ConfigurationError("the HTTP rule has no pattern")
    if rule.response_body:
        raise ConfigurationError("response_body is not supported")
    verb, path = (
        (kind.upper(), getattr(rule, kind))
        if kind in _VERBS
        else (rule.custom.kind.upper(), rule.custom.path)
    )
    binding = HttpBinding(verb, parse_template(path), rule.body)
    _check_path(binding, request)
    _check_body(binding, request)
    return binding


def _check_path(binding: HttpBinding, request: Descriptor) -> None:
    for variable in binding.template.variables:
        field = field_at(request, variable.field)
        if field is None:
            raise ConfigurationError(
                f"{binding.template.text}: {request.full_name} has no field {variable.field!r}"
            )
        if field.is_repeated or field.message_type is not None:
            raise ConfigurationError(
                f"{binding.template.text}: the path variable {variable.field!r} must be a scalar"
            )


def _check_body(binding: HttpBinding, request: Descriptor) -> None:
    if binding.verb in ("GET", "DELETE", "HEAD") and binding.body:
        raise ConfigurationError(f"{binding.template.text}: {binding.verb} has no body")
    if binding.body in ("", "*"):
        return
    if binding.body not in request.fields_by_name:
        raise ConfigurationError(
            f"{binding.template.text}: {request.full_name} has no field {binding.body!r} for a body"
        )


def field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    """Return the field at a dotted `path` through singular messages, or None."""
    *outer, last = path.split(".")
    for name in outer:
        step = message.fields_by_name.get(name)
        if step is None or step.is_repeated or step.message_type is None:
            return None
        message = step.message_type
    return message.fields_by_name.get(last)
