"""From one decoded JSON value to one field's value: scalars, enums, the well-known types.

Stricter than protobuf's own json_format where that is lax: ASCII digits only, no NaN, no enum
number that the enum does not have.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from prodkit.contract.well_known import parse_duration, parse_mask, parse_timestamp
from prodkit.errors import ConfigurationError, FieldViolation, InvalidArgumentError

Parse: TypeAlias = Callable[[Any], Any]

#: Objects inside objects; the JSON of people who mean well stays far below.
MAX_DEPTH = 64


class Refusal(Exception):  # noqa: N818  it becomes an InvalidArgumentError at the door of the codec
    """A value that does not fit; `path` grows, innermost first, while the exception rises."""

    def __init__(self, description: str, rule: str = "json.type") -> None:
        super().__init__(description)
        self.description = description
        self.rule = rule
        self.path: list[str] = []

    def at(self, *steps: str | int) -> Refusal:
        """Return itself, now seen from outside of `steps`."""
        self.path.extend(str(step) for step in reversed(steps))
        return self

    def error(self) -> InvalidArgumentError:
        """Return what a caller is told."""
        steps = (step.replace("~", "~0").replace("/", "~1") for step in reversed(self.path))
        pointer = "".join(f"/{step}" for step in steps)
        violation = FieldViolation(pointer, self.description, self.rule)
        return InvalidArgumentError(
            f"{pointer or 'the body'}: {self.description}", violations=[violation]
        )


def enum(descriptor: EnumDescriptor) -> Parse:
    """Return the closure for a value of `descriptor`, by name or by number."""
    if descriptor.full_name == "google.protobuf.NullValue":
        return _null
    numbers = {value.name: value.number for value in descriptor.values}
    known = set(numbers.values())

    def parse(value: Any) -> Any:
        if type(value) is str and value in numbers:
            return numbers[value]
        if type(value) is int and value in known:
            return value
        raise Refusal(f"must be one of {', '.join(numbers)}", "json.enum")

    return parse


def _null(value: Any) -> int:
    if value not in (None, "NULL_VALUE"):
        raise Refusal("must be null")
    return 0


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_EXACT = 2**53  # above it a double is no longer one integer
_LARGEST_FLOAT = (2 - 2**-24) * 2.0**127  # what still rounds down to the largest float


def _integer(least: int, most: int) -> Parse:
    def parse(value: Any) -> Any:
        kind = type(value)
        whole = kind is float and value.is_integer() and abs(value) <= _EXACT
        if whole or (kind is str and _INTEGER.fullmatch(value)):
            value = int(value)
        elif kind is not int:
            raise Refusal("must be an integer")
        if not least <= value <= most:
            raise Refusal(f"must lie between {least} and {most}", "json.range")
        return value

    return parse


def _floating(most: float) -> Parse:
    def parse(value: Any) -> Any:
        kind = type(value)
        if kind is str and _NUMBER.fullmatch(value):
            value = float(value)
        elif kind is not float and kind is not int:
            raise Refusal("must be a number")
        if not -most < value < most:
            raise Refusal("is too large", "json.range")
        return value

    return parse


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Refusal("must be true or false")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Refusal("must be a string")
    return value


def _bytes(value: Any) -> bytes:
    text = _string(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("must be base64") from None


_int32, _int64 = _integer(-(2**31), 2**31 - 1), _integer(-(2**63), 2**63 - 1)
_uint32, _uint64 = _integer(0, 2**32 - 1), _integer(0, 2**64 - 1)

SCALARS: dict[int, Parse] = {
    FieldDescriptor.TYPE_DOUBLE: _floating(math.inf),
    FieldDescriptor.TYPE_FLOAT: _floating(_LARGEST_FLOAT),
    FieldDescriptor.TYPE_INT32: _int32,
    FieldDescriptor.TYPE_SINT32: _int32,
    FieldDescriptor.TYPE_SFIXED32: _int32,
    FieldDescriptor.TYPE_INT64: _int64,
    FieldDescriptor.TYPE_SINT64: _int64,
    FieldDescriptor.TYPE_SFIXED64: _int64,
    FieldDescriptor.TYPE_UINT32: _uint32,
    FieldDescriptor.TYPE_FIXED32: _uint32,
    FieldDescriptor.TYPE_UINT64: _uint64,
    FieldDescriptor.TYPE_FIXED64: _uint64,
    FieldDescriptor.TYPE_BOOL: _boolean,
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BYTES: _bytes,
}


def _written(parse_text: Callable[[str], Any]) -> Parse:
    def parse(value: Any) -> Any:
        try:
            return parse_text(_string(value))
        except ValueError as error:
            raise Refusal(str(error), "json.format") from None

    return parse


def _struct(value: Any) -> Any:
    if type(value) is not dict:
        raise Refusal("must be an object")
    _check_depth(value, MAX_DEPTH)
    return value


def _list(value: Any) -> Any:
    if type(value) is not list:
        raise Refusal("must be an array")
    _check_depth(value, MAX_DEPTH)
    return {"values": [_value(item) for item in value]}


def _value(value: Any) -> Any:
    if value is None:
        return {"null_value": 0}
    if type(value) is bool:
        return {"bool_value": value}
    if type(value) is str:
        return {"string_value": value}
    if type(value) is dict:
        return {"struct_value": _struct(value)}
    if type(value) is list:
        return {"list_value": _list(value)}
    return {"number_value": value}


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise Refusal("is nested too deeply", "json.depth")
    for item in value.values() if type(value) is dict else value:
        if type(item) is dict or type(item) is list:
            _check_depth(item, left - 1)


WELL_KNOWN: dict[str, Parse] = {
    "google.protobuf.Timestamp": _written(parse_timestamp),
    "google.protobuf.Duration": _written(parse_duration),
    "google.protobuf.FieldMask": _written(parse_mask),
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
}

#: Messages that JSON writes as their one bare value.
WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in (
        "Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64",
    )
)  # fmt: skip


def from_text(field: FieldDescriptor) -> Parse:
    """Return the closure for one value of `field` that stands in a path, a query or a map's key.

    Raises ConfigurationError for a message that has no written form.
    """
    inner = field.message_type
    if inner is not None and inner.full_name in WRAPPERS:
        parse = from_text(inner.fields_by_name["value"])
        return lambda text: {"value": parse(text)}
    if inner is not None and inner.full_name in WRITTEN:
        return WELL_KNOWN[inner.full_name]
    if inner is not None:
        raise ConfigurationError(f"{field.full_name} cannot be written as text")
    if field.enum_type is not None:
        return _enum_text(field.enum_type)
    return _boolean_text if field.type == FieldDescriptor.TYPE_BOOL else SCALARS[field.type]


#: Messages that have a written form.
WRITTEN = frozenset(f"google.protobuf.{name}" for name in ("Timestamp", "Duration", "FieldMask"))


def _enum_text(descriptor: EnumDescriptor) -> Parse:
    parse = enum(descriptor)
    return lambda text: parse(int(text) if _INTEGER.fullmatch(text) else text)


def _boolean_text(text: str) -> bool:
    if text not in ("true", "false"):
        raise Refusal("must be true or false")
    return text == "true"
