"""How much is memorised, what is said of it, and that the audit says it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
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


def linear(inputs, labels, *, single=False):
    """A logistic regression as a module, of one logit or two and more, on features that nothing has trained."""
    fitted = LogisticRegression(max_iter=500).fit(inputs, labels)
    layer = nn.Linear(inputs.shape[1], 1 if single else len(fitted.classes_))
    layer.weight.data = torch.tensor(fitted.coef_, dtype=torch.float32)
    layer.bias.data = torch.tensor(fitted.intercept_, dtype=torch.float32)
    return nn.Sequential(layer).eval()


@pytest.mark.parametrize("single", [False, True])
def test_a_linear_model_on_frozen_features_is_not_said_to_memorise(single):
    generator = np.random.default_rng(0)
    scales = np.r_[np.full(4, 0.3), np.full(60, 3.0)]  # what tells classes apart is the smaller part
    inputs = generator.normal(size=(2000, 64)) * scales
    logits = inputs[:, :4] / 0.3 + 0.7 * generator.normal(size=(2000, 4))
    labels = (logits[:, 0] > 1).astype(int) if single else logits.argmax(axis=1)
    data, task = (inputs.astype(np.float32), labels), "binary" if single else "classification"
    audit = gradsift.audit(linear(inputs, labels, single=single), data, task=task, **QUIET)
    kept = audit.details["memorised"]
    assert kept["fitted"] - kept["nearest_given"] > 0.15  # class means alone would say so
    assert kept["fitted"] - kept["decoded"] < 0.1
    assert not any("memorised" in warning for warning in audit.warnings)


def test_a_network_that_has_memorised_most_of_its_wrong_labels_is_told():
    (late,), data = states(epochs=(30,))
    seen = gradsift.audit(late, data, **QUIET)
    kept = seen.details["memorised"]
    assert kept["fitted"] < 0.995
    assert kept["fitted"] - max(kept["nearest_given"], kept["decoded"]) > 0.1
    assert any("has memorised single labels" in warning for warning in seen.warnings)
