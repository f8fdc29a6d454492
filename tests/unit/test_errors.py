import asyncio
import subprocess
import sys

import pytest

from prodkit import Call, Code, FieldViolation, RejectedError, ServiceError, code_of, errors

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
