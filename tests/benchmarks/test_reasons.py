"""The pure parts of ``benchmarks/quality/planted.py`` and ``reasons.py``."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradsift

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frame.rows import read
from quality import planted as planting
from quality import reasons
from quality.planted import AMBIGUOUS, ATYPICAL, CLEAN, DUPLICATE, WRONG, planted
from quality.record import record
from quality.regimes import Problem
from quality.training import Recipe


@pytest.fixture
def clean(monkeypatch):
    def fashion(_data, seed, *, plant):
        images = torch.from_numpy(np.random.default_rng([seed, 1]).standard_normal((400, 1, 28, 28))).float()
        true = np.arange(400) % 4
        images += 3 * torch.eye(28)[true][:, None, None, :]
        held = (images[:20], true[:20])
        return Problem(images, plant(images, true, seed), true, held, held, network, Recipe(4, 50, 0.01))

    monkeypatch.setattr(planting, "fashion", fashion)
    return fashion(None, 3, plant=lambda _x, y, _s: y)


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 4))


def test_what_is_planted_is_what_the_kinds_say(clean):
    problem, kinds = planted(Path(), 3)
    assert {kind: int((kinds == kind).sum()) for kind in (WRONG, AMBIGUOUS, ATYPICAL, DUPLICATE)} == {
        WRONG: 12, AMBIGUOUS: 12, ATYPICAL: 12, DUPLICATE: 12,
    }  # fmt: skip
    changed = (problem.inputs != clean.inputs).flatten(1).any(dim=1).numpy()
    assert (changed[np.isin(kinds, (AMBIGUOUS, ATYPICAL))]).all()
    assert changed[kinds == DUPLICATE].sum() == 6
    assert not changed[np.isin(kinds, (CLEAN, WRONG))].any()
    assert (problem.wrong == (kinds == WRONG) | (changed & (kinds == DUPLICATE))).all()
    assert (problem.true == clean.true)[kinds != DUPLICATE].all()
    for copy in np.flatnonzero(changed & (kinds == DUPLICATE)):
        same = np.flatnonzero((problem.inputs == problem.inputs[copy]).flatten(1).all(dim=1).numpy())
        (original,) = same[same != copy]
        assert kinds[original] == DUPLICATE
        assert problem.given[original] == problem.true[copy] != problem.given[copy]


def test_planting_goes_by_the_seed(clean):
    (first, kinds), (again, kinds_again), (other, _) = (planted(Path(), seed) for seed in (3, 3, 4))
    assert first.key == again.key != other.key
    assert (kinds == kinds_again).all()
    assert (first.inputs == again.inputs).all()


@pytest.mark.parametrize("spoil", planting.SPOILS)
def test_spoilt_images_keep_their_shape_and_change(spoil):
    image = torch.arange(784.0).reshape(1, 28, 28)
    spoilt = spoil(image, np.random.default_rng(0))
    assert spoilt.shape == image.shape
    assert (spoilt != image).any()
    assert image.equal(torch.arange(784.0).reshape(1, 28, 28))


def test_half_is_covered_and_patches_are_only_moved():
    image = torch.arange(784.0).reshape(1, 28, 28)
    for seed in range(5):
        covered = planting.covered(image, np.random.default_rng(seed))
        assert int((covered == image).sum()) == pytest.approx(392, abs=1)
        assert planting.shuffled(image, np.random.default_rng(seed)).sort().values.sum() == image.sum()


def test_the_audit_is_scored_and_its_rows_are_told(clean, tmp_path, monkeypatch):
    monkeypatch.setattr(reasons, "REASONS", tmp_path / "rows.parquet")
    found = reasons.reason_kinds(Path(), tmp_path, 3)
    rows = read(reasons.REASONS)
    assert {row["key"] for row in rows} == {found.about["key"]}
    assert sum(row["count"] for row in rows if row["given"] in reasons.KINDS) == 48  # as many as were planted
    sizes = {row["planted"]: row["size"] for row in rows if row["given"] == WRONG}
    assert sizes == {CLEAN: 352, WRONG: 12, AMBIGUOUS: 12, ATYPICAL: 12, DUPLICATE: 12}
    lines = "\n".join(reasons.reason_lines(rows))
    assert "1 other seed(s)) | planted | flagged | likely wrong label |" in lines
    assert "| nothing | 352 |" in lines


def test_suggestions_are_counted_for_flagged_wrong_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(reasons, "REASONS", tmp_path / "rows.parquet")
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 150)
    inputs = torch.from_numpy(generator.standard_normal((150, 4)) + 5 * np.eye(4)[true]).float()
    given = gradsift.evaluation.flip_labels(true, 0.2, seed=0)
    held = (inputs[:30], true[:30])
    small = lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))  # noqa: E731
    problem = Problem(inputs, given, true, held, held, small, Recipe(6, 20, 0.02, every=2))
    found = record(problem, tmp_path / "0", regime="small", seed=0)
    assert reasons.suggestions(found) == 18
    rows = read(reasons.REASONS)
    for method in {row["method"] for row in rows}:
        mine = {row["given"]: row for row in rows if row["method"] == method}
        assert sum(row["count"] for row in mine.values()) == mine[reasons.RIGHT]["flagged"] <= 30
        assert mine[reasons.RIGHT]["count"] > 0.7 * mine[reasons.RIGHT]["flagged"] > (0 if "called" in method else 10)
    lines = reasons.reason_lines(rows)
    assert lines[-2].startswith("| small | 1 |")


def test_no_suggestion_is_not_right():
    told = reasons.told(np.array([1.0, 2.0, np.nan]), np.array([1, 1, 1]))
    assert told.tolist() == [reasons.RIGHT, reasons.OTHER, reasons.NONE]


def test_the_page_is_empty_without_rows():
    assert reasons.reason_lines([]) == []
