from functools import partial
from math import inf, nan
from sys import float_info
from typing import Protocol

import pytest

from prodkit.errors import ConfigurationError
from prodkit.options import (
    checked_name,
    factor,
    function,
    implementation,
    number,
    probability,
    share,
    whole_number,
)

NO_NUMBERS = [True, False, None, "1", nan, [1], 1j]


def refused(check, value, words, **options):
    with pytest.raises(ConfigurationError) as error:
        check("size", value, **options)
    assert str(error.value) == f"size must be {words}, not {value!r}"


def test_whole_numbers():
    assert whole_number("size", 1) == 1
    assert whole_number("size", 10**30, at_least=2) == 10**30
    assert whole_number("size", 0, at_least=0) == 0
    for wrong in [*NO_NUMBERS, 0, -1, 1.0, inf]:
        refused(whole_number, wrong, "a whole number of at least 1")
    refused(whole_number, 4, "a whole number of at least 5", at_least=5)


@pytest.mark.parametrize(
    ("check", "right", "wrong", "words"),
    [
        (number, [0, 0.0, float_info.max, 7], [-1e-9, inf, -inf, 10**400], "a number of 0 or more"),
        (factor, [1.0000001, 2, float_info.max], [1, 1.0, 0, -2, inf, 10**400], "a number above 1"),
        (share, [1e-9, 0.5, 1], [0, 0.0, 1.0001, -0.5, inf], "above 0 and at most 1"),
        (probability, [0, 0.5, 1, 1.0], [-0.1, 1.0001, inf], "0 to 1"),
    ],
)
def test_numbers(check, right, wrong, words):
    for value in right:
        assert check("size", value) == value
        assert isinstance(check("size", value), float)
    for value in [*NO_NUMBERS, *wrong]:
        refused(check, value, words)


def test_a_number_may_have_to_be_more_than_nothing():
    assert number("size", 2.5, at_least=2.5) == 2.5
    refused(number, 2.4, "a number of 2.5 or more", at_least=2.5)


class Asynchronous:
    async def __call__(self, call):
        return True


async def asynchronous(call):
    return True


def test_names():
    assert checked_name("db") == "db"
    for wrong in ("", " ", None, 5, b"db"):
        with pytest.raises(ConfigurationError, match="name must be a str that is not empty, not "):
            checked_name(wrong)


class Store(Protocol):
    kept: int

    async def load(self): ...

    async def save(self): ...

    def _hidden(self): ...


class Loads:
    async def load(self):
        return 1


class Saves(Loads):
    async def save(self):
        return 1


def test_implementations():
    right = Saves()
    assert implementation("store", right, Store) is right
    for wrong in (Loads(), Saves, None, {}):
        refused(implementation, wrong, "a Store, an object with load, save", protocol=Store)


def test_functions():
    for right in (len, str, abs, lambda call: True):
        assert function("size", right) is right
    for wrong in (None, 7, "key", asynchronous, partial(asynchronous), Asynchronous()):
        refused(function, wrong, "a plain function")
