"""How much is memorised, what is said of it, and that the audit says it."""

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.geometry import best_checkpoint, collapse, memorised, sentences
from gradsift.store import ArrayMatrix

QUIET = {"show_progress": False}


def noisy(count=300, share=0.3, seed=0):
    """Three well separated classes, a share of whose labels are another class's."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.arange(count) % 3
    inputs = 3 * torch.eye(3, 12)[true] + torch.randn(count, 12, generator=generator)
    wrong = torch.rand(count, generator=generator) < share
    return inputs, torch.where(wrong, (true + 1) % 3, true)


def states(epochs=(3, 400)):
    inputs, labels = noisy()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 200), nn.ReLU(), nn.Linear(200, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = []
    for epoch in range(1, epochs[-1] + 1):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch in epochs:
            copy = nn.Sequential(nn.Linear(12, 200), nn.ReLU(), nn.Linear(200, 3))
            copy.load_state_dict(model.state_dict())
            found.append(copy.eval())
    return found, (inputs, labels)


def test_shares_equal_the_plain_formula():
    generator = np.random.default_rng(0)
    features, labels, predicted = (
        generator.normal(size=(50, 4)),
        generator.integers(0, 3, 50) * 2,
        generator.integers(0, 6, 50),
    )
    found = memorised(ArrayMatrix(features), labels, predicted)
    means = {kind: features[labels == kind].mean(axis=0) for kind in np.unique(labels)}
    nearest = np.array([min(means, key=lambda kind: np.linalg.norm(row - means[kind])) for row in features])
    assert found.fitted == pytest.approx((predicted == labels).mean())
    assert found.nearest_given == pytest.approx((nearest == labels).mean())
    assert found.nearest_predicted == pytest.approx((nearest == predicted).mean())
    assert found.share == pytest.approx(found.fitted - found.nearest_given)


def test_an_early_state_can_tell_and_a_late_one_has_memorised():
    (early, late), data = states()
    seen = [collapse(model, data, **QUIET) for model in (early, late)]
    assert "no sign that it has memorised" in sentences(seen[0])[0]
    assert "memorised labels have next to no gradient" in sentences(seen[1])[0]
    assert best_checkpoint(seen) == 0
    assert "a projection to 64 dimensions keeps them" in sentences(seen[0])[2]


def test_the_audit_says_so_and_keeps_the_figures():
    (early, late), data = states()
    found = [gradsift.audit(model, data, **QUIET) for model in (early, late)]
    assert not any("memorised" in warning for warning in found[0].warnings)
    assert any("memorised" in warning for warning in found[1].warnings)
    for model, audit in zip((early, late), found, strict=True):
        layer = collapse(model, data, **QUIET).layers[-1]
        kept = audit.details["memorised"]
        assert kept["nearest_given"] == pytest.approx(layer.nearest_mean_given)
        assert kept["nearest_predicted"] == pytest.approx(layer.nearest_mean)
