import json
import time

import pytest

from prodkit.contract.json_codec import JsonCodec
from prodkit.errors import ConfigurationError, InvalidArgumentError


@pytest.fixture
def codec(library):
    return JsonCodec(library.pb.Everything.DESCRIPTOR)


@pytest.fixture
def everything(library):
    return library.pb.Everything


def refusal(codec, data: bytes):
    with pytest.raises(InvalidArgumentError) as caught:
        codec.parse(data)
    (violation,) = caught.value.violations
    return violation


def test_unset_fields_without_presence_are_printed_and_others_not(library):
    printed = json.loads(JsonCodec(library.pb.Book.DESCRIPTOR).print(library.pb.Book()))
    assert printed == {
        "id": "",
        "title": "",
        "genre": "GENRE_UNSPECIFIED",
        "price_cents": "0",
        "authors": [],
        "labels": {},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"an_int64": "9223372036854775807"}', {"an_int64": 2**63 - 1}),
        ('{"an_int64": -9223372036854775808}', {"an_int64": -(2**63)}),
        ('{"a_uint64": 18446744073709551615}', {"a_uint64": 2**64 - 1}),
        ('{"an_int32": 1e3}', {"an_int32": 1000}),
        ('{"a_double": "2.5e3"}', {"a_double": 2500.0}),
        ('{"a_double": 7}', {"a_double": 7.0}),
        ('{"an_enum": "GENRE_POETRY"}', {"an_enum": 2}),
        ('{"an_enum": 2}', {"an_enum": 2}),
        ('{"some_bytes": "_-8="}', {"some_bytes": b"\xff\xef"}),
        ('{"some_bytes": "/+8"}', {"some_bytes": b"\xff\xef"}),
        ('{"a_string": null, "children": null, "child": null}', {}),
        ('{"time": "1970-01-01T01:00:00.5+01:00"}', {"time": {"nanos": 500_000_000}}),
        ('{"time": "0001-01-01T00:00:00Z"}', {"time": {"seconds": -62_135_596_800}}),
        ('{"duration": "-1.5s"}', {"duration": {"seconds": -1, "nanos": -500_000_000}}),
        ('{"mask": "a_string,child.text"}', {"mask": {"paths": ["a_string", "child.text"]}}),
        ('{"mask": ""}', {"mask": {}}),
        ('{"int64_value": "3"}', {"int64_value": {"value": 3}}),
        ('{"string_value": ""}', {"string_value": {}}),
        ('{"value": null}', {"value": {"null_value": 0}}),
        ('{"empty": {}}', {"empty": {}}),
        ('{"by_flag": {"true": "GENRE_NOVEL"}}', {"by_flag": {True: 1}}),
        ('{"by_number": {"-3": "x"}}', {"by_number": {-3: "x"}}),
        ('{"text": null, "number": "4"}', {"number": 4}),
        ('{"a_string": "a:b", "maybe": ":"}', {"a_string": "a:b", "maybe": ":"}),
        (r'{"a_string": "\"a\":\u003a", "maybe": "b"}', {"a_string": '"a"::', "maybe": "b"}),
    ],
)
def test_what_is_taken(codec, everything, text, expected):
    assert codec.parse(text.encode()) == everything(**expected)


@pytest.mark.parametrize(
    ("text", "pointer", "rule"),
    [
        ("", "", "json.syntax"),
        ("[]", "", "json.type"),
        ('{"a": 1}', "/a", "json.unknown_field"),
        ('{"anInt32": 1}', "/anInt32", "json.unknown_field"),
        ('{"a/b~c": 1}', "/a~1b~0c", "json.unknown_field"),
        ('{"child": {"children": [{}, {"x": 1}]}}', "/child/children/1/x", "json.unknown_field"),
        ('{"by_name": {"k": {"a_bool": 1}}}', "/by_name/k/a_bool", "json.type"),
        ('{"by_number": {"k": "x"}}', "/by_number/k", "json.type"),
        ('{"an_int32": true}', "/an_int32", "json.type"),
        ('{"an_int32": 1.5}', "/an_int32", "json.type"),
        ('{"an_int32": 2147483648}', "/an_int32", "json.range"),
        ('{"an_int64": "1_000"}', "/an_int64", "json.type"),
        ('{"an_int64": "٣"}', "/an_int64", "json.type"),
        ('{"an_int64": " 1"}', "/an_int64", "json.type"),
        ('{"an_int64": 9223372036854775808}', "/an_int64", "json.range"),
        ('{"a_uint64": 18446744073709551616}', "/a_uint64", "json.type"),
        ('{"a_uint32": -1}', "/a_uint32", "json.range"),
        ('{"a_double": "NaN"}', "/a_double", "json.type"),
        ('{"a_double": "Infinity"}', "/a_double", "json.type"),
        ('{"child": {"a_double": NaN}}', "/child/a_double", "json.syntax"),
        ('{"a_float": 1e39}', "/a_float", "json.range"),
        ('{"a_double": "1e999"}', "/a_double", "json.range"),
        ('{"a_string": 1}', "/a_string", "json.type"),
        ('{"int64s": [1, null]}', "/int64s/1", "json.type"),
        ('{"int64s": {}}', "/int64s", "json.type"),
        ('{"an_enum": "GENRE_MYSTERY"}', "/an_enum", "json.enum"),
        ('{"an_enum": 99}', "/an_enum", "json.enum"),
        ('{"some_bytes": "*"}', "/some_bytes", "json.type"),
        ('{"time": "2026-02-30T00:00:00Z"}', "/time", "json.format"),
        ('{"time": "0001-01-01T00:00:00+01:00"}', "/time", "json.format"),
        ('{"time": 3}', "/time", "json.type"),
        ('{"duration": "1"}', "/duration", "json.format"),
        ('{"duration": "315576000000.1s"}', "/duration", "json.format"),
        ('{"mask": "aString"}', "/mask", "json.format"),
        ('{"int64_value": {"value": 1}}', "/int64_value", "json.type"),
        ('{"empty": {"a": 1}}', "/empty/a", "json.unknown_field"),
        ('{"null": 0}', "/null", "json.type"),
        ('{"text": "a", "number": "1"}', "/number", "json.oneof"),
        ('{"a_bool": true, "a_bool": true}', "/a_bool", "json.duplicate"),
        (r'{"a_string": "a", "a_string": "\u003a"}', "/a_string", "json.duplicate"),
        (r'{"a_string": "a", "\u0061_string": "b"}', "/a_string", "json.duplicate"),
        ('{"children": [{}, {"maybe": "a", "maybe": ":"}]}', "/children/1/maybe", "json.duplicate"),
        ('{"struct": {"a": {"b": 1, "b": 2}}}', "/struct/a/b", "json.duplicate"),
        ('{"a_string": "a" "b"}', "/a_string", "json.syntax"),
        ('{"int64s": [1, 2 3]}', "/int64s/1", "json.syntax"),
        ('{"children": [{"a_bool": true}, {"a_string": tru', "/children/1/a_string", "json.syntax"),
        (r'{"a_string": "\ud800"}', "/a_string", "json.syntax"),
    ],
)
def test_what_is_refused_and_where(codec, text, pointer, rule):
    violation = refusal(codec, text.encode())
    assert (violation.field, violation.rule) == (pointer, rule)


