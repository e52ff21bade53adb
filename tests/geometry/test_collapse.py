"""Neural collapse measures against the dense formulas, and on the model whose collapse is known."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.errors import DataError, SettingError
from gradsift.geometry import collapse
from tests.support.families import BY_NAME

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ufm

SETTING = {"num_classes": 3, "samples_per_class": 10, "num_layers": 4, "weight_decay": 0.01, "feature_decay": 0.01}


def dense(features, labels):
    """Both conventions of DNC1, the formulas as they are written."""
    classes = labels.unique()
    means = torch.stack([features[labels == one].mean(0) for one in classes])
    centred = means - means.mean(0)
    between = centred.T @ centred / len(classes)
    within = torch.zeros_like(between)
    for one, mean in zip(classes, means, strict=True):
        rows = features[labels == one] - mean
        within += rows.T @ rows / len(rows) / len(classes)
    inverse = torch.linalg.pinv(between, rtol=1e-10, hermitian=True)
    gram = means @ means.T
    size = len(classes)
    frame = (gram / gram.norm() - torch.eye(size).double() / size**0.5).norm()
    simple = centred @ centred.T
    simplex = (simple / simple.norm() - (torch.eye(size).double() - 1 / size) / (size - 1) ** 0.5).norm()
    return {
        "variability": torch.trace(within @ inverse) / size,
        "variability_squared": (within @ inverse).square().sum(),
        "frame": frame,
        "simplex": simplex,
    }


def network(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 9), nn.ReLU(),
        nn.Linear(9, classes),
    ).double().eval()  # fmt: skip


def images(count=60, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return torch.randn(count, 2, 8, 8, generator=generator).double() + labels[:, None, None, None], labels


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
@pytest.mark.parametrize("classes", [4, 2])
def test_measures_equal_the_dense_formulas(pooling, classes):
    model, (inputs, labels) = network(classes), images(classes=classes)
    found = collapse(model, (inputs, labels), pooling=pooling, show_progress=False)
    assert [layer.name for layer in found.layers] == ["0", "2", "5", "7"]
    for layer in found.layers:
        hidden = model[: int(layer.name)](inputs).detach()
        hidden = hidden.flatten(1) if hidden.ndim == 2 or pooling == "flatten" else hidden.flatten(2).mean(2)
        for name, value in dense(hidden, labels).items():
            assert getattr(layer, name) == pytest.approx(float(value), rel=1e-8), (layer.name, name)
        means = torch.stack([hidden[labels == one].mean(0) for one in range(classes)])
        nearest = torch.cdist(hidden, means).argmin(1)
        predicted = model(inputs).argmax(1)
        assert layer.nearest_mean == pytest.approx(float((nearest == predicted).double().mean()))
        assert layer.nearest_mean_given == pytest.approx(float((nearest == labels).double().mean()))
        assert layer.mean_norms == pytest.approx(means.norm(dim=1).tolist())
    weight, means = model[-1].weight.detach(), torch.stack([hidden[labels == one].mean(0) for one in range(classes)])
    product = weight @ means.T
    expected = (product / product.norm() - torch.eye(classes).double() / classes**0.5).norm()
    assert found.layers[-1].duality_frame == pytest.approx(float(expected))
    assert found.layers[0].duality_frame is None
    losses = nn.functional.cross_entropy(model(inputs), labels).detach()
    assert found.loss == pytest.approx(float(losses))


def test_the_collapsed_model_is_collapsed_in_every_layer():
    model = ufm.DeepLinearUFM(**SETTING, width=7).at_optimum().eval()
    found = collapse(model, (torch.arange(30), model.labels), show_progress=False)
    assert len(found.layers) == 4
    for layer in found.layers:
        assert layer.variability < 1e-25
        assert max(layer.frame, layer.simplex) < 1e-12
        assert layer.nearest_mean == layer.nearest_mean_given == 1
        assert layer.rank == 2
    assert max(found.layers[-1].duality_frame, found.layers[-1].duality_simplex) < 1e-12
    assert found.accuracy == 1
    assert found.notes == ()


def test_missing_unbalanced_and_single_classes_are_said():
    inputs, labels = images(classes=4)
    labels = labels.clone()
    labels[labels == 1] = 0
    labels[0] = 5
    found = collapse(network(6), (inputs, labels), layers="last", show_progress=False)
    assert found.classes == (0, 2, 3, 5)
    assert sum(found.counts) == 60
    words = " ".join(found.notes)
    assert "classes [1, 4] have no samples" in words
    assert "1 classes have one sample" in words
    assert "samples: the regular figures belong to balanced" in words
    means = dense(network(6)[:7](inputs).detach(), labels)
    assert found.layers[0].variability == pytest.approx(float(means["variability"]), rel=1e-8)


def test_a_hundred_classes_in_fewer_dimensions():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 100
    inputs = torch.randn(300, 12, generator=generator).double()
    torch.manual_seed(0)
    found = collapse(nn.Linear(12, 100).double().eval(), (inputs, labels), show_progress=False)
    assert found.layers[0].rank == 12
    expected = dense(inputs, labels)
    assert found.layers[0].variability_squared == pytest.approx(float(expected["variability_squared"]), rel=1e-8)


@pytest.mark.parametrize("name", ["bert_sequence", "distilbert_sequence", "gpt2_sequence", "vit_image", "resnet_image"])
def test_transformers(name):
    family = BY_NAME[name]
    model, batch = family.make(torch.float64), family.batch(24, torch.float64)
    rows = [{key: value[place] for key, value in batch.items()} for place in range(24)]
    found = collapse(model, rows, show_progress=False)
    assert len(found.layers) > 3
    assert all(np.isfinite(layer.variability) for layer in found.layers)
    blocks = {"bert_sequence": "*encoder.layer.?", "gpt2_sequence": "*.h.?"}
    if name in blocks:
        assert len(collapse(model, rows, layers=blocks[name], show_progress=False).layers) == 2


def test_padding_does_not_count():
    family = BY_NAME["bert_sequence"]
    model, batch = family.make(torch.float64), family.batch(12, torch.float64)
    rows = [{key: value[place] for key, value in batch.items()} for place in range(12)]
    (layer,) = collapse(model, rows, layers="*layer.0.intermediate.dense", show_progress=False).layers
    held = []
    handle = model.get_submodule("bert.encoder.layer.0.intermediate.dense").register_forward_pre_hook(
        lambda _module, inputs: held.append(inputs[0].detach())
    )
    model(**batch)
    handle.remove()
    mask = batch["attention_mask"].bool()
    hidden = torch.stack([rows[keep].mean(0) for rows, keep in zip(held[0], mask, strict=True)])
    assert layer.variability == pytest.approx(float(dense(hidden, batch["labels"])["variability"]), rel=1e-8)


def test_bad_input():
    with pytest.raises(DataError, match="one class"):
        collapse(network(), (images()[0], torch.zeros(60, dtype=torch.long)), show_progress=False)
    with pytest.raises(SettingError, match="about classes"):
        collapse(network(), images(), task="regression", show_progress=False)
    with pytest.raises(SettingError, match="no module that runs matches"):
        collapse(network(), images(), layers="nothing.*", show_progress=False)
