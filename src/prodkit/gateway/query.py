"""The query of a URL as fields of a request: nested by dots, repeated by repetition."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from prodkit.contract.json_parse import is_map
from prodkit.contract.json_values import WRAPPERS, WRITTEN, Parse, Refusal, from_text
from prodkit.errors import FieldViolation, InvalidArgumentError

#: More parameters than an honest URL of 8 KiB holds.
MAX_PARAMETERS = 256
#: Messages inside messages; beyond it a type is likely to contain itself.
_MAX_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field that the query may set; `path` leads to it through the request."""

    path: tuple[str, ...]
    field: FieldDescriptor
    parse: Parse
    repeated: bool
    oneof: str


def parameters_of(request: Descriptor, bound: Collection[str]) -> dict[str, Parameter]:
    """Return everything that can stand in a query, by dotted name.

    Left out are the fields in `bound` (dotted paths), maps, and repeated messages.
    """
    return {".".join(found.path): found for found in _walk(request, (), frozenset(bound))}


def _walk(
    message: Descriptor, outer: tuple[str, ...], bound: frozenset[str]
) -> Iterator[Parameter]:
    for field in message.fields:
        path = (*outer, field.name)
        inner = field.message_type
        if ".".join(path) in bound or is_map(field):
            continue
        if inner is None or inner.full_name in WRAPPERS or inner.full_name in WRITTEN:
            oneof = field.containing_oneof.full_name if field.containing_oneof else ""
            yield Parameter(path, field, from_text(field), field.is_repeated, oneof)
        elif not field.is_repeated and not _foreign(inner) and len(path) < _MAX_DEPTH:
            yield from _walk(inner, path, bound)


def _foreign(message: Descriptor) -> bool:
    """Say whether a message has no fields of its own to name: Struct, Any, HttpBody."""
    return message.file.package in ("google.protobuf", "google.api")


def read_query(query: bytes, parameters: dict[str, Parameter], arguments: dict[str, Any]) -> None:
    """Set in `arguments`, the request's, what `query` says.

    Raises InvalidArgumentError for a parameter that is not known, does not fit, comes twice
    without being repeated, or is the second member of a oneof.
    """
    chosen: dict[str, str] = {}
    for name, text in _pairs(query):
        parameter = parameters.get(name)
        if parameter is None:
            refusal = Refusal("there is no such parameter", "query.unknown_parameter")
            raise refusal.at(*name.split(".")).error()
        try:
            if parameter.oneof and chosen.setdefault(parameter.oneof, name) != name:
                raise Refusal(f"excludes {chosen[parameter.oneof]}, which is set too", "json.oneof")
            _set(arguments, parameter, parameter.parse(text))
        except Refusal as refusal:
            raise refusal.at(*parameter.path).error() from None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:  # UnicodeDecodeError is one too
        violation = FieldViolation("", "cannot be read", "query.syntax")
        raise InvalidArgumentError("the query cannot be read", violations=[violation]) from None


def _set(arguments: dict[str, Any], parameter: Parameter, value: Any) -> None:
    *outer, last = parameter.path
    for step in outer:
        arguments = arguments.setdefault(step, {})
    if parameter.repeated:
        arguments.setdefault(last, []).append(value)
    elif last in arguments:
        raise Refusal("is given more than once", "query.duplicate")
    else:
        arguments[last] = value
