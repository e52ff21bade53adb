"""The forecast for many workers, against sums that are done by hand and against the simulation."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradsift.plan.workers import LARGEST, MOST_SHARDS, SMALLEST, best_shard_size, on_workers, paying_workers

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from scale.simulation import World, simulate


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
            size = best_shard_size(samples, workers)
            assert SMALLEST <= size <= LARGEST
            assert samples / size <= MOST_SHARDS


@pytest.mark.parametrize(("workers", "seconds"), [(10, 0.001), (100, 0.01), (1000, 0.1)])
def test_the_best_shard_size_keeps_workers_busy_in_the_simulation(workers, seconds):
    samples = 1_000_000
    size = best_shard_size(samples, workers)
    world = World(samples, workers, size, seconds, (0.9, 1.0, 1.1), start=0.0, message=0.001)
    assert simulate(world)["utilisation"] >= 0.95


@pytest.mark.parametrize(("samples", "seconds"), [(1_000_000, 0.02), (10_000_000, 0.0005), (3_000_000, 0.1)])
def test_workers_that_pay_do_so_in_the_simulation(samples, seconds):
    begin, passes = 30.0, samples * seconds
    workers = paying_workers(begin, passes)
    assert on_workers(samples, workers, begin=begin, passes=passes, end=0.0).utilisation >= 0.95
    size = best_shard_size(samples, workers)
    world = World(samples, workers, size, seconds, (0.9, 1.0, 1.1), start=begin, message=0.001)
    assert simulate(world)["utilisation"] >= 0.95
    assert simulate(replace(world, workers=3 * workers))["utilisation"] < 0.95


def test_the_simulation_agrees_with_what_can_be_computed():
    plain = World(1000, 1, 10, 0.1, (1.0,), start=5.0, message=0.0, failures=0.0)
    assert math.isclose(simulate(plain)["seconds"], 105.0)
    shared = World(1000, 4, 10, 0.1, (1.0,), start=5.0, message=0.0, failures=0.0)
    assert math.isclose(simulate(shared)["seconds"], 30.0)
    slow = World(1000, 4, 10, 0.1, (1.0,), start=0.0, message=1.0, failures=0.0)
    assert 104 <= simulate(slow)["seconds"] <= 106  # the driver alone: 4 starts and 100 leases of a second each


def test_shards_that_a_dead_worker_has_finished_are_not_computed_again():
    world = World(4000, 2, 10, 1.0, (1.0,), start=1.0, message=0.0, failures=20.0)
    run = simulate(world, seed=1)
    assert run["deaths"] >= 3
    assert run["utilisation"] * 2 * run["seconds"] == pytest.approx(4000)  # each shard counts once
    assert 2000 < run["seconds"] < 2000 + run["deaths"] * (60 + 1 + 20)
