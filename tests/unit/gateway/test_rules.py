import pytest
from protobuf import Oneof
from protovalidate._gen.buf.validate import validate_pb as pb

from prodkit.gateway.rules import constraints, enum_numbers, item_rules


def rules(kind, value, **options):
    return pb.FieldRules(type=Oneof(kind, value), **options)


@pytest.mark.parametrize(
    ("options", "schema"),
    [
        ({"len": 3}, {"minLength": 3, "maxLength": 3}),
        ({"const": ""}, {"const": ""}),
        ({"in_": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"well_known": Oneof("uuid", True)}, {"format": "uuid"}),
        ({"pattern": r"^[a-z]+\.\d{2}$"}, {"pattern": r"^[a-z]+\.\d{2}$"}),
        ({"pattern": r"(?i)abc"}, {}),
        ({"pattern": r"^\pL+$"}, {}),
        ({"pattern": r"^a\z"}, {}),
        ({"pattern": r"[[:alpha:]]"}, {}),
    ],
)
def test_strings(options, schema):
    assert constraints(rules("string", pb.StringRules(**options))) == schema


@pytest.mark.parametrize(
    ("options", "schema"),
    [
        ({"greater_than": Oneof("gt", 0)}, {"exclusiveMinimum": 0}),
        ({"less_than": Oneof("lt", 9)}, {"exclusiveMaximum": 9}),
        (
            {"greater_than": Oneof("gte", 0), "less_than": Oneof("lte", 9)},
            {"minimum": 0, "maximum": 9},
        ),
        ({"in_": [1, 2]}, {"enum": [1, 2]}),
        ({"const": 0}, {"const": 0}),
    ],
)
def test_numbers(options, schema):
    assert constraints(rules("int32", pb.Int32Rules(**options))) == schema


def test_64_bit_bounds_cannot_be_said():
    assert constraints(rules("int64", pb.Int64Rules(greater_than=Oneof("gt", 0)))) == {}


def test_lists_and_maps():
    item = rules("string", pb.StringRules(min_len=1))
    listed = rules("repeated", pb.RepeatedRules(min_items=1, unique=True, items=item))
    assert constraints(listed) == {"minItems": 1, "uniqueItems": True}
    assert constraints(item_rules(listed)) == {"minLength": 1}
    mapped = rules("map", pb.MapRules(max_pairs=2, values=item))
    assert constraints(mapped) == {"maxProperties": 2}
    assert constraints(item_rules(mapped)) == {"minLength": 1}


def test_rules_that_are_ignored_for_zero_are_not_told():
    ignored = rules("string", pb.StringRules(min_len=1), ignore=pb.Ignore.IF_ZERO_VALUE)
    assert constraints(ignored) == {}


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, [0, 1, 2]),
        ({"not_in": [0]}, [1, 2]),
        ({"in_": [1, 2]}, [1, 2]),
        ({"const": 2}, [2]),
        ({"defined_only": True}, [0, 1, 2]),
    ],
)
def test_enums(options, numbers):
    assert enum_numbers(rules("enum", pb.EnumRules(**options)), [0, 1, 2]) == numbers
