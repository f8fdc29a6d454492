import asyncio

import pytest

from prodkit.policies._places import Places

pytestmark = pytest.mark.anyio


def queued(places, count):
    waiters = [asyncio.get_running_loop().create_future() for _ in range(count)]
    for waiter in waiters:
        places.join(waiter)
    return waiters


async def test_a_release_goes_to_whoever_waited_longest():
    places = Places()
    places.running = 1
    first, second = queued(places, 2)
    places.release(0.0, 1)
    assert first.result() is True
    assert not second.done()
    assert (places.running, len(places.waiters), places.watched) == (1, 1, True)
    places.release(0.0, 1)
    places.release(0.0, 1)
    assert (places.running, len(places.waiters), places.watched) == (0, 0, False)


async def test_above_a_lowered_limit_nothing_is_handed_out():
    places = Places()
    places.running = 3
    [waiter] = queued(places, 1)
    places.release(0.0, 2)
    assert not waiter.done()
    places.release(0.0, 2)
    assert waiter.result() is True


async def test_who_leaves_has_a_place_in_hand_only_if_it_was_given_one():
    places = Places()
    places.running = 2
    given, expired, cancelled, waiting = queued(places, 4)
    places.release(0.0, 2)
    places.expire(expired)
    places.expire(given)
    cancelled.cancel()
    assert [places.leave(w) for w in (given, expired, cancelled, waiting)] == [True, *[False] * 3]
    assert not places.waiters


def test_the_guess_is_the_mean_of_what_was_seen_and_never_below_what_it_takes_now():
    places = Places()
    places.running = 5
    assert places.refused(10.0) is None
    places.release(12.0, 9)
    assert places.refused(20.0) == 2.0
    assert places.refused(21.0) == 2.0
    places.release(27.0, 9)
    assert places.refused(30.0) == pytest.approx(3.0)
    assert places.refused(37.0) == 7.0


def test_the_places_of_a_key_are_always_watched():
    places = Places("k")
    places.running = 1
    places.release(0.0, 1)
    assert places.watched
