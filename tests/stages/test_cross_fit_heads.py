"""Heads that are cross-fitted on a frozen body's features, and what an audit makes of them."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift
from gradsift.detectors import WrongLabelPosterior
from gradsift.errors import DataError, SettingError
from gradsift.evidence import stored_evidence
from gradsift.stages import rescore

CLASSES, SIZE = 4, 480


@pytest.fixture(scope="module")
def memorised():
    """A frozen random body whose 600 features let a linear head fit every given label; a quarter of these are flipped."""
    rng = np.random.default_rng(0)
    true = np.arange(SIZE) % CLASSES
    inputs = rng.normal(size=(CLASSES, 12))[true] + rng.normal(size=(SIZE, 12))
    given = true.copy()
    flipped = rng.choice(SIZE, SIZE // 4, replace=False)
    given[flipped] = (true[flipped] + rng.integers(1, CLASSES, len(flipped))) % CLASSES
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 600), nn.ReLU(), nn.Linear(600, CLASSES))
    model[0].requires_grad_(False)
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(given)
    optimizer = torch.optim.Adam(model[2].parameters(), 0.02)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval(), (x, y), given, given != true


def precision(audit, wrong):
    return average_precision_score(wrong, audit.table["score"].to_numpy())


def test_a_frozen_body_gets_heads_that_have_not_seen_their_samples(memorised, tmp_path):
    model, data, given, wrong = memorised
    own = gradsift.audit(model, data, cross_fit_heads="never", show_progress=False)
    audit = gradsift.audit(model, data, output=tmp_path / "run", show_progress=False)
    assert (own.table["predicted_label"].to_numpy() == given).mean() > 0.97  # all is memorised
    assert precision(audit, wrong) > precision(own, wrong) + 0.05
    assert audit.details["provenance"]["predictions"] == "out-of-fold"
    assert audit.details["provenance"]["losses"] == "in-sample"
    assert audit.table["loss"].equals(own.table["loss"])
    assert "no head has seen the samples" in audit.summary()
    assert "no head has seen the samples" in (tmp_path / "run" / "report.html").read_text()
    assert "heads" not in own.details


@pytest.mark.usefixtures("few_rounds")
def test_a_stored_run_gives_the_same_again(memorised, tmp_path):
    model, data, given, _ = memorised
    audit = gradsift.audit(model, data, output=tmp_path / "run", show_progress=False)
    opened = gradsift.Audit.open(tmp_path / "run")
    evidence = stored_evidence(opened.run, "class")
    assert evidence.comes_from("predictions") == "out-of-fold"
    posterior = WrongLabelPosterior().fit(evidence, given)
    np.testing.assert_allclose(-posterior.score_samples(evidence, given), audit.table["score"].to_numpy(), rtol=1e-6)
    again = rescore(opened, audit.table["score"].to_numpy(), "posterior")
    for column in ("suggested_label", "predicted_label", "reason", "flagged"):
        assert again.table[column].equals(audit.table[column])
    repeated = gradsift.audit(model, data, output=tmp_path / "again", show_progress=False)
    assert repeated.table.equals(audit.table)


@pytest.mark.usefixtures("few_rounds")
def test_nothing_changes_where_the_body_was_trained(memorised, tmp_path):
    model, data, _, _ = memorised
    model[0].requires_grad_(True)
    try:
        tables = []
        for name, setting in (("auto", "auto"), ("off", "never")):
            gradsift.audit(model, data, cross_fit_heads=setting, output=tmp_path / name, show_progress=False)
            tables.append(hashlib.sha256((tmp_path / name / "scores.parquet").read_bytes()).hexdigest())
        assert tables[0] == tables[1]
        asked = gradsift.audit(model, data, cross_fit_heads="always", show_progress=False)
        assert asked.details["provenance"]["predictions"] == "out-of-fold"
    finally:
        model[0].requires_grad_(False)


def test_heads_need_classes_and_features(memorised):
    model, data, _, _ = memorised
    with pytest.raises(SettingError, match="features of the last layer"):
        gradsift.audit(model, data, layers="all", cross_fit_heads="always", show_progress=False)


def test_a_class_with_one_sample_leaves_the_models_predictions(memorised, caplog):
    model, (x, y), _, _ = memorised
    few = torch.cat([torch.where(y[:-1] != 3)[0], torch.where(y == 3)[0][:1]])
    audit = gradsift.audit(model, (x[few], y[few]), show_progress=False)
    assert "heads" not in audit.details
    assert "cannot be cross-fitted" in caplog.text
    with pytest.raises(DataError, match="fewer samples"):
        gradsift.audit(model, (x[few], y[few]), cross_fit_heads="always", show_progress=False)
