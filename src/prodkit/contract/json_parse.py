"""From decoded JSON to the arguments of a message, by one closure per field, linked once.

Only the proto's own field names, no unknown fields, no second member of a oneof. Everything a
closure returns is plain data that a message constructor takes, so path and query can be merged in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from prodkit.contract.json_values import (
    MAX_DEPTH,
    SCALARS,
    WELL_KNOWN,
    WRAPPERS,
    Parse,
    Refusal,
    enum,
    from_text,
)
from prodkit.errors import ConfigurationError


class Parsers:
    """Closures by message type, compiled on first need and kept."""

    def __init__(self) -> None:
        self._messages: dict[str, Parse] = {}
        self._depth = 0

    def message(self, descriptor: Descriptor) -> Parse:
        """Return the closure from a JSON value to the arguments of `descriptor`'s message.

        Raises ConfigurationError for google.protobuf.Any, whose type a stranger would choose.
        """
        known = WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known
        if descriptor.full_name == "google.protobuf.Any":
            raise ConfigurationError("google.protobuf.Any cannot cross the JSON door")
        if descriptor.full_name in WRAPPERS:
            inner = self.singular(descriptor.fields_by_name["value"])
            return lambda value: {"value": inner(value)}
        parse = self._messages.get(descriptor.full_name)
        return parse if parse is not None else self._compile(descriptor)

    def field(self, field: FieldDescriptor) -> Parse:
        """Return the closure for a field as it stands in a message: singular, list or map."""
        if is_map(field):
            return self._map(field)
        one = self.singular(field)
        return _repeated(one) if field.is_repeated else one

    def singular(self, field: FieldDescriptor) -> Parse:
        """Return the closure for one value of `field`."""
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return enum(field.enum_type)
        return SCALARS[field.type]

    def _compile(self, descriptor: Descriptor) -> Parse:
        fields: dict[str, Parse] = {}
        oneofs: dict[str, str] = {}
        parse = _message(fields, oneofs, _nullable(descriptor))
        if _recursive(descriptor):
            parse = self._bounded(parse)
        self._messages[descriptor.full_name] = parse  # before its fields: they may contain it
        for field in descriptor.fields:
            try:
                fields[field.name] = self.field(field)
            except ConfigurationError as error:
                raise ConfigurationError(f"{field.full_name}: {error}") from None
            if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
                oneofs[field.name] = field.containing_oneof.name
        return parse

    def _bounded(self, parse: Parse) -> Parse:
        """Guard a type that can contain itself; the depth of all others is in their schema."""

        def bounded(value: Any) -> Any:
            if self._depth >= MAX_DEPTH:
                raise Refusal("is nested too deeply", "json.depth")
            self._depth += 1
            try:
                return parse(value)
            finally:
                self._depth -= 1

        return bounded

    def _map(self, field: FieldDescriptor) -> Parse:
        entry = field.message_type
        assert entry is not None
        parse_key = from_text(entry.fields_by_name["key"])
        parse_value = self.singular(entry.fields_by_name["value"])

        def parse(value: Any) -> Any:
            if type(value) is not dict:
                raise Refusal("must be an object")
            result = {}
            for key, item in value.items():
                try:
                    result[parse_key(key)] = parse_value(item)
                except Refusal as refusal:
                    raise refusal.at(key) from None
            return result

        return parse


def _message(fields: Mapping[str, Parse], oneofs: Mapping[str, str], nullable: set[str]) -> Parse:
    def parse(value: Any) -> Any:
        if type(value) is not dict:
            raise Refusal("must be an object")
        result = {}
        chosen: dict[str, str] = {}
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                raise Refusal("there is no such field", "json.unknown_field").at(name)
            if item is None and name not in nullable:
                continue
            try:
                result[name] = field(item)
            except Refusal as refusal:
                raise refusal.at(name) from None
            if name in oneofs and chosen.setdefault(oneofs[name], name) != name:
                other = chosen[oneofs[name]]
                raise Refusal(f"excludes {other}, which is set too", "json.oneof").at(name)
        return result

    return parse


def _nullable(descriptor: Descriptor) -> set[str]:
    """Return the fields for which null is a value; for all others it is the same as absence."""
    return {
        field.name
        for field in descriptor.fields
        if not field.is_repeated
        and (
            (field.message_type and field.message_type.full_name == "google.protobuf.Value")
            or (field.enum_type and field.enum_type.full_name == "google.protobuf.NullValue")
        )
    }


def _recursive(descriptor: Descriptor) -> bool:
    seen: set[str] = set()
    waiting = [descriptor]
    while waiting:
        for field in waiting.pop().fields:
            inner = field.message_type
            if inner is None or inner.full_name in seen:
                continue
            if inner.full_name == descriptor.full_name:
                return True
            seen.add(inner.full_name)
            waiting.append(inner)
    return False


def is_map(field: FieldDescriptor) -> bool:
    """Say whether `field` is a map."""
    inner = field.message_type
    return field.is_repeated and inner is not None and bool(inner.GetOptions().map_entry)


def _repeated(one: Parse) -> Parse:
    def parse(value: Any) -> Any:
        if type(value) is not list:
            raise Refusal("must be an array")
        result = []
        try:
            for item in value:
                result.append(one(item))  # noqa: PERF401  its length is where a refusal was
        except Refusal as refusal:
            raise refusal.at(len(result)) from None
        return result

    return parse
