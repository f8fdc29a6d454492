import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from prodkit.errors import InvalidArgumentError
from prodkit.messaging.event import Event

EVENT = Event(
    type="order.created",
    subject="order-1",
    data={"total": "12.50", "items": [1, 2]},
    id="e1",
    source="/orders",
    time=1_700_000_000.25,
    traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    request_id="r1",
)


def test_is_a_cloud_event_on_the_wire():
    assert json.loads(EVENT.to_json()) == {
        "specversion": "1.0",
        "id": "e1",
        "source": "/orders",
        "type": "order.created",
        "subject": "order-1",
        "time": "2023-11-14T22:13:20.250000Z",
        "datacontenttype": "application/json",
        "data": {"total": "12.50", "items": [1, 2]},
        "traceparent": EVENT.traceparent,
        "requestid": "r1",
    }


def test_comes_back_as_it_was():
    assert Event.from_json(EVENT.to_json()) == EVENT


def test_reads_events_of_others():
    document = b'{"specversion":"1.0","id":"1","source":"s","type":"t","custom":3}'
    assert Event.from_json(document) == Event("t", "", {}, "1", "s")


def test_ids_differ():
    assert len({Event("t", "s").id for _ in range(100)}) == 100


def test_decimals_and_times_become_strings():
    event = Event("t", "s", {"total": Decimal("1.10"), "at": datetime(2026, 1, 2, tzinfo=UTC)})
    assert json.loads(event.to_json())["data"] == {"total": "1.10", "at": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"specversion":"1.0","id":"1","source":"s"}',
        b'{"specversion":"0.3","id":"1","source":"s","type":"t"}',
        b'{"specversion":"1.0","id":1,"source":"s","type":"t"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":"text"}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused(document):
    with pytest.raises(InvalidArgumentError):
        Event.from_json(document)
