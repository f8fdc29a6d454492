"""What a stranger may read of a broker that is away, and what its operators do."""

import aiormq
import pytest

from prodkit.errors import Code
from prodkit.transports.amqp.failures import away, failure


def test_where_the_broker_is_stands_in_a_note_alone():
    error = away("at amqp://shop@mq.internal:5672/ cannot be reached: ConnectionRefusedError")
    assert error.message == "the broker is not available"
    [note] = error.__notes__
    assert note.startswith("RabbitMQ at amqp://shop@mq.internal:5672/ cannot be reached")


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (aiormq.ChannelPreconditionFailed("queue q"), Code.FAILED_PRECONDITION, "refuses to do"),
        (TimeoutError(), Code.UNAVAILABLE, "did not answer in time"),
        (ConnectionResetError("mq.internal"), Code.UNAVAILABLE, "was lost"),
    ],
)
def test_no_queue_is_named_but_in_a_note(raised, code, says):
    error = failure(raised, "publish orders.created")
    assert error.code is code
    assert "orders" not in error.message
    assert "internal" not in error.message
    [note] = error.__notes__
    assert says in note
    assert "publish orders.created" in note
    assert error.__cause__ is raised
