"""The protovalidate rules of a field in the words of JSON Schema, as far as it has words.

It has none for CEL, for bounds of 64-bit integers (they are strings in JSON), and for what RE2
understands and ECMAScript does not. What is left out is still enforced; it is only not told.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from protobuf.wkt.google.protobuf.descriptor_pb import FieldOptions
from protovalidate._gen.buf.validate import validate_pb

Schema: TypeAlias = "dict[str, Any]"
Rules: TypeAlias = validate_pb.FieldRules

#: Syntax that RE2 and ECMAScript read alike: no groups with options, no classes by name.
_PORTABLE = re.compile(r"(?:[^\\(\[]|\\[dwsDWS.\-/+*?()\[\]{}^$|\\]|\((?!\?)|\[(?!:))*")
_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uuid": "uuid",
}
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}
_NUMBERS = frozenset({"int32", "sint32", "sfixed32", "uint32", "fixed32", "float", "double"})


def rules_of(field: FieldDescriptor) -> Rules | None:
    """Return the rules of `field`, or None."""
    options = FieldOptions.from_binary(field.GetOptions().SerializeToString())
    return options[validate_pb.ext_field]


def required(field: FieldDescriptor) -> bool:
    """Say whether `field` must be there."""
    rules = rules_of(field)
    return rules is not None and bool(rules.required)


def constraints(rules: Rules | None) -> Schema:
    """Return the keywords that say `rules` of a value; {} where zero, or anything, is let pass."""
    if rules is None or rules.ignore != validate_pb.Ignore.UNSPECIFIED:
        return {}
    kind, value = _kind(rules)
    if kind == "string":
        return _string(value)
    if kind in _NUMBERS:
        return _number(value)
    if kind == "repeated":
        counted = _given(value, min_items="minItems", max_items="maxItems")
        return counted | ({"uniqueItems": True} if value.unique else {})
    if kind == "map":
        return _given(value, min_pairs="minProperties", max_pairs="maxProperties")
    return {}


def item_rules(rules: Rules | None) -> Rules | None:
    """Return the rules of the items of a repeated field, or of the values of a map."""
    kind, value = _kind(rules)
    inner: Rules | None = None
    if kind == "repeated":
        inner = value.items
    elif kind == "map":
        inner = value.values
    return inner


def enum_numbers(rules: Rules | None, numbers: list[int]) -> list[int]:
    """Return which of an enum's `numbers` its rules admit."""
    kind, value = _kind(rules)
    if kind != "enum":
        return numbers
    if value.has_field("const"):
        return [value.const]
    admitted = value.in_ or numbers
    return [number for number in numbers if number in admitted and number not in value.not_in]


def _kind(rules: Rules | None) -> tuple[str, Any]:
    """Return which kind of value the rules are for, and those rules, whose types are many."""
    if rules is None or rules.type is None:
        return "", None
    return rules.type.field, rules.type.value


def _given(value: Any, **keywords: str) -> Schema:
    return {
        keyword: getattr(value, rule) for rule, keyword in keywords.items() if value.has_field(rule)
    }


def _string(value: Any) -> Schema:
    schema = _given(value, min_len="minLength", max_len="maxLength", const="const")
    if value.has_field("len"):
        schema |= {"minLength": value.len, "maxLength": value.len}
    if value.in_:
        schema["enum"] = list(value.in_)
    if value.pattern and _PORTABLE.fullmatch(value.pattern):
        schema["pattern"] = value.pattern
    if value.well_known is not None and value.well_known.field in _FORMATS:
        schema["format"] = _FORMATS[value.well_known.field]
    return schema


def _number(value: Any) -> Schema:
    schema = _given(value, const="const")
    for bound in (value.greater_than, value.less_than):
        if bound is not None:
            schema[_BOUNDS[bound.field]] = bound.value
    if value.in_:
        schema["enum"] = list(value.in_)
    return schema
