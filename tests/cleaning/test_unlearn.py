import logging

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.cleaning.unlearn import MULTIPLES, unlearn
from gradsift.errors import DataError, SettingError
from gradsift.influence.selectors import RandomWeights

DECAY, N = 0.02, 150
QUIET = {"show_progress": False}
EXACT = {"solver": "conjugate-gradients", "max_steps": 100, "tolerance": 1e-12}


def blobs(count, seed, flips=0.0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    inputs = 1.5 * np.eye(3, 5)[labels] + generator.normal(size=(count, 5))
    given = np.where(generator.random(count) < flips, (labels + 1) % 3, labels)
    return torch.from_numpy(inputs), torch.from_numpy(given)


def logistic(train_set, decay=DECAY):
    """A linear classifier at the minimum of mean loss plus penalty, by Newton's method."""
    inputs, labels = train_set

    def loss(vector):
        penalty = decay / 2 * vector.square().sum()
        return nn.functional.cross_entropy(inputs @ vector.reshape(3, 5).T, labels) + penalty

    vector = torch.zeros(15, dtype=torch.float64)
    for _ in range(30):
        slope = torch.autograd.functional.jacobian(loss, vector)
        vector = vector - torch.linalg.solve(torch.autograd.functional.hessian(loss, vector), slope)
    assert slope.norm() < 1e-10
    model = nn.Sequential(nn.Linear(5, 3, bias=False)).double().eval()
    model[0].weight.data = vector.reshape(3, 5).clone()
    return model


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    train_set = blobs(N, 0, flips=0.15)
    model = logistic(train_set)
    found = gradsift.audit(
        model, train_set, detectors=["loss"], contamination=0.1, output=tmp_path_factory.mktemp("runs") / "a", **QUIET
    )
    return model, train_set, found, blobs(200, 1)


def test_a_convex_model_comes_close_to_being_trained_again(case):
    model, train_set, audit, _ = case
    result = unlearn(model, train_set, audit, weight_decay=DECAY, **EXACT, **QUIET)
    again = logistic(audit.trim(train_set))
    before = (model[0].weight - again[0].weight).norm().item()
    after = (result.model[0].weight - again[0].weight).norm().item()
    assert len(result.removed) == N // 10
    assert np.array_equal(result.removed, audit.flagged_positions)
    assert after < before / 3
    assert result.multiple == 1
    assert result.changed == pytest.approx((result.model[0].weight - model[0].weight).norm().item())


def test_one_sample_is_removed_to_second_order(case):
    model, train_set, audit, _ = case
    single = gradsift.audit(
        model, train_set, detectors=["loss"], contamination=0.007, output=audit.run.path.parent / "one", **QUIET
    )
    assert len(single.flagged_positions) == 1
    result = unlearn(model, train_set, single, weight_decay=DECAY, **EXACT, **QUIET)
    again = logistic(single.trim(train_set))
    before = (model[0].weight - again[0].weight).norm().item()
    assert (result.model[0].weight - again[0].weight).norm().item() < before / 8


def test_losses_are_reported_and_the_model_is_left_alone(case):
    model, train_set, audit, held = case
    weight = model[0].weight.clone()
    result = unlearn(model, train_set, audit, validation=held, weight_decay=DECAY, **EXACT, **QUIET)
    assert torch.equal(model[0].weight, weight)
    assert result.model is not model
    assert set(result.losses) == {"flagged", "kept", "validation"}
    for name, data in (("kept", audit.trim(train_set)), ("validation", held)):
        for place, one in enumerate((model, result.model)):
            expected = nn.functional.cross_entropy(one(data[0]), data[1]).item()
            assert result.losses[name][place] == pytest.approx(expected)
    assert result.losses["flagged"][1] > result.losses["flagged"][0]
    assert result.losses["kept"][1] < result.losses["kept"][0]
    assert result.losses["validation"][1] < result.losses["validation"][0]
    assert f"{len(result.removed)} samples; mean loss" in result.words
    assert result.report["mode"] == "generalized"


def test_the_step_is_chosen_on_the_validation_set(case):
    model, train_set, audit, held = case
    result = unlearn(model, train_set, audit, validation=held, weight_decay=DECAY, **EXACT, **QUIET)
    assert set(result.tried) == {0.0, *MULTIPLES}
    assert result.tried[result.multiple] == min(result.tried.values())
    assert result.losses["validation"] == (result.tried[0.0], result.tried[result.multiple])
    whole = unlearn(model, train_set, audit, weight_decay=DECAY, **EXACT, **QUIET)
    assert torch.allclose(
        result.model[0].weight - model[0].weight, result.multiple * (whole.model[0].weight - model[0].weight)
    )


def test_a_step_that_helps_nothing_is_not_taken(case, caplog):
    model, train_set, audit, _ = case
    flagged = train_set[0][audit.flagged_positions.copy()], train_set[1][audit.flagged_positions.copy()]
    with caplog.at_level(logging.WARNING):
        result = unlearn(model, train_set, audit, validation=flagged, weight_decay=DECAY, **EXACT, **QUIET)
    assert result.multiple == 0
    assert torch.equal(result.model[0].weight, model[0].weight)
    assert "No step away from the 15 flagged samples lowers the validation loss" in result.words
    assert result.words in caplog.text


def test_no_flagged_sample_changes_nothing_and_is_said(case, caplog):
    model, train_set, audit, held = case
    none = gradsift.audit(
        model, train_set, detectors=["loss"], contamination=0.001, output=audit.run.path.parent / "none", **QUIET
    )
    with caplog.at_level(logging.WARNING):
        result = unlearn(model, train_set, none, validation=held, **QUIET)
    assert torch.equal(result.model[0].weight, model[0].weight)
    assert (result.multiple, result.changed, len(result.removed)) == (0, 0, 0)
    assert result.words == "No sample is flagged: the model is as it was."
    assert result.words in caplog.text
    assert set(result.losses) == {"kept", "validation"}


@pytest.mark.parametrize("mode", ["generalized", "freeze", "projected"])
def test_all_layers_and_some_weights_of_a_network(blobs, trained, tmp_path, mode):
    inputs, given, _ = blobs
    audit = gradsift.audit(
        trained, (inputs, given), detectors=["loss"], contamination=0.1, output=tmp_path / "run", **QUIET
    )
    before = [p.clone() for p in trained.parameters()]
    result = unlearn(
        trained, (inputs, given), audit, layers="all", mode=mode, selector=RandomWeights(0.5), max_steps=10, **QUIET
    )
    changed = [int((a != b).sum()) for a, b in zip(before, result.model.parameters(), strict=True)]
    assert 0 < sum(changed) <= 0.5 * sum(p.numel() for p in before)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))
    assert result.losses["flagged"][1] > result.losses["flagged"][0]


def test_bad_input_is_refused(case):
    model, train_set, audit, _ = case
    with pytest.raises(DataError, match="needs the data set that was audited"):
        unlearn(model, None, audit)
    with pytest.raises(DataError, match="the audit 150"):
        unlearn(model, (train_set[0][:9], train_set[1][:9]), audit)
    for multiples in ((), (0.0, 1.0), (float("inf"),)):
        with pytest.raises(SettingError, match="multiples must be numbers above 0"):
            unlearn(model, train_set, audit, multiples=multiples)
