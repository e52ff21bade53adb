"""Which actor gets which lease, without Ray."""

from collections import deque
from functools import partial
from types import SimpleNamespace

from gradsift.engines.base import Share
from gradsift.engines.leases import Leases
from gradsift.engines.ray_pool import Member, Pool


def member(pool, *, loaded):
    """An actor whose calls are not answered; ``ran`` holds the leases that it was given."""
    ran = []
    made = Member(SimpleNamespace(run=SimpleNamespace(remote=ran.append)), loaded)
    pool._members[made] = None
    return made, ran


def pool_of(shards):
    pool = Pool.__new__(Pool)
    pool._leases, pool._members, pool._early, pool._shares = Leases(shards, 2), {}, {}, {}
    pool._ask = lambda *_: None
    pool._bar = SimpleNamespace(advance=lambda _: None)
    return pool


def share(worker):
    return Share(worker, 1, 1, 1, 0.1, 0.1, 1)


def test_an_actor_that_would_be_idle_takes_the_lease_of_one_that_still_loads():
    pool = pool_of(2)
    (fast, of_fast), (slow, of_slow) = member(pool, loaded=True), member(pool, loaded=False)
    for one in (fast, slow):
        pool._lend(one, pool._leases.take())
    pool._early[slow] = None
    pool._has_filled(range(0, 1), fast, share("fast"))
    assert of_fast == [range(0, 1), range(1, 2)]
    assert slow.leases == deque()
    pool._has_filled(range(1, 2), fast, share("fast"))
    slow.loaded = True
    pool._has_filled(of_slow[0], slow, share("slow"))  # it comes, and fills what was passed on
    assert pool._shares.keys() == {"fast"}
    assert not any(one.leases for one in (fast, slow))


def test_an_actor_that_has_loaded_keeps_its_first_lease():
    pool = pool_of(2)
    (fast, _), (slow, of_slow) = member(pool, loaded=True), member(pool, loaded=False)
    for one in (fast, slow):
        pool._lend(one, pool._leases.take())
    pool._early[slow] = None
    pool._has_loaded(slow, "slow")
    take = partial(pool._has_filled, range(0, 1))
    take(fast, share("fast"))
    assert of_slow == [range(1, 2)]
    assert slow.leases == deque([range(1, 2)])
