"""Messages as the JSON Schemas of an OpenAPI document, each named once and referred to."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from prodkit.contract.json_parse import is_map
from prodkit.contract.json_values import WRAPPERS
from prodkit.gateway.rules import (
    Rules,
    Schema,
    constraints,
    enum_numbers,
    item_rules,
    required,
    rules_of,
)
from prodkit.v1 import options_pb2

_SIGNED: Schema = {"type": "string", "format": "int64", "pattern": "^-?(0|[1-9][0-9]{0,18})$"}
_UNSIGNED: Schema = {"type": "string", "format": "uint64", "pattern": "^(0|[1-9][0-9]{0,19})$"}
_INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "format": "int32"}
_UINT32: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_INT64: _SIGNED,
    FieldDescriptor.TYPE_SINT64: _SIGNED,
    FieldDescriptor.TYPE_SFIXED64: _SIGNED,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UNSIGNED,
    FieldDescriptor.TYPE_FIXED64: _UNSIGNED,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$",
        "examples": ["1.5s"],
    },
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Field names, separated by commas.",
        "pattern": r"^([a-z][a-z0-9_]*([.,][a-z][a-z0-9_]*)*)?$",
    },
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
}


class Schemas:
    """The schemas that a document refers to, made when they are first referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def message(self, descriptor: Descriptor, *, partial: bool = False) -> Schema:
        """Return the schema of a message, most often a reference.

        `partial`: a PATCH, whose body need not hold what the whole must.
        """
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known
        if descriptor.full_name in WRAPPERS:
            value = self._singular(descriptor.fields_by_name["value"], None)
            return {**value, "type": [value["type"], "null"]}
        name = f"{descriptor.full_name}.Partial" if partial else descriptor.full_name
        if name not in self.components:
            self.components[name] = {}  # while it is made: it may contain itself
            self.components[name] = self._object(descriptor, partial=partial)
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field as it stands in its message, rules included."""
        rules = rules_of(field)
        schema = self._shape(field, rules)
        if description := field.GetOptions().Extensions[options_pb2.field_description]:
            schema = {**schema, "description": description}
        if field.GetOptions().debug_redact:
            schema = {**schema, "format": "password"}
        return schema

    def _shape(self, field: FieldDescriptor, rules: Rules | None) -> Schema:
        if is_map(field):
            entry = field.message_type
            assert entry is not None
            value = self._singular(entry.fields_by_name["value"], item_rules(rules))
            return {"type": "object", "additionalProperties": value, **constraints(rules)}
        if field.is_repeated:
            item = self._singular(field, item_rules(rules))
            return {"type": "array", "items": item, **constraints(rules)}
        return self._singular(field, rules)

    def _singular(self, field: FieldDescriptor, rules: Rules | None) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type, rules)
        return {**_SCALARS[field.type], **constraints(rules)}

    def _enum(self, descriptor: EnumDescriptor, rules: Rules | None) -> Schema:
        if descriptor.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        names = {value.number: value.name for value in reversed(descriptor.values)}
        numbers = [value.number for value in descriptor.values]
        admitted = enum_numbers(rules, numbers)
        if admitted != numbers:
            return {"type": "string", "enum": [names[number] for number in admitted]}
        if descriptor.full_name not in self.components:
            schema: Schema = {"type": "string", "enum": [value.name for value in descriptor.values]}
            text = descriptor.GetOptions().Extensions[options_pb2.enum_description]
            self.components[descriptor.full_name] = _described(schema, text)
        return {"$ref": f"#/components/schemas/{descriptor.full_name}"}

    def _object(self, descriptor: Descriptor, *, partial: bool) -> Schema:
        schema: Schema = {
            "type": "object",
            "properties": {field.name: self.field(field) for field in descriptor.fields},
            "additionalProperties": False,
        }
        must = [field.name for field in descriptor.fields if required(field)]
        if must and not partial:
            schema["required"] = must
        text = descriptor.GetOptions().Extensions[options_pb2.message_description]
        return _described(schema, text)


def _described(schema: Schema, text: Any) -> Schema:
    return {**schema, "description": text} if text else schema
