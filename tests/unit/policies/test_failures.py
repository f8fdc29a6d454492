import asyncio
from functools import partial

import pytest

from prodkit import Code
from prodkit.errors import ConfigurationError
from prodkit.policies._failures import named_by, shown

ALL = "INTERNAL, UNAVAILABLE, KeyError"


def predicate(call, error):
    return True


async def asynchronous(call, error):
    return True


@pytest.mark.parametrize(
    ("on", "types", "codes", "text"),
    [
        (KeyError, (KeyError,), set(), "KeyError"),
        (Code.INTERNAL, (), {Code.INTERNAL}, "INTERNAL"),
        ([KeyError, Code.UNAVAILABLE, Code.INTERNAL], (KeyError,), {14, 13}, ALL),
        ({KeyError}, (KeyError,), set(), "KeyError"),
    ],
    ids=["type", "code", "both", "set"],
)
def test_types_and_codes_are_told_apart(on, types, codes, text):
    named = named_by(on)
    assert named == (None, types, codes)
    assert shown(named) == text


def test_what_can_be_read_only_once_is_read_once():
    named = named_by(iter([KeyError, KeyError]))
    assert named == (None, (KeyError, KeyError), set())
    assert shown(named) == "KeyError, KeyError"


@pytest.mark.parametrize(
    ("on", "text"),
    [(predicate, "predicate"), (partial(predicate), "a predicate")],
    ids=["function", "partial"],
)
def test_a_function_is_a_predicate(on, text):
    assert named_by(on) == (on, (), frozenset())
    assert shown(named_by(on)) == text


@pytest.mark.parametrize(
    "on",
    [
        (),
        "UNAVAILABLE",
        14,
        None,
        [Code.OK],
        Code.CANCELLED,
        asyncio.CancelledError,
        [[]],
        [KeyError, "x"],
        [KeyError, 14],
        int,
    ],
    ids=repr,
)
def test_what_names_no_failure_is_refused(on):
    with pytest.raises(ConfigurationError, match="on must be exception types"):
        named_by(on)


def test_a_predicate_is_no_coroutine_function():
    with pytest.raises(ConfigurationError, match="on must be a plain function, not the async one"):
        named_by(asynchronous)
