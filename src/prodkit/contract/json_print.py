"""From a message to plain data for the JSON encoder, by one closure per type, linked once.

Fields without presence are always there, zero or not, so that clients need not know the proto's
defaults; fields with presence are there when they are set. 64-bit integers are strings.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from prodkit.contract.json_parse import is_map
from prodkit.contract.json_values import WRAPPERS
from prodkit.contract.well_known import print_duration, print_mask, print_timestamp
from prodkit.errors import ConfigurationError

Print: TypeAlias = Callable[[Any], Any]


class Printers:
    """Closures by message type, compiled on first need and kept."""

    def __init__(self) -> None:
        self._messages: dict[str, Print] = {}

    def message(self, descriptor: Descriptor) -> Print:
        """Return the closure from a message of `descriptor` to data that `orjson.dumps` takes."""
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known
        if descriptor.full_name in WRAPPERS:
            inner = self._singular(descriptor.fields_by_name["value"])
            return lambda message: inner(message.value)
        if descriptor.full_name == "google.protobuf.Any":
            raise ConfigurationError("google.protobuf.Any cannot cross the JSON door")
        known = self._messages.get(descriptor.full_name)
        return known if known is not None else self._compile(descriptor)

    def _compile(self, descriptor: Descriptor) -> Print:
        fields: dict[FieldDescriptor, tuple[str, Print]] = {}
        defaults: dict[str, Any] = {}

        def render(message: Any) -> dict[str, Any]:
            result = defaults.copy()
            for field, value in message.ListFields():
                name, inner = fields[field]
                result[name] = inner(value)
            return result

        self._messages[descriptor.full_name] = render
        for field in descriptor.fields:
            fields[field] = (field.name, self._field(field))
            if not field.has_presence:
                defaults[field.name] = self._default(field)
        return render

    def _default(self, field: FieldDescriptor) -> Any:
        if field.is_repeated:
            return {} if is_map(field) else []
        return self._singular(field)(field.default_value)

    def _field(self, field: FieldDescriptor) -> Print:
        if is_map(field):
            return self._map(field)
        one = self._singular(field)
        if not field.is_repeated:
            return one
        if one is _same:
            return list
        return lambda values: [one(value) for value in values]

    def _map(self, field: FieldDescriptor) -> Print:
        entry = field.message_type
        assert entry is not None
        one = self._singular(entry.fields_by_name["value"])
        key = _flag if entry.fields_by_name["key"].type == FieldDescriptor.TYPE_BOOL else str
        return lambda values: {key(name): one(value) for name, value in values.items()}

    def _singular(self, field: FieldDescriptor) -> Print:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return _enum(field.enum_type)
        return _SCALARS.get(field.type, _same)


def _same(value: Any) -> Any:
    return value


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _enum(descriptor: EnumDescriptor) -> Print:
    if descriptor.full_name == "google.protobuf.NullValue":
        return lambda number: None
    names = {value.number: value.name for value in reversed(descriptor.values)}
    return lambda number: names.get(number, number)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _float(value: float) -> float | str:
    """Return the shortest number that is the same float: 0.1, not 0.10000000149011612."""
    if not math.isfinite(value):
        return _double(value)
    for digits in (6, 7, 8):
        shorter = float(f"{value:.{digits}g}")
        if struct.pack("f", shorter) == struct.pack("f", value):
            return shorter
    return float(f"{value:.9g}")


_SCALARS: dict[int, Print] = {
    FieldDescriptor.TYPE_INT64: str,
    FieldDescriptor.TYPE_SINT64: str,
    FieldDescriptor.TYPE_SFIXED64: str,
    FieldDescriptor.TYPE_UINT64: str,
    FieldDescriptor.TYPE_FIXED64: str,
    FieldDescriptor.TYPE_BYTES: _base64,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _float,
}


def _value(message: Any) -> Any:
    match message.WhichOneof("kind"):
        case "struct_value":
            return _struct(message.struct_value)
        case "list_value":
            return _list(message.list_value)
        case "number_value":
            return _double(message.number_value)
        case None | "null_value":
            return None
        case kind:
            return getattr(message, kind)


def _struct(message: Any) -> dict[str, Any]:
    return {name: _value(value) for name, value in message.fields.items()}


def _list(message: Any) -> list[Any]:
    return [_value(value) for value in message.values]


_WELL_KNOWN: dict[str, Print] = {
    "google.protobuf.Timestamp": print_timestamp,
    "google.protobuf.Duration": print_duration,
    "google.protobuf.FieldMask": print_mask,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
}
