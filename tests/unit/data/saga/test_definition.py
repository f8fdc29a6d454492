"""What follows from what, with no I/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodkit.data.saga import CompensateError, Progress, Saga, SagaStatus, Step, StepRun
from prodkit.errors import (
    CircuitOpenError,
    Code,
    ConfigurationError,
    FailedPreconditionError,
    ServiceError,
    UnavailableError,
)


async def noop(_):
    return None


def three(**options):
    return Saga(
        "checkout",
        Step("reserve", noop, noop, **options),
        Step("check", noop, **options),
        Step("pay", noop, noop, **options),
    )


def at(saga, step, status=SagaStatus.RUNNING, attempts=0):
    return Progress(status, step, {}, attempts)


def test_steps_run_in_order_and_their_results_are_merged():
    saga = three()
    progress = saga.begin({"order": 1})
    for update in ({"a": 1}, None, {"order": 2}):
        assert not progress.status.ended
        progress = saga.succeeded(progress, update)
    assert (progress.status, progress.state) == (SagaStatus.COMPLETED, {"order": 2, "a": 1})


def test_a_refused_step_is_compensated_itself_and_then_those_before_it():
    saga = three()
    progress = saga.failed(at(saga, "pay"), FailedPreconditionError("declined"))
    seen = []
    while not progress.status.ended:
        seen.append(progress.step)
        progress = saga.succeeded(progress, None)
    assert (seen, progress.status) == (["pay", "reserve"], SagaStatus.COMPENSATED)
    assert progress.reason == "pay: FailedPreconditionError: declined"


def test_nothing_to_undo_is_compensated_at_once():
    saga = Saga("s", Step("check", noop))
    progress = saga.failed(saga.begin({}), CompensateError("no"))
    assert progress.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (UnavailableError("x"), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (KeyError("bug"), True),
        (ServiceError("x", code=Code.ABORTED), True),
        (FailedPreconditionError("x"), False),
        (ServiceError("x", code=Code.NOT_FOUND), False),
        (ServiceError("x", code=Code.PERMISSION_DENIED), False),
        (CompensateError("x", code=Code.UNAVAILABLE), False),
    ],
)
def test_what_may_pass_is_tried_again_and_the_rest_is_undone(error, transient):
    saga = three()
    progress = saga.failed(saga.begin({}), error)
    expected = SagaStatus.RUNNING if transient else SagaStatus.COMPENSATING
    assert (progress.status, progress.attempts) == (expected, int(transient))


def test_waits_grow_and_what_the_callee_asked_for_counts():
    saga = three(wait_initial=1, wait_max=5, attempts=None)
    progress, waits = saga.begin({}), []
    for _ in range(5):
        progress = saga.failed(progress, UnavailableError("x"))
        waits.append(progress.wait)
    progress = saga.failed(progress, UnavailableError("x", retry_after=60))
    assert [*waits, progress.wait] == [1, 2, 4, 5, 5, 60]
    progress = saga.failed(progress, UnavailableError("x", retry_after=1e9))
    assert progress.wait == 86400


def test_the_last_attempt_starts_compensation():
    saga = three(attempts=3)
    progress = saga.failed(at(saga, "reserve", attempts=1), UnavailableError("x"))
    assert (progress.status, progress.attempts) == (SagaStatus.RUNNING, 2)
    progress = saga.failed(progress, UnavailableError("x"))
    assert (progress.status, progress.attempts) == (SagaStatus.COMPENSATING, 0)
    assert progress.wait == 0


def test_a_refusal_by_a_policy_is_no_attempt():
    saga = three(attempts=1)
    error = CircuitOpenError("x", call=None, policy="b", measured=1, threshold=1, retry_after=9)
    progress = saga.failed(saga.begin({}), error)
    assert (progress.status, progress.attempts) == (SagaStatus.RUNNING, 0)
    assert progress.wait == 9


def test_a_compensation_that_cannot_be_done_needs_attention():
    saga = three(compensate_attempts=2)
    progress = at(saga, "pay", SagaStatus.COMPENSATING)
    refused = saga.failed(progress, FailedPreconditionError("gone"))
    assert refused.status is SagaStatus.NEEDS_ATTENTION
    assert "could not compensate pay" in refused.reason
    again = saga.failed(progress, UnavailableError("x"))
    assert again.status is SagaStatus.COMPENSATING
    assert saga.failed(again, UnavailableError("x")).status is SagaStatus.NEEDS_ATTENTION


def test_the_text_of_a_foreign_exception_is_not_kept():
    saga = three(attempts=1)
    assert "4111" not in saga.failed(saga.begin({}), KeyError("4111")).reason


def test_a_reason_is_text_that_can_be_kept():
    saga = three(attempts=1)
    reason = saga.failed(saga.begin({}), CompensateError("no \ud800")).reason
    assert reason.encode().endswith(b"no ?")


def test_keys_stay_the_same_and_differ_between_action_and_compensation():
    runs = [StepRun("s1", "pay", {}, attempt) for attempt in (1, 2)]
    undo = StepRun("s1", "pay", {}, 1, compensating=True)
    assert runs[0].key == runs[1].key == undo.action_key == "s1:pay"
    assert undo.key == "s1:pay:compensate"


@given(st.lists(st.sampled_from(["ok", "retry", "refuse"]), min_size=200, max_size=200))
def test_every_sequence_of_outcomes_ends(outcomes):
    saga = three(attempts=3, compensate_attempts=3)
    progress = saga.begin({})
    for outcome in outcomes:
        if progress.status.ended:
            break
        if outcome == "ok":
            progress = saga.succeeded(progress, None)
        else:
            error = UnavailableError("x") if outcome == "retry" else FailedPreconditionError("x")
            progress = saga.failed(progress, error)
    assert progress.status.ended


def test_wrong_definitions_are_refused():
    for steps in ([], [Step("a", noop), Step("a", noop)]):
        with pytest.raises(ConfigurationError, match="names"):
            Saga("s", *steps)
    for option in ("timeout", "wait_initial", "wait_max", "attempts", "compensate_attempts"):
        with pytest.raises(ValueError, match=option):
            Step("a", noop, **{option: 0})
