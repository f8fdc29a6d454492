from prodkit.policies.rate_limiter import SlidingLog
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.policies.rate_limiter.sliding_log import Log


def test_what_is_given_back_is_as_if_it_had_not_been_spent():
    log = Log(SlidingLog(10, per=1.0))
    log.spend(3, 0)
    ahead = log.spend(2, 5)
    log.give_back(2, 5, ahead)
    assert (list(log._stamps), log.whole_at) == ([0, 0, 0], SECOND)
    log.give_back(1, 0, ahead)
    assert list(log._stamps) == [0, 0]
    log.give_back(9, 0, ahead)
    assert (list(log._stamps), log.whole_at) == ([], 0)


def test_stamps_that_left_the_window_do_not_pile_up():
    log = Log(SlidingLog(10, per=1.0))
    admitted = 0
    for moment in range(0, 1000 * SECOND, SECOND // 15):
        if not log.wait(1, moment):
            log.spend(1, moment)
            admitted += 1
        assert len(log._stamps) <= 20
    assert 9_000 < admitted <= 10_000
