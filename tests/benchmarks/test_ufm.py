"""The deep linear model against its closed form, and the closed form against published numbers."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsift.errors import SettingError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from ufm import DeepLinearUFM, optimum

SETTING = {"num_classes": 3, "samples_per_class": 40, "num_layers": 5, "weight_decay": 0.01, "feature_decay": 0.01}


def test_the_published_test_vector():
    found = optimum(**SETTING)
    assert found.gain == pytest.approx(0.9422774667, abs=1e-9)
    assert found.singular_value == pytest.approx(1.3464848363, abs=1e-9)
    assert found.mean_norm == pytest.approx(0.2128979459, abs=1e-9)
    assert found.loss == pytest.approx(0.1648378727, abs=1e-9)
    assert found.outlier == pytest.approx(0.1632425698, abs=1e-9)
    assert found.gram == pytest.approx(1.8130214144, abs=1e-9)


def test_the_model_at_the_optimum_has_its_loss_and_no_gradient():
    model = DeepLinearUFM(**SETTING, width=60).at_optimum(seed=3)
    objective = model.objective()
    objective.backward()
    assert float(objective) == pytest.approx(optimum(**SETTING).loss, abs=1e-12)
    assert max(float(parameter.grad.abs().max()) for parameter in model.parameters()) < 1e-14
    outputs = model(torch.arange(120)).detach()
    targets = optimum(**SETTING).gain * torch.eye(3, dtype=torch.float64)[model.labels]
    assert torch.allclose(outputs, targets, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(2, 6),
    each=st.integers(1, 30),
    depth=st.integers(1, 5),
    weight=st.floats(1e-4, 5e-3),
    feature=st.floats(1e-5, 1e-3),
)
def test_no_step_from_the_optimum_lowers_the_objective(classes, each, depth, weight, feature):
    setting = {
        "num_classes": classes,
        "samples_per_class": each,
        "num_layers": depth,
        "weight_decay": weight,
        "feature_decay": feature,
    }
    try:
        found = optimum(**setting)
    except SettingError:
        return
    assert 0 < found.gain < 1
    model = DeepLinearUFM(**setting, width=classes + 2).at_optimum()
    at_best = float(model.objective())
    assert at_best == pytest.approx(found.loss, rel=1e-9)
    zeros = 0.5  # the objective with all weights zero
    assert at_best < zeros
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        with torch.no_grad():
            moved = DeepLinearUFM(**setting, width=classes + 2)
            moved.load_state_dict(model.state_dict())
            for parameter in moved.parameters():
                parameter += 1e-2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            assert float(moved.objective()) > at_best


def test_descent_reaches_the_optimum():
    setting = SETTING | {"num_layers": 2, "samples_per_class": 5}
    model = DeepLinearUFM(**setting, width=8, seed=1)
    assert model.descend(1000, rate=1.5) == pytest.approx(optimum(**setting).loss, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_classes": 1}, "num_classes >= 2"),
        ({"weight_decay": 0.0}, "decays above 0"),
        ({"weight_decay": 1.0}, "zero weights are the minimum"),
    ],
)
def test_what_has_no_optimum_is_refused(changes, words):
    with pytest.raises(SettingError, match=words):
        optimum(**SETTING | changes)


def test_the_relu_model_has_no_closed_form():
    with pytest.raises(SettingError, match="closed form"):
        DeepLinearUFM(**SETTING, width=60, activation="relu").at_optimum()
    with pytest.raises(SettingError, match="width must be at least"):
        DeepLinearUFM(**SETTING, width=2)
