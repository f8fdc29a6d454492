import asyncio
import copy
import pickle
import subprocess
import sys

import pytest

from prodkit import Call, Code, FieldViolation, Kind, RejectedError, ServiceError, code_of, errors

REJECTIONS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RejectedError)
]


def test_the_codes_are_those_of_grpc():
    assert [code.name for code in Code] == [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ]
    assert list(Code) == list(range(17))


def test_a_service_error_says_what_programs_and_people_need():
    violation = FieldViolation("/items/0/quantity", "must be positive", "int32.gt")
    error = ServiceError(
        "cannot",
        code=Code.OUT_OF_RANGE,
        reason="TOO_FAR",
        violations=[violation],
        retry_after=1.5,
        metadata={"zone": "b"},
    )
    assert str(error) == error.message == "cannot"
    assert (error.code, error.reason) == (Code.OUT_OF_RANGE, "TOO_FAR")
    assert error.violations == (violation,)
    assert (error.retry_after, error.metadata) == (1.5, {"zone": "b"})


def test_what_is_not_said_has_a_default():
    error = errors.NotFoundError("no such order")
    assert (error.code, error.reason) == (Code.NOT_FOUND, "NOT_FOUND")
    assert (error.violations, error.retry_after, error.metadata) == ((), None, {})


def test_errors_do_not_share_their_metadata():
    assert ServiceError("a").metadata is not ServiceError("b").metadata


@pytest.mark.parametrize("kind", REJECTIONS)
def test_a_rejection_explains_itself_and_knows_its_call(kind):
    call, other = Call("op"), Call("op")
    error = kind("full", call=call, policy="bulkhead", measured=10, threshold=8, retry_after=2.0)
    assert (error.policy, error.measured, error.threshold) == ("bulkhead", 10, 8)
    assert error.retry_after == 2.0
    assert error.refuses(call)
    assert not error.refuses(other)
    assert error.code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
    assert error.reason == (kind.reason or "UNAVAILABLE")


def test_a_rejection_may_carry_another_code_and_reason():
    error = RejectedError(
        "no",
        call=Call("op"),
        policy="p",
        measured=0,
        threshold=0,
        code=Code.RESOURCE_EXHAUSTED,
        reason="QUOTA",
    )
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "QUOTA")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AbortedError("x"), Code.ABORTED),
        (ServiceError("x", code=Code.DATA_LOSS), Code.DATA_LOSS),
        (asyncio.CancelledError(), Code.CANCELLED),
        (TimeoutError(), Code.DEADLINE_EXCEEDED),
        (ConnectionResetError(), Code.UNAVAILABLE),
        (ZeroDivisionError(), Code.UNKNOWN),
    ],
)
def test_every_exception_has_a_code(error, code):
    assert code_of(error) is code


def test_an_exceeded_deadline_is_a_timeout_that_keeps_what_it_tells():
    error = errors.DeadlineExceededError("100 %d s", reason="TIMED_OUT", retry_after=2.0)
    assert isinstance(error, TimeoutError)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)
    assert code_of(error) is Code.DEADLINE_EXCEEDED
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(twin), twin.args) == ("100 %d s", ("100 %d s",))
        assert (twin.reason, twin.retry_after) == ("TIMED_OUT", 2.0)


def test_failure_codes_speak_of_the_callee_alone():
    wrong_of_the_caller = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED}
    assert not errors.FAILURE_CODES & (wrong_of_the_caller | {Code.OK, Code.CANCELLED})
    assert {Code.UNAVAILABLE, Code.INTERNAL} <= errors.FAILURE_CODES


