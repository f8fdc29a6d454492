import pytest

from prodkit.errors import ConfigurationError
from prodkit.transports.amqp.topology import Topology, pattern, step_for


def topology(queue="mail", *, ordered=False):
    return Topology("shop", queue, ordered, 3)


def test_all_names_begin_with_the_exchange_and_the_queue():
    plain, ordered = topology(), topology(ordered=True)
    assert (plain.entry, plain.queues, plain.dead) == ("shop.mail", ["shop.mail"], "shop.mail.dead")
    assert ordered.queues == ["shop.mail.0", "shop.mail.1", "shop.mail.2"]
    assert ordered.beyond == "shop.mail.3"
    assert (ordered.members, ordered.seat("shop.mail.1")) == (
        "shop.mail.members",
        "shop.mail.1.seat",
    )


def test_what_is_given_up_by_rabbitmq_itself_is_a_dead_letter():
    arguments = topology().queue_arguments()
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-dead-letter-routing-key"] == "shop.mail.dead"
    assert arguments["x-dead-letter-strategy"] == "at-least-once"
    assert "x-single-active-consumer" not in arguments
    assert topology(ordered=True).queue_arguments()["x-single-active-consumer"] is True


def test_a_retry_queue_leads_back_to_its_own_queue_alone():
    name, arguments = topology().retry(1.5)
    assert name == "shop.mail.retry.1.5s"
    assert arguments["x-message-ttl"] == 1500
    assert arguments["x-dead-letter-exchange"] == "shop.mail"


@pytest.mark.parametrize("queue", ["", "q" * 201, "mail.dead", "mail.3", "mail.retry.1.5s"])
def test_a_name_that_cannot_be_is_refused(queue):
    with pytest.raises(ConfigurationError, match="queue must"):
        topology(queue)


@pytest.mark.parametrize(
    ("type_", "binding"),
    [("order.created", "order.created"), ("order.*", "order.*.#"), ("*", "#")],
)
def test_types_are_topic_patterns(type_, binding):
    assert pattern(type_) == binding


@pytest.mark.parametrize("type_", ["order*", "*.created", "order.#", "#", "a.*.*"])
def test_what_a_topic_cannot_say_is_refused(type_):
    with pytest.raises(ConfigurationError, match="type"):
        pattern(type_)


@pytest.mark.parametrize(
    ("delay", "step"),
    [(0, 0), (-1, 0), (0.01, 0.125), (0.125, 0.125), (1, 1), (1.1, 1.5), (1.6, 2), (64, 64)],
)
def test_a_step_is_the_next_there_is(delay, step):
    assert step_for(delay) == step


def test_a_step_is_never_shorter_and_at_most_half_longer_up_to_a_day():
    delays = [0.125 * 1.01**n for n in range(1354)]
    assert 86400 < delays[-1] < 90000
    assert all(delay <= step_for(delay) <= delay * 1.5 for delay in delays)
    assert len({step_for(delay) for delay in delays}) == 40
