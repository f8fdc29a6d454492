import random

from prodkit.transports.amqp.shares import divide


def test_one_alone_joins_all_and_a_second_one_gets_half():
    free = dict.fromkeys("abcd", 0)
    assert sorted(divide(free, set(), 1, lambda: 0.5)[0]) == ["a", "b", "c", "d"]
    taken = dict.fromkeys("abcd", 1)
    assert divide(taken, set(), 2, lambda: 0.5) == ([], [])
    assert divide(taken, set("abcd"), 2, lambda: 0.5) == ([], ["c", "d"])


def test_processes_that_come_and_go_have_all_shared_out_in_a_few_rounds():
    source = random.Random(7)
    names = [f"p{number}" for number in range(8)]
    holders: list[set[str]] = [set()]
    for change in (0, 1, 1, -1, 2, -2, 1):
        holders = [*holders, *(set() for _ in range(change))][-min(change, 0) :]
        for _ in range(3):
            for mine in holders:
                consumers = {name: sum(name in each for each in holders) for name in names}
                join, leave = divide(consumers, mine, len(holders), source.random)
                mine.update(join)
                mine.difference_update(leave)
        assert sorted(name for mine in holders for name in mine) == names
        assert max(map(len, holders)) <= -(-8 // len(holders))
