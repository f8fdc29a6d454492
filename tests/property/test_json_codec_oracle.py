"""Our JSON against protobuf's own, which is slower and laxer but was here first."""

import json

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from prodkit.contract.json_codec import JsonCodec
from prodkit.errors import InvalidArgumentError

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
finite = st.floats(allow_nan=False, allow_infinity=False)
int64s = st.integers(-(2**63), 2**63 - 1)
uint64s = st.integers(0, 2**64 - 1)
seconds = st.integers(-62_135_596_800, 253_402_300_799)
times = st.fixed_dictionaries({"seconds": seconds, "nanos": st.integers(0, 999_999_999)})
durations = st.builds(
    lambda seconds, nanos, sign: {"seconds": seconds * sign, "nanos": nanos * sign},
    st.integers(0, 315_575_999_999),
    st.integers(0, 999_999_999),
    st.sampled_from([1, -1]),
)
plain = st.recursive(
    st.none() | st.booleans() | finite | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
fields = {
    "a_double": finite,
    "a_float": st.floats(-(2.0**127), 2.0**127, width=32),
    "an_int32": st.integers(-(2**31), 2**31 - 1),
    "an_int64": int64s,
    "a_uint32": st.integers(0, 2**32 - 1),
    "a_uint64": uint64s,
    "a_sint32": st.integers(-(2**31), 2**31 - 1),
    "a_fixed64": uint64s,
    "a_bool": st.booleans(),
    "a_string": names,
    "some_bytes": st.binary(max_size=8),
    "an_enum": st.sampled_from([0, 1, 2]),
    "int64s": st.lists(int64s, max_size=3),
    "by_number": st.dictionaries(int64s, names, max_size=2),
    "by_flag": st.dictionaries(st.booleans(), st.sampled_from([0, 1, 2])),
    "maybe": names,
    "time": times,
    "times": st.lists(times, max_size=2),
    "duration": durations,
    "mask": st.fixed_dictionaries({"paths": st.lists(st.sampled_from(["maybe", "text"]))}),
    "struct": st.dictionaries(names, plain, max_size=3),
    "list": st.lists(plain, max_size=3),
    "string_value": st.fixed_dictionaries({"value": names}),
    "int64_value": st.fixed_dictionaries({"value": int64s}),
    "bytes_value": st.fixed_dictionaries({"value": st.binary(max_size=4)}),
    "bool_value": st.fixed_dictionaries({"value": st.booleans()}),
    "double_value": st.fixed_dictionaries({"value": finite}),
    "empty": st.just({}),
    "secret": names,
    "chunks": st.lists(st.binary(max_size=3), max_size=2),
}
choices = st.one_of(
    st.fixed_dictionaries({"text": names}),
    st.fixed_dictionaries({"number": int64s}),
    st.fixed_dictionaries({"publisher": st.fixed_dictionaries({"name": names})}),
    st.just({}),
)
flat = st.builds(
    lambda some, choice: {**some, **choice}, st.fixed_dictionaries({}, optional=fields), choices
)
messages = st.recursive(
    flat,
    lambda inner: st.builds(
        lambda outer, child, children, by_name: {
            **outer,
            "child": child,
            "children": children,
            "by_name": by_name,
        },
        flat,
        inner,
        st.lists(inner, max_size=2),
        st.dictionaries(names, inner, max_size=2),
    ),
    max_leaves=3,
)


@given(arguments=messages)
def test_both_print_and_parse_the_same(library, arguments):
    message = library.pb.Everything(**arguments)
    codec = JsonCodec(library.pb.Everything.DESCRIPTOR)
    oracle = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    ours = codec.print(message)
    assert json.loads(ours) == oracle
    assert codec.parse(ours) == message
    assert codec.parse(json.dumps(oracle).encode()) == message
    assert json_format.Parse(ours, library.pb.Everything()) == message


@given(
    data=st.recursive(
        plain, lambda inner: st.dictionaries(st.sampled_from([*fields, "child"]), inner)
    )
)
def test_what_we_take_the_oracle_takes_to_the_same_effect(library, data):
    text = json.dumps(data).encode()
    try:
        ours = JsonCodec(library.pb.Everything.DESCRIPTOR).parse(text)
    except InvalidArgumentError:
        return
    assert ours == json_format.Parse(text, library.pb.Everything())
