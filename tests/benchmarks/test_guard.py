"""The guard part of ``benchmarks/quality``: groups that are watched, what is removed of them, the price of holding."""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frame.rows import read
from quality import guard, regimes, sources
from quality.methods import METHODS
from quality.record import record
from quality.regimes import REGIMES
from quality.retrain import NO_TRIM

from tests.support.small_problem import small_problem

NAMES = ("l2", "loss", "inner_product_last", "random", "oracle")


@pytest.fixture(scope="module")
def problem():
    groups = (np.arange(120) % 8 == 0).astype(int)
    return small_problem(groups=groups, test_groups=groups[:40])


@pytest.fixture(scope="module")
def recorded(problem, tmp_path_factory):
    found = record(problem, tmp_path_factory.mktemp("runs") / "adult-groups" / "0", regime="adult-groups", seed=0)
    np.savez(found.folder / "influence.npz")  # nothing was asked: influence methods have no answer
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "GUARD", tmp_path / "guard.parquet")
    monkeypatch.setattr(guard, "GUARD_ACCURACY", tmp_path / "accuracy.parquet")
    monkeypatch.setattr(guard, "METHODS", {name: METHODS[name] for name in NAMES})


def test_a_group_is_rare_below_half_of_an_even_share():
    groups = np.repeat(["large", "middle", "even", "small"], [50, 24, 14, 12])
    assert set(groups[guard.rare(groups)]) == {"small"}  # 12 < 100 / (2 * 4) < 14
    assert not guard.rare(np.arange(10) % 3).any()


