"""Which actor gets which lease, without Ray."""

from collections import deque
from functools import partial
from types import SimpleNamespace

import pytest

from gradsift.engines.base import Share
from gradsift.engines.leases import Leases
from gradsift.engines.ray_pool import Member, Pool
from gradsift.errors import SettingError


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


@pytest.mark.parametrize(
    ("machines", "asked", "holds", "size"),
    [
        ([{"CPU": 4}, {"CPU": 3}], None, (2, 0), 3),  # two on the first machine, one on the second
        ([{"CPU": 8, "GPU": 1}, {"CPU": 8}], None, (1, 0.5), 2),
        ([{"CPU": 4}], 9, (1, 0), 9),
    ],
)
def test_as_many_actors_as_machines_hold_one_by_one(machines, asked, holds, size):
    assert fitting(machines, asked, holds, grows=False) == size


def test_an_actor_that_fits_no_machine_is_refused_or_waited_for(caplog):
    machines = [{"CPU": 2}, {"CPU": 2}]  # four in all
    with pytest.raises(SettingError, match=r"no machine of the cluster has the 3 CPUs .* at most 2 CPUs and 0 GPUs"):
        fitting(machines, None, (3, 0), grows=True)
    with pytest.raises(SettingError, match="no machine of the cluster has the 1 CPUs and 1 GPUs"):
        fitting(machines, 2, (1, 1), grows=False)
    assert fitting(machines, 2, (1, 1), grows=True) == 2
    assert "the run waits until one comes" in caplog.text


def fitting(machines, asked, holds, *, grows):
    pool = Pool.__new__(Pool)
    there = [{"Alive": True, "Resources": machine} for machine in machines]
    pool._ray = SimpleNamespace(nodes=lambda: [*there, {"Alive": False, "Resources": {"CPU": 99, "GPU": 99}}])
    pool._settings, pool._holds = SimpleNamespace(workers=asked), dict(zip(("CPU", "GPU"), holds, strict=True))
    return pool._fitting(grows)
