"""From an HTTP request to a request message: query, body and path put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prodkit.contract.bindings import HttpBinding, field_at
from prodkit.contract.json_parse import Parsers
from prodkit.contract.json_values import Parse, Refusal, from_text
from prodkit.gateway.body import body_reader, is_raw
from prodkit.gateway.query import Parameter, parameters_of, read_query


class RequestBinder:
    """Makes the request message of one binding; compiled at start.

    Raises ConfigurationError for types that JSON cannot carry. `bind` raises InvalidArgumentError,
    with the JSON Pointer of the field in the request message, for anything that does not fit.
    """

    def __init__(self, binding: HttpBinding, request: Descriptor, parsers: Parsers) -> None:
        self.takes_body = bool(binding.body)
        self.raw = is_raw(binding, request)
        self.parameters = query_parameters(binding, request)
        self._type = GetMessageClass(request)
        self._read_body = body_reader(binding, request, parsers)
        self._path = [
            (variable.field.split("."), variable.field, _from_text(request, variable.field))
            for variable in binding.template.variables
        ]

    def bind(
        self, path: Mapping[str, str], query: bytes, body: bytes, content_type: str
    ) -> Message:
        """Return the request message."""
        arguments: dict[str, Any] = {}
        if query:
            read_query(query, self.parameters, arguments)
        self._read_body(arguments, body, content_type)
        for steps, name, parse in self._path:
            try:
                _put(arguments, steps, parse(path[name]))
            except Refusal as refusal:
                raise refusal.at(*steps).error() from None
        message: Message = self._type(**arguments)
        return message


def query_parameters(binding: HttpBinding, request: Descriptor) -> dict[str, Parameter]:
    """Return what the query of `binding` may set: everything that path and body do not bind."""
    if binding.body == "*":
        return {}
    bound = {variable.field for variable in binding.template.variables}
    return parameters_of(request, bound | {binding.body})


def _from_text(request: Descriptor, path: str) -> Parse:
    field = field_at(request, path)
    assert field is not None  # the contract checked it
    return from_text(field)


def _put(arguments: dict[str, Any], path: list[str], value: Any) -> None:
    """Set what the path says; a body that says otherwise is a mistake that must not pass."""
    *outer, last = path
    for step in outer:
        arguments = arguments.setdefault(step, {})
    if arguments.setdefault(last, value) != value:
        raise Refusal("differs from the path", "path.conflict")
