import asyncio
import copy
import pickle

import pytest

from prodkit import Call, Code, Event, Kind, Principal, current_call
from prodkit.call import CURRENT, new_request_id


def test_a_new_call_is_the_first_attempt_and_has_not_failed():
    call = Call("orders.create")
    assert (call.kind, call.transport) == (Kind.INTERNAL, "function")
    assert (call.attempt, call.code, call.status) == (1, Code.OK, 0)
    assert (call.deadline, call.principal, call.key, call.safe) == (None, None, None, None)
    assert (call.streaming, call.edge, call.reply, call.retry_after) == (False, False, None, None)
    assert (call.request_id, call.codec, dict(call.statuses)) == ("", None, {})
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

    def test_one_that_fails_is_logged_and_keeps_nobody_from_hearing(self, caplog):
        call, heard = Call("op"), []

        def fails(_call, _event):
            raise OSError("no exporter")

        call.subscribe(fails)
        call.subscribe(lambda _, event: heard.append(event))
        call.emit(Event("p"))
        [record] = caplog.records
        assert (record.name, record.levelname) == ("prodkit.call", "ERROR")
        assert record.getMessage() == "a listener failed to hear Event(policy='p')"
        assert record.exc_info[0] is OSError
        assert heard == [Event("p")]


@pytest.mark.parametrize(
    ("options", "repeatable"),
    [
        ({}, False),
        ({"safe": False}, False),
        ({"safe": True}, True),
        ({"safe": False, "key": "k"}, True),
        ({"safe": True, "key": "k", "streaming": True}, False),
    ],
)
def test_what_is_safe_or_keyed_may_be_repeated_and_no_stream(options, repeatable):
    assert Call("op", **options).repeatable is repeatable


class TestForks:
    @staticmethod
    def of_a_subclass():
        class DoorsCall(Call):
            __slots__ = ("wire",)

        return DoorsCall

    def test_a_fork_is_what_the_call_is(self):
        options = {
            "transport": "grpc",
            "metadata": {"a": "b"},
            "payload": object(),
            "deadline": 7.0,
            "principal": Principal("u"),
            "key": "k",
            "safe": True,
            "codec": object(),
            "request_id": "r",
            "streaming": True,
            "edge": True,
        }
        call = Call("op", Kind.CLIENT, **options)
        assert {name: getattr(call, name) for name in options} == options
        call.attempt, call.statuses, call.listener = 3, {"X": 499}, print
        twin = call.fork()
        for name in ("operation", "kind", *options, "attempt", "statuses", "listener"):
            assert getattr(twin, name) == getattr(call, name), name

    def test_a_fork_of_a_doors_own_call_is_one_too(self):
        assert type(self.of_a_subclass()("op").fork()).__slots__ == ("wire",)

    def test_it_ends_by_itself(self):
        call = Call("op")
        call.annotate("a", "call")
        twin = call.fork()
        assert (twin.code, twin.status, twin.retry_after, twin.reply) == (Code.OK, 0, None, None)
        twin.code, twin.status, twin.retry_after = Code.UNAVAILABLE, 503, 2.0
        twin.annotate("a", "twin")
        assert (call.code, call.status, call.retry_after) == (Code.OK, 0, None)
        assert call.reply == {"a": "call"}

    @pytest.mark.parametrize("reply", [{}, {"a": "twin"}])
    def test_how_one_ended_can_be_adopted(self, reply):
        call = Call("op", deadline=9.0)
        call.annotate("b", "call")
        twin = call.fork()
        twin.code, twin.status, twin.retry_after = Code.UNAVAILABLE, 503, 2.0
        twin.payload, twin.deadline, twin.attempt = "payload", 1.0, 2
        twin.metadata = {"a": "b"}
        for name, value in reply.items():
            twin.annotate(name, value)
        call.adopt(twin)
        assert (call.code, call.status, call.retry_after) == (Code.UNAVAILABLE, 503, 2.0)
        assert call.reply == {"b": "call", **reply}
        assert (call.payload, call.deadline, call.attempt) == ("payload", 9.0, 1)
        assert call.metadata == {"a": "b"}


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


def test_a_request_id_is_128_bits_in_hexadecimal_and_new():
    ids = {new_request_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(each) for each in ids} == {32}
    assert all(0 <= int(each, 16) < 2**128 for each in ids)


def test_what_travels_of_a_call_is_what_was_called():
    call = Call("op", Kind.CLIENT, transport="http", payload=print, safe=True, request_id="r-1")
    twin = pickle.loads(pickle.dumps(call))
    assert (twin.operation, twin.kind, twin.transport) == ("op", Kind.CLIENT, "http")
    assert (twin.request_id, twin.payload, twin.safe) == ("r-1", None, None)


def test_a_copy_of_a_call_is_a_fork():
    class Door(Call):
        def fork(self):
            twin = super().fork()
            twin.payload = "its own"
            return twin

    twin = copy.copy(Door("op", payload="shared", safe=True))
    assert (type(twin), twin.payload, twin.safe) == (Door, "its own", True)
