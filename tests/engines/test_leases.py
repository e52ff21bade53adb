"""How shards are handed out, without any engine."""

import pytest

from gradsift.engines.leases import Leases


def drained(leases, seconds_of_shard):
    """Every lease until none is left; each is answered before the next one is taken."""
    taken = []
    while lease := leases.take():
        taken.append(lease)
        leases.learn(len(lease), seconds_of_shard * len(lease))
    return taken


@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (7, 3), (1000, 10), (50_000, 1000), (3, 100)])
@pytest.mark.parametrize("seconds", [1e-4, 0.1, 100.0])
def test_every_shard_is_handed_out_once_and_in_order(shards, workers, seconds):
    taken = drained(Leases(shards, workers), seconds)
    assert [shard for lease in taken for shard in lease] == list(range(shards))


def test_leases_are_long_while_much_is_left_and_single_shards_at_the_end():
    lengths = [len(lease) for lease in drained(Leases(100_000, 100), 0.5)]
    assert lengths[1] == 2  # a hundred workers, a hundred answers a second: a lease of a second
    assert lengths[-100:] == [1] * 100
    assert sorted(lengths[1:], reverse=True) == lengths[1:]


def test_the_driver_is_asked_about_a_hundred_times_a_second_and_more_often_at_the_end():
    workers, pace, shards = 1000, 0.01, 10_000_000
    leases = drained(Leases(shards, workers), pace)
    lasts = shards * pace / workers
    assert 100 < len(leases) / lasts < 200
    assert max(map(len, leases)) * pace == pytest.approx(workers / 100)
    assert min(map(len, leases[1:-1])) * pace >= workers / 1000 - pace


def test_a_few_workers_get_single_shards():
    assert {len(lease) for lease in drained(Leases(500, 2), 1.0)} == {1}


def test_what_comes_back_goes_first_and_one_by_one():
    leases = Leases(100_000, 100)
    lost = leases.take()
    assert len(lost) == 10
    leases.give_back(lost)
    assert [leases.take() for _ in lost] == [range(shard, shard + 1) for shard in lost]
    assert leases.take()[0] == len(lost)
    assert len(leases) == 100_000 - 20


def test_nobody_waits_for_a_lease_that_lies_behind_another_ones():
    leases = Leases(3, 2)
    assert leases.take(ahead=True) == range(1)
    assert leases.take(ahead=True) == range(0)
    assert [leases.take(), leases.take(), leases.take()] == [range(1, 2), range(2, 3), range(0)]
