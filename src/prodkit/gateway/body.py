"""The body of an HTTP request as arguments of a request message: JSON, raw, or with a mask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from prodkit.contract.bindings import HTTP_BODY, HttpBinding, field_at
from prodkit.contract.json_codec import parse_json
from prodkit.contract.json_parse import Parsers, is_map
from prodkit.contract.json_values import WELL_KNOWN, WRAPPERS, Parse, Refusal
from prodkit.errors import ServiceError

#: Puts into the arguments what the body, of a content type, says.
ReadBody: TypeAlias = Callable[[dict[str, Any], bytes, str], None]
_MASK = "update_mask"


def content_of(binding: HttpBinding, request: Descriptor) -> Descriptor | None:
    """Return the message that the body of `binding` is; None where it is none."""
    if binding.body in ("", "*"):
        return request if binding.body else None
    return request.fields_by_name[binding.body].message_type


def is_raw(binding: HttpBinding, request: Descriptor) -> bool:
    """Say whether the body is taken as it is: google.api.HttpBody."""
    content = content_of(binding, request)
    return content is not None and content.full_name == HTTP_BODY


def body_reader(binding: HttpBinding, request: Descriptor, parsers: Parsers) -> ReadBody:
    """Return what reads the body of `binding`; an empty body is an empty message."""
    if not binding.body:
        return _no_body
    name = "" if binding.body == "*" else binding.body
    if is_raw(binding, request):
        return _raw_body(name)
    parse = parsers.field(request.fields_by_name[name]) if name else parsers.message(request)
    content = content_of(binding, request)
    if binding.verb == "PATCH" and content is not None and takes_mask(request):
        bound = {variable.field for variable in binding.template.variables}
        return _masked_body(name, parse, content, bound)
    return _json_body(name, parse)


def lead_into(body: str, error: ServiceError) -> None:
    """Let the pointers of `error` lead through the body that was sent, if that is one field.

    They come leading through the request message, of which the body is the field `body`.
    """
    outer = f"/{body}"
    if any(f"{violation.field}/".startswith(f"{outer}/") for violation in error.violations):
        error.message = error.message.removeprefix(outer)
        error.violations = tuple(
            replace(violation, field=violation.field.removeprefix(outer))
            if f"{violation.field}/".startswith(f"{outer}/")
            else violation
            for violation in error.violations
        )


def _no_body(arguments: dict[str, Any], body: bytes, content_type: str) -> None:
    del arguments, body, content_type


def _raw_body(name: str) -> ReadBody:
    def read(arguments: dict[str, Any], body: bytes, content_type: str) -> None:
        content = {"content_type": content_type, "data": body}
        arguments |= {name: content} if name else content

    return read


def _json_body(name: str, parse: Parse) -> ReadBody:
    within = (name,) if name else ()

    def read(arguments: dict[str, Any], body: bytes, content_type: str) -> None:
        del content_type
        value = parse_json(body or b"{}", parse, within)
        arguments |= {name: value} if name else value

    return read


def _masked_body(name: str, parse: Parse, content: Descriptor, bound: Collection[str]) -> ReadBody:
    """Read a PATCH: where no mask is given, the fields that the body names are its mask."""
    within = (name,) if name else ()
    prefix = f"{name}." if name else ""

    def parse_and_see(value: Any) -> tuple[Any, list[str]]:
        return parse(value), list(_leaves(content, value))

    def read(arguments: dict[str, Any], body: bytes, content_type: str) -> None:
        del content_type
        value, seen = parse_json(body or b"{}", parse_and_see, within)
        arguments |= {name: value} if name else value
        if _MASK in arguments:
            _check_mask(arguments[_MASK]["paths"], content)
        else:
            paths = [path for path in seen if prefix + path not in bound]
            arguments[_MASK] = {"paths": paths}

    return read


def _leaves(message: Descriptor, value: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of a JSON object's leaves; null is one too, and clears."""
    for name, item in value.items():
        field = message.fields_by_name[name]
        inner = field.message_type
        if type(item) is dict and item and inner is not None and _has_fields(field, inner):
            yield from (f"{name}.{path}" for path in _leaves(inner, item))
        else:
            yield name


def _has_fields(field: FieldDescriptor, inner: Descriptor) -> bool:
    written = inner.full_name in WRAPPERS or inner.full_name in WELL_KNOWN
    return not written and not is_map(field)


def _check_mask(paths: list[str], content: Descriptor) -> None:
    for path in paths:
        if field_at(content, path) is None:
            refusal = Refusal(f"{content.name} has no field {path}", "mask.unknown_field")
            raise refusal.at(_MASK).error()


def takes_mask(request: Descriptor) -> bool:
    """Say whether a request has an `update_mask`, and so may hold part of a message."""
    field = request.fields_by_name.get(_MASK)
    inner = None if field is None else field.message_type
    return inner is not None and inner.full_name == "google.protobuf.FieldMask"
