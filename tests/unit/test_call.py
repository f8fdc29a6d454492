import asyncio

import pytest

from prodkit import Call, Code, Event, Kind, Principal, current_call
from prodkit.call import CURRENT


def test_a_new_call_is_the_first_attempt_and_has_not_failed():
    call = Call("orders.create")
    assert (call.kind, call.transport) == (Kind.INTERNAL, "function")
    assert (call.attempt, call.code, call.status) == (1, Code.OK, 0)
    assert (call.deadline, call.principal, call.key, call.safe) == (None, None, None, None)
    assert (call.streaming, call.edge, call.reply, call.retry_after) == (False, False, None, None)
    assert dict(call.metadata) == {}


def test_the_default_metadata_is_nobodys_to_change():
    with pytest.raises(TypeError):
        Call("op").metadata["x"] = "y"


def test_a_call_has_no_room_for_surprises():
    with pytest.raises(AttributeError):
        Call("op").color = "red"


def test_repr_tells_calls_apart():
    call = Call("GET /orders", Kind.SERVER, transport="http")
    call.code = Code.NOT_FOUND
    assert repr(call) == "<Call server http 'GET /orders' NOT_FOUND>"


class TestListeners:
    def test_without_one_nothing_is_heard(self):
        call = Call("op")
        call.emit(Event("p"))
        assert call.listener is None

    def test_all_hear_in_the_order_in_which_they_came(self):
        call, heard = Call("op"), []
        for name in "abc":
            call.subscribe(lambda c, e, name=name: heard.append((name, c, e)))
        call.emit(Event("p"))
        assert heard == [(name, call, Event("p")) for name in "abc"]


def test_annotations_wait_for_the_door():
    call = Call("op")
    call.annotate("ratelimit", "a")
    call.annotate("ratelimit", "b")
    call.annotate("other", "c")
    assert call.reply == {"ratelimit": "b", "other": "c"}


class TestFirstMessage:
    def test_callbacks_run_once_in_order(self):
        call, ran = Call("op"), []
        call.on_first_message(lambda: ran.append(1))
        call.on_first_message(lambda: ran.append(2))
        call.first_message()
        call.first_message()
        assert ran == [1, 2]

    def test_it_makes_the_call_a_stream(self):
        call = Call("op")
        call.first_message()
        assert call.streaming


@pytest.mark.parametrize(
    ("subject", "service"), [("service:orders", "orders"), ("u-17", None), ("service", None)]
)
def test_a_principal_is_a_person_or_a_service(subject, service):
    assert Principal(subject).service == service


def test_a_principals_claims_are_neither_compared_nor_shown():
    assert Principal("u", claims={"jti": "1"}) == Principal("u", claims={"jti": "2"})
    assert "jti" not in repr(Principal("u", claims={"jti": "1"}))


@pytest.mark.anyio
async def test_the_current_call_is_the_tasks_own():
    call = Call("op", Kind.SERVER)

    async def handler():
        CURRENT.set(call)
        return current_call()

    assert await asyncio.create_task(handler()) is call
    assert current_call() is None
