from datetime import timedelta
from math import inf, nan

import pytest

from prodkit.errors import ConfigurationError
from prodkit.policies.circuit_breaker.options import DEFAULTS, Options

RATIO = "must be above 0 and at most 1, not"
NUMBER = "must be a whole number of at least 1, not"
SECONDS = "must be a positive number of seconds, not"


@pytest.mark.parametrize("value", [0, -0.5, 1.5, nan, inf, True, "half"])
@pytest.mark.parametrize("option", ["failure_ratio", "slow_call_ratio"])
def test_a_ratio_out_of_range_is_named(option, value):
    with pytest.raises(ConfigurationError, match=f"{option} {RATIO} {value!r}"):
        Options(**{option: value})


@pytest.mark.parametrize("value", [0, -1, 2.5, nan, inf, True])
@pytest.mark.parametrize(
    "option", ["consecutive_failures", "minimum_throughput", "half_open_probes"]
)
def test_a_number_out_of_range_is_named(option, value):
    with pytest.raises(ConfigurationError, match=f"{option} {NUMBER} {value!r}"):
        Options(**{option: value})


@pytest.mark.parametrize("value", [0, -1, nan, inf, True, timedelta(0)])
@pytest.mark.parametrize(
    "option",
    ["sampling_duration", "slow_call_duration", "break_duration", "break_max", "probe_timeout"],
)
def test_a_duration_out_of_range_is_named(option, value):
    with pytest.raises(ConfigurationError, match=f"{option} {SECONDS}"):
        Options(**{option: value})


@pytest.mark.parametrize("value", [0.99, 0, -2, nan, inf, True])
def test_a_growth_that_would_shrink_is_refused(value):
    with pytest.raises(ConfigurationError, match=f"break_growth .* at least 1, not {value!r}"):
        Options(break_growth=value)


def test_the_longest_break_is_no_shorter_than_the_first():
    with pytest.raises(ConfigurationError, match=r"at least break_duration \(5\), not 2"):
        Options(break_max=2)


def test_shadow_is_yes_or_no():
    with pytest.raises(ConfigurationError, match="shadow must be True or False, not 1"):
        Options(shadow=1)


def test_durations_may_be_timedeltas():
    options = Options(break_duration=timedelta(minutes=1), slow_call_duration=timedelta(seconds=2))
    assert (options.break_duration, options.slow_call_duration) == (60.0, 2.0)


def test_only_what_is_chosen_changes():
    changed = DEFAULTS.changed({"half_open_probes": 3, "shadow": None})
    assert changed == Options(half_open_probes=3)
    assert DEFAULTS.changed({"half_open_probes": None}) is DEFAULTS


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="fialure_ratio"):
        DEFAULTS.changed({"fialure_ratio": 0.5})


def test_what_is_counted_cannot_change_while_running():
    with pytest.raises(ConfigurationError, match="consecutive_failures must stay unset"):
        DEFAULTS.reconfigured({"consecutive_failures": 5})
    with pytest.raises(ConfigurationError, match="consecutive_failures must stay set"):
        Options(consecutive_failures=5).reconfigured({}, DEFAULTS)
    assert Options(consecutive_failures=5).reconfigured({"consecutive_failures": 6}) == Options(
        consecutive_failures=6
    )


def test_a_break_grows_up_to_ten_breaks_unless_said_otherwise():
    options = Options(break_growth=3.0)
    breaks = [0.0]
    for _ in range(5):
        breaks.append(options.break_after(breaks[-1]))
    assert breaks[1:] == [5.0, 15.0, 45.0, 50.0, 50.0]


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({}, "opens if 0.5 of at least 20 in 30 s fail, for 5 s, 1 probe"),
        ({"consecutive_failures": 5}, "opens if 5 in a row fail, for 5 s, 1 probe"),
        (
            {"consecutive_failures": 1, "half_open_probes": 2},
            "opens if 1 in a row fail, for 5 s, 2 probes",
        ),
        (
            {"slow_call_duration": 2, "break_growth": 2, "half_open_probes": 3, "shadow": True},
            "opens if 0.5 of at least 20 in 30 s fail or 0.5 take 2 s, for 5 s x 2, 3 probes, "
            "shadow",
        ),
    ],
)
def test_they_can_be_read(chosen, text):
    assert str(Options(**chosen)) == text


OF_A_RATIO = {"failure_ratio": 0.2, "minimum_throughput": 5, "sampling_duration": 60}


@pytest.mark.parametrize("option", OF_A_RATIO)
def test_what_is_of_a_ratio_means_nothing_where_failures_in_a_row_count(option):
    choice = {option: OF_A_RATIO[option]}
    with pytest.raises(ConfigurationError, match=f"{option} means nothing beside consecutive"):
        DEFAULTS.changed({"consecutive_failures": 3, **choice})
    running = DEFAULTS.changed({"consecutive_failures": 3})
    with pytest.raises(ConfigurationError, match=f"{option} means nothing beside consecutive"):
        running.reconfigured(choice)
    with pytest.raises(ConfigurationError, match=f"{option} means nothing beside consecutive"):
        Options(consecutive_failures=3, **choice)
    assert Options(**choice).changed({"consecutive_failures": 3}) == running


@pytest.mark.parametrize("option", ["minimum_throughput", "sampling_duration"])
def test_slow_calls_have_a_window_beside_failures_in_a_row(option):
    choices = {"consecutive_failures": 3, "slow_call_duration": 1, option: OF_A_RATIO[option]}
    assert getattr(DEFAULTS.changed(choices), option) == OF_A_RATIO[option]
    with pytest.raises(ConfigurationError, match="failure_ratio means nothing"):
        DEFAULTS.changed({**choices, "failure_ratio": 0.2})


def test_a_share_of_slow_calls_needs_slow_calls():
    with pytest.raises(ConfigurationError, match="slow_call_ratio means nothing without"):
        DEFAULTS.changed({"slow_call_ratio": 0.2})
    with pytest.raises(ConfigurationError, match="slow_call_ratio means nothing without"):
        Options(slow_call_ratio=0.2)
    assert DEFAULTS.changed({"slow_call_ratio": 0.2, "slow_call_duration": 1}).slow_call_duration