def test_bytes_that_are_no_text_are_refused(codec):
    assert refusal(codec, b'{"a_string": "\xff"}').rule == "json.syntax"


def deep(levels: int) -> bytes:
    return b'{"child":' * levels + b"{}" + b"}" * levels


def test_nesting_up_to_the_limit_is_taken(codec):
    message = codec.parse(deep(63))
    for _ in range(63):
        message = message.child
    assert not message.HasField("child")


@pytest.mark.parametrize(
    "text",
    [
        deep(64),
        b'{"struct": {"a": ' + b"[" * 64 + b"]" * 64 + b"}}",
        b'{"value": ' + b"[" * 65 + b"]" * 65 + b"}",
    ],
)
def test_nesting_beyond_the_limit_is_refused(codec, text):
    assert refusal(codec, text).rule == "json.depth"


def test_a_refusal_of_depth_leaves_nothing_behind(codec):
    for _ in range(3):
        refusal(codec, deep(100))
    codec.parse(deep(63))


@pytest.mark.parametrize(
    "text",
    [
        b'{"an_int64":' + b"1" * 5_000 + b"}",
        b'{"an_int64":"' + b"1" * 50_000 + b'"}',
        b'{"a_double":"' + b"1" * 50_000 + b'"}',
        b"[" * 51_200,
        b'{"child":' * 6_000,
        b'{"value":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a_string":"' + b'\\"' * 25_000,
        b'{"int64s":[' + b"1," * 25_000,
        b'{"some_bytes":"' + b"=" * 50_000 + b'!"}',
        b'{"time":"' + b"1" * 50_000 + b'"}',
    ],
)
def test_hostile_bodies_are_refused_quickly(codec, text):
    started = time.perf_counter()
    refusal(codec, text)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"a_float": 0.1}, {"a_float": 0.1}),
        ({"a_float": 16777216}, {"a_float": 16777216.0}),
        ({"a_float": float("nan")}, {"a_float": "NaN"}),
        ({"a_double": float("-inf")}, {"a_double": "-Infinity"}),
        ({"an_enum": 77}, {"an_enum": 77}),
        ({"time": {"seconds": -1, "nanos": 1_000}}, {"time": "1969-12-31T23:59:59.000001Z"}),
        ({"duration": {"nanos": -1}}, {"duration": "-0.000000001s"}),
        ({"mask": {"paths": ["a_string"]}}, {"mask": "a_string"}),
        ({"int64_value": {}}, {"int64_value": "0"}),
        ({"by_number": {-3: "x"}}, {"by_number": {"-3": "x"}}),
        ({"by_flag": {True: 1}}, {"by_flag": {"true": "GENRE_NOVEL"}}),
        ({"chunks": [b"\xff"]}, {"chunks": ["/w=="]}),
    ],
)
def test_what_is_printed(codec, everything, fields, expected):
    printed = json.loads(codec.print(everything(**fields)))
    assert {name: printed[name] for name in expected} == expected


def test_any_is_refused_at_start(library):
    with pytest.raises(ConfigurationError, match=r"Wrapping\.anything"):
        JsonCodec(library.pb.Wrapping.DESCRIPTOR)


def test_the_largest_float_comes_back(codec, everything):
    message = everything(a_float=(2 - 2**-23) * 2.0**127)
    assert codec.parse(codec.print(message)) == message