def test_measures_by_hand():
    groups = np.repeat([0, 1], [8, 2])
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
    flagged = np.array([1, 0, 1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
    found = guard.measures(flagged, wrong, groups)
    assert found["rare_samples"] == 2
    assert (found["rare_right"], found["all_right"], found["ratio"]) == (0.5, 2 / 8, 2)
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["largest_change"] == pytest.approx(1 - (1 / 7) / 0.2)


def test_no_right_sample_removed_has_no_ratio():
    wrong = np.arange(10) < 2
    assert guard.measures(wrong, wrong, np.repeat([0, 1], [8, 2]))["ratio"] is None
    assert guard.measures(np.zeros(10, bool), wrong, np.repeat([0, 1], [8, 2]))["precision"] is None


def test_true_classes_are_not_held(problem):
    assert set(guard.holds(problem)) == {"none", "class", "group"}
    assert set(guard.holds(dataclasses.replace(problem, groups=problem.true))) == {"none", "class"}


def test_every_method_is_measured_once(problem, recorded):
    assert guard.guard(recorded, problem) == 4 * 3
    assert guard.guard(recorded, problem) == 0
    rows = read(guard.GUARD)
    assert {row["method"] for row in rows} == set(NAMES) - {"inner_product_last"}
    assert all(row["key"] == problem.key for row in rows)
    oracle = {row["hold"]: row for row in rows if row["method"] == "oracle"}
    assert oracle["none"]["precision"] == 1
    assert oracle["none"]["rare_right"] == 0
    assert oracle["group"]["largest_change"] < 0.05
    assert all(row["ratio"] == pytest.approx(row["rare_right"] / row["all_right"]) for row in rows if row["all_right"])


def test_price_trains_what_is_missing(problem, recorded):
    assert guard.price(recorded, problem, ["oracle"]) == 4
    assert guard.price(recorded, problem, ["oracle"]) == 0
    assert guard.price(recorded, problem, ["oracle", "l2"]) == 3
    rows = {(row["method"], row["hold"]): row for row in read(guard.GUARD_ACCURACY)}
    assert rows[NO_TRIM, "none"]["accuracy"] == pytest.approx(recorded.about["test_accuracy"][-1])
    assert rows[NO_TRIM, "none"]["removed"] == 0
    assert {row["removed"] for (name, _), row in rows.items() if name != NO_TRIM} == {24}
    assert rows["oracle", "none"]["wrong_removed"] == 24 >= rows["oracle", "class"]["wrong_removed"]
    for row in rows.values():
        assert 8 * row["accuracy"] == pytest.approx(row["rare_accuracy"] + 7 * row["rest_accuracy"])


def test_the_stage_leaves_records_of_another_draw(problem, recorded, monkeypatch, capsys):
    arguments = argparse.Namespace(data=None, runs=recorded.folder.parent.parent, again=False)
    other = dataclasses.replace(problem, given=problem.true)
    for one in (other, problem):
        load = dataclasses.replace(REGIMES["adult-groups"], load=lambda _data, _seed, one=one: one)
        monkeypatch.setitem(guard.REGIMES, "adult-groups", load)
        guard.guard_all(arguments, [("adult-groups", 0), ("adult-groups", 7), ("half-moons", 0)], ["oracle"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("record it again")
    assert said[-1].endswith("12 rows, 4 trainings")


def planted_rows(seeds):
    return [
        {"regime": regime, "seed": seed, "key": "", "method": name, "hold": hold, "rare_right": 0.1 + place / 10 - held,
         "all_right": 0.1, "ratio": None if name == "oracle" else 1 + place - 10 * held,
         "precision": 0.8 - held - seed / 100, "largest_change": 0.2, "rare_samples": 40}
        for regime in ("adult-groups", "adult-symmetric-5") for seed in range(seeds)
        for place, name in enumerate(("oracle", "l2", "loss")) for hold, held in (("none", 0.0), ("class", 0.05))
    ]  # fmt: skip


def test_tables_put_the_gentlest_first_and_pair_by_seed():
    lines = guard.guard_lines(planted_rows(3))
    table = [line for line in lines if line.startswith("|")]
    assert [line.split(" | ")[0] for line in table[2:]] == ["| " + METHODS[n].words for n in ("oracle", "l2", "loss")]
    assert {line.count("|") for line in table} == {13}
    assert "-0.050 ± 0.000" in table[3]
    assert "Of 2 methods 2 remove a larger share" in lines[4]
    assert (
        "2 remove fewer of them and 0 more; precision changes by -5.0 points in the median (-5.0 to -5.0)" in lines[4]
    )
    assert sum("Of 2 methods" in line for line in lines) == 2  # the second regime has no table
    assert guard.guard_lines([]) == []


def test_prices_are_against_the_plain_trim():
    rows = [
        {"regime": "adult-groups", "seed": seed, "method": name, "hold": hold, "accuracy": 80 + seed + gain,
         "rare_accuracy": 70.0 + 2 * gain, "rest_accuracy": 81.0}
        for seed in range(2) for name, hold, gain in ((NO_TRIM, "none", 0), ("l2", "none", 1), ("l2", "group", 3))
    ]  # fmt: skip
    lines = guard.price_lines(rows)[2:]
    assert [line.split(" | ")[1] for line in lines] == [NO_TRIM, METHODS["l2"].words, METHODS["l2"].words]
    assert "+2.00 ± 0.00 | +4.00 ± 0.00 | +0.00 ± 0.00 |" in lines[2]


def test_adults_groups_are_sex_and_race(tmp_path):
    (tmp_path / "tabular_adult").mkdir()
    people = {"sex": ["Male", "Female", "Male", "Female"], "race": ["White", "White", "Black", "Other"]}
    pq.write_table(pa.table(people), tmp_path / "tabular_adult" / "train.parquet")
    assert sources.adult_groups(tmp_path, np.array([3, 0, 1, 2])).tolist() == [3, 0, 1, 2]


@pytest.fixture
def images(monkeypatch):
    labels = np.repeat(np.arange(10), 1000)
    pixels = torch.arange(10_000.0)[:, None]
    monkeypatch.setattr(sources, "fashion_mnist", lambda _data, _part: (pixels, labels))
    return labels


@pytest.mark.parametrize("seed", [0, 1])
def test_the_long_tail_is_twenty_times_longer_at_its_head(images, seed):
    found = REGIMES["fashion-long-tail"].load(Path(), seed)
    sizes = np.sort(np.bincount(found.true))
    assert (sizes[0], sizes[-1], len(sizes)) == (45, 900, 10)
    assert np.allclose(sizes[1:] / sizes[:-1], 20 ** (1 / 9), rtol=0.03)
    assert found.wrong.mean() == pytest.approx(0.2, abs=1e-3)
    assert np.bincount(found.validation[1]).tolist() == [100] * 10
    drawn = [part.flatten().tolist() for part in (found.inputs, found.validation[0])]
    assert len({*drawn[0], *drawn[1]}) == len(drawn[0]) + len(drawn[1])
    assert (images[np.array(drawn[0], int)] == found.true).all()
    assert guard.rare(found.groups).sum() == sizes[:4].sum()


@pytest.mark.parametrize(("name", "kind"), [("fashion-rare-kind", regimes.BOOT), ("fashion-rare-apart", regimes.BAG)])
def test_a_rare_kind_shares_a_label(images, name, kind):
    found = REGIMES[name].load(Path(), 0)
    kinds = images[found.inputs.flatten().numpy().astype(int)]
    assert sorted(np.unique(found.true)) == list(range(9))
    assert set(found.true[kinds == kind]) == set(found.true[kinds == regimes.SHIRT]) == {6}
    assert found.groups.sum() == 28
    assert (found.groups == (kinds == kind)).all()
    assert found.groups[found.true == 6].mean() == pytest.approx(0.03, abs=1e-3)
    assert (found.validation[1] == 6).sum() == 100
    assert (found.test_groups == (images == kind)).all()
    assert found.network()[-1].out_features == 9
    assert (guard.rare(found.groups) == (found.groups == 1)).all()
