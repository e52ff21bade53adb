"""The probability that a pair is swapped: both orders alike, better than the margin, and how many there are."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift
from gradsift.detectors import SwappedPairPosterior
from gradsift.detectors.pairs import BothWays, both_ways
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix

SIZE, RATE = 300, 0.2


def pairs(seed=0):
    """Answers whose first feature is better by a margin, a fifth of the pairs swapped, and a linear reward model."""
    generator = torch.Generator().manual_seed(seed)
    better, worse = (torch.randn(SIZE, 20, generator=generator) for _ in range(2))
    better[:, :3] += 1.2
    swapped = np.zeros(SIZE, dtype=bool)
    swapped[np.random.default_rng(seed).choice(SIZE, round(RATE * SIZE), replace=False)] = True
    turn = torch.from_numpy(swapped)[:, None]
    given = {"chosen": torch.where(turn, worse, better), "rejected": torch.where(turn, better, worse)}
    torch.manual_seed(seed)
    model = nn.Linear(20, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        margin = model(given["chosen"]) - model(given["rejected"])
        (-nn.functional.logsigmoid(margin)).mean().backward()
        optimizer.step()
    return model.eval(), given, swapped


@pytest.fixture(scope="module")
def audited():
    model, given, swapped = pairs()
    return gradsift.audit(model, given, task="reward", show_progress=False), given, swapped


def test_swapped_pairs_come_first_and_are_counted(audited):
    audit, _, swapped = audited
    table = audit.table
    precision = {name: average_precision_score(swapped, table[name].to_numpy()) for name in ("score", "score_loss")}
    assert precision["score"] >= precision["score_loss"] + 0.03, precision
    told = audit.details["wrong_labels"]
    assert told["low"] <= RATE <= told["high"]
    assert abs(told["share"] - RATE) <= 0.04
    assert f"label_smoothing={told['share']:.2f})" in audit.details["contamination"]["words"]
    flagged = table["flagged"].to_numpy()
    assert swapped[flagged].mean() > 0.8
    assert set(table["given_label"].to_pylist()) == {0}
    assert table.filter(flagged)["suggested_label"].to_pylist() == [1] * flagged.sum()
    assert audit.class_names == ["as given", "swapped"]
    assert (
        table.filter(flagged)["reason"][0]
        .as_py()
        .startswith("probably swapped: model prefers the rejected answer with ")
    )


def test_turning_all_pairs_around_turns_the_verdict_around(audited):
    audit, _, _ = audited
    evidence = Evidence(
        audit.run.statistic("prediction").load(),
        gradients=audit.gradients,
        losses=audit.table["loss"].to_numpy(),
        kind="pair",
    )
    own = SwappedPairPosterior().fit(evidence)
    doubled = both_ways(evidence)
    size = len(evidence)
    assert doubled.features.rows([3, size + 3]).sum(axis=0) == pytest.approx(0)
    turned = Evidence(doubled.predictions.rows(np.arange(size))[:, ::-1], kind="pair")
    other = SwappedPairPosterior().fit(turned)
    assert np.corrcoef(own.swapped_, other.swapped_)[0, 1] < -0.5
    assert own.wrong_labels_ is None  # predictions have seen the pairs, so none can be counted


def test_directions_are_differences_of_features(audited):
    audit, given, _ = audited
    gradients, sure = audit.run.statistic("projection").load(), -np.expm1(-audit.table["loss"].to_numpy())
    directions = BothWays(ArrayMatrix(gradients), sure)
    rows = directions.rows(np.arange(len(sure)))
    differences = (given["chosen"] - given["rejected"]).numpy()
    cosines = [
        (a @ a.T / np.linalg.norm(a, axis=1) / np.linalg.norm(a, axis=1)[:, None])[0] for a in (rows, differences)
    ]
    assert np.corrcoef(*cosines)[0, 1] > 0.95  # a projection keeps angles
    assert directions.entries(np.array([5]), np.array([7]))[0] == rows[5, 7]
    assert directions.norms(2, [5])[0] == pytest.approx(np.linalg.norm(rows[5]), rel=1e-5)
    assert directions.load(np.array([5])).rows(np.array([0]))[0] == pytest.approx(rows[5])
    assert not BothWays(ArrayMatrix(np.zeros((1, 4))), np.zeros(1)).rows([0, 1]).any()  # a gradient that has vanished


def test_other_evidence_is_refused():
    with pytest.raises(DataError, match=r"predictions of shape \(n, 2\), as tasks of pairs give them"):
        SwappedPairPosterior().fit(Evidence(np.ones((3, 3)) / 3))