def test_importing_prodkit_and_its_policies_loads_the_standard_library_alone():
    script = (
        "import sys; before = set(sys.modules); import prodkit;"
        "import prodkit.policies.retry, prodkit.policies.circuit_breaker;"
        "import prodkit.policies.deadline, prodkit.policies.timeout;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'prodkit'}))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert output.stdout.strip() == b"[]"


@pytest.mark.parametrize("code", Code)
def test_the_type_of_a_code_makes_an_error_of_it(code):
    kind = errors.error_type(code)
    assert kind("cannot", code=code).code is code
    assert kind is ServiceError or kind.code is code
    assert not issubclass(kind, RejectedError)


def test_the_usual_codes_have_a_type_of_their_own():
    assert errors.error_type(Code.UNAVAILABLE) is errors.UnavailableError
    assert errors.error_type(Code.NOT_FOUND) is errors.NotFoundError
    assert errors.error_type(Code.UNKNOWN) is ServiceError


def test_a_refusal_says_what_it_was_made_of_and_needs_no_dict():
    call = Call("op")
    error = errors.CircuitOpenError(
        "open", call=call, policy="p", measured=3, threshold=2.5, retry_after=1.5
    )
    assert (str(error), error.args, error.message) == ("open", ("open",), "open")
    assert (error.call, error.policy, error.measured, error.threshold) == (call, "p", 3, 2.5)
    assert (error.retry_after, error.code, error.reason) == (1.5, Code.UNAVAILABLE, "CIRCUIT_OPEN")
    assert (error.violations, dict(error.metadata)) == ((), {})
    assert vars(error) == {}
    error.add_note("and may be noted")
    assert error.__notes__ == ["and may be noted"]


@pytest.mark.parametrize("kind", REJECTIONS)
def test_one_made_in_a_hurry_is_the_same(kind):
    call = Call("op")
    error = errors.rejection(kind, "full", call, "p", 3, 2.5, 1.5)
    slow = kind("full", call=call, policy="p", measured=3, threshold=2.5, retry_after=1.5)
    assert type(error) is kind
    assert error.__reduce__() == slow.__reduce__()
    assert str(error) == "full"
    assert error.refuses(call)


def test_a_refusal_may_have_a_code_and_a_reason_of_its_own():
    options = {"call": Call("op"), "policy": "p", "measured": 1, "threshold": 1}
    plain = RejectedError("no", **options)
    assert (plain.code, plain.reason, plain.retry_after) == (Code.UNAVAILABLE, "REJECTED", None)
    own = RejectedError("no", code=Code.ABORTED, reason="MINE", **options)
    assert (own.code, own.reason) == (Code.ABORTED, "MINE")
    assert RejectedError.code is Code.UNAVAILABLE


def twins(error):
    return [
        copy.copy(error),
        copy.deepcopy(error),
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)),
    ]


@pytest.mark.parametrize("kind", REJECTIONS)
def test_a_refusal_can_be_copied_and_sent_to_another_process(kind):
    call = Call("op", Kind.CLIENT, transport="http", payload=lambda: None, request_id="r-1")
    call.subscribe(lambda call, event: None)
    error = kind("full", call=call, policy="p", measured=3, threshold=2.5, retry_after=1.5)
    error.add_note("noted")
    for twin in twins(error):
        assert type(twin) is kind
        assert (str(twin), twin.args, twin.message) == ("full", ("full",), "full")
        assert (twin.policy, twin.measured, twin.threshold) == ("p", 3, 2.5)
        assert (twin.retry_after, twin.code, twin.reason) == (1.5, error.code, error.reason)
        assert twin.__notes__ == ["noted"]
        assert (twin.call.operation, twin.call.kind) == ("op", Kind.CLIENT)
        assert (twin.call.transport, twin.call.request_id) == ("http", "r-1")


def test_a_code_and_a_reason_of_its_own_travel_with_a_refusal():
    options = {"call": Call("op"), "policy": "p", "measured": 1, "threshold": 1}
    for twin in twins(RejectedError("no", code=Code.ABORTED, reason="MINE", **options)):
        assert (twin.code, twin.reason) == (Code.ABORTED, "MINE")


def test_a_copy_in_the_same_process_refuses_the_same_call_and_no_other_does():
    call = Call("op")
    error = RejectedError("no", call=call, policy="p", measured=1, threshold=1)
    assert copy.copy(error).refuses(call)
    assert not pickle.loads(pickle.dumps(error)).refuses(call)


def test_a_note_is_added_once():
    error = ValueError("x")
    for note in ("a", "b", "a"):
        errors.add_note(error, note)
    assert error.__notes__ == ["a", "b"]


def test_an_error_that_takes_no_notes_stays_as_it_is():
    class FrozenError(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    error = FrozenError()
    errors.add_note(error, "a")
    assert not hasattr(error, "__notes__")
