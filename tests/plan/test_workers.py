"""The forecast for many workers, against sums that are done by hand and against the simulation."""

import math
import sys
from pathlib import Path

import pytest

from gradsift.plan.workers import LARGEST, SMALLEST, best_shard_size, on_workers

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from scale.scheduling import World, simulate


def test_the_forecast_of_one_worker_is_that_of_one_process():
    alone = on_workers(100_000, 1, begin=10, passes=1000, end=100, price=3.6)
    assert math.isclose(alone.seconds, 1110)
    assert math.isclose(alone.device_hours, 1110 / 3600)
    assert math.isclose(alone.cost, 1.11)
    assert math.isclose(alone.utilisation, 1000 / 1110)


def test_ten_workers_share_the_passes_and_load_each():
    ten = on_workers(20_480_000, 10, begin=10, passes=10_000, end=100)
    assert ten.shard_size == LARGEST
    assert math.isclose(ten.seconds, 10 + 1000 + 100)
    assert math.isclose(ten.device_hours, (10 * 1010 + 100) / 3600)
    assert ten.cost is None


def test_the_shard_size_stays_in_its_range():
    for samples in (10, 10_000, 100_000_000):
        for workers in (1, 10, 10_000):
            for seconds in (1e-4, 1e-2, 10.0):
                assert SMALLEST <= best_shard_size(samples, workers, seconds) <= LARGEST


@pytest.mark.parametrize(("workers", "seconds"), [(10, 0.001), (100, 0.01), (1000, 0.1)])
def test_the_best_shard_size_keeps_workers_busy_in_the_simulation(workers, seconds):
    samples = 1_000_000
    size = best_shard_size(samples, workers, seconds)
    world = World(samples, workers, size, seconds, (0.9, 1.0, 1.1), start=0.0, message=0.002)
    assert simulate(world)["utilisation"] >= 0.95


def test_the_simulation_agrees_with_what_can_be_computed():
    plain = World(1000, 1, 10, 0.1, (1.0,), start=5.0, message=0.0, failures=0.0)
    assert math.isclose(simulate(plain)["seconds"], 105.0)
    shared = World(1000, 4, 10, 0.1, (1.0,), start=5.0, message=0.0, failures=0.0)
    assert math.isclose(simulate(shared)["seconds"], 30.0)
    slow = World(1000, 4, 10, 0.1, (1.0,), start=0.0, message=1.0, failures=0.0)
    assert 100 <= simulate(slow)["seconds"] <= 102  # the driver alone: 100 messages of a second
