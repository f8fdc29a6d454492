from contextvars import ContextVar

from prodkit.call import CURRENT, Call
from prodkit.data.detached import detached

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


def test_the_caller_s_variables_are_there_and_its_deadline_is_not():
    call = Call("op", deadline=3.0, request_id="abc")
    tokens = CURRENT.set(call), VARIABLE.set("set")
    context = detached()
    CURRENT.reset(tokens[0])
    VARIABLE.reset(tokens[1])
    assert context[VARIABLE] == "set"
    twin = context[CURRENT]
    assert (twin.operation, twin.request_id, twin.deadline) == ("op", "abc", None)
    assert call.deadline == 3.0


def test_a_call_without_deadline_is_the_same_call():
    call = Call("op")
    token = CURRENT.set(call)
    context = detached()
    CURRENT.reset(token)
    assert context[CURRENT] is call


def test_outside_of_a_call_there_is_none():
    assert detached().get(CURRENT) is None
