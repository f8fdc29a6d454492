import pytest

from prodkit.transports.amqp.window import Entry, Window
from prodkit.transports.broker import Message


def entry(number, key=""):
    return Entry(number, number, Message(f"id-{number}", "t", b"", key), 0, 0)


def filled(*keys, ordered=True):
    window = Window(ordered=ordered)
    for number, key in enumerate(keys):
        window.add(entry(number, key))
    return window


def take(window, now=0.0, limit=10):
    return [each.tag for each in window.take(limit, now, now + 10)]


def test_an_unordered_window_hands_out_as_it_came():
    window = filled("a", "a", "b", ordered=False)
    assert (take(window, limit=2), take(window), take(window)) == ([0, 1], [2], [])
    assert (len(window), window.taken) == (3, 3)


def test_a_key_waits_for_its_first_and_others_do_not():
    window = filled("a", "a", "b", "", "")
    assert take(window) == [0, 2, 3, 4]
    window.settle(window.held(0, 1))
    assert take(window) == [1]
    window.settle(window.held(1, 1))
    window.add(entry(9, "a"))
    assert take(window) == [9]


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_put_off_comes_back_in_time_with_a_new_fence(ordered):
    window = filled("a", "a", ordered=ordered)
    first = window.take(1, 0, 10)[0]
    window.later(first, due=5)
    assert (window.due(), window.held(0, 1)) == (5, None)
    assert take(window, now=4) == ([] if ordered else [1])
    assert take(window, now=5) == [0]
    assert window.due() == float("inf")
    assert window.held(0, 1) is None
    assert window.held(0, 2) is first


def test_what_was_taken_expires():
    window = filled("a", "b")
    window.take(2, 0, 10)
    window.held(1, 1).until = 20
    assert [each.tag for each in window.expired(9)] == []
    assert [each.tag for each in window.expired(10)] == [0]


def test_what_was_not_taken_is_given_back_in_order():
    window = filled("a", "a", "b", "c", "c")
    taken = {each.tag: each for each in window.take(2, 0, 10)}
    window.later(taken[2], due=99)
    assert [each.tag for each in window.give_back()] == [1, 2, 3, 4]
    assert (len(window), window.taken) == (1, 1)
    window.settle(taken[0])
    assert len(window) == 0
