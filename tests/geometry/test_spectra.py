"""Operators, spectra and playback against dense matrices in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.errors import ModelError, SettingError
from gradsift.geometry.playback import Playback
from gradsift.geometry.spectra import largest_gap, spectrum
from gradsift.tasks import Classification

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ufm

SETTING = {"num_classes": 3, "samples_per_class": 40, "num_layers": 5, "weight_decay": 0.01, "feature_decay": 0.01}


class Squares:
    kind = "class"

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return 0.5 * (outputs - F.one_hot(batch[1], outputs.shape[1]).to(outputs)).square().sum(dim=1)

    def labels(self, batch):
        return batch[1]

    def predictions(self, outputs):
        return outputs


class Residual(nn.Module):
    """Blocks with a skip connection around a convolution, as in a ResNet."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + torch.tanh(self.first(x))
        return self.head(torch.tanh(self.second(x.mean(dim=(2, 3)))))


def model_and_data(count=30):
    torch.manual_seed(0)
    return Residual().double().eval(), (torch.randn(count, 2, 6, 6).double(), torch.arange(count) % 3)


def dense(model, data, names, matrix, task=Classification()):  # noqa: B008
    """The matrix from torch's own dense derivatives."""
    parameters = {name: one for name, one in model.named_parameters() if name in names}

    def outputs(*values):
        return torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), (data[0],))

    def loss(*values):
        return task.losses(outputs(*values), data).mean()

    def flat(blocks):
        sizes = [one.numel() for one in parameters.values()]
        rows = [
            [b.reshape(one, size) for b, size in zip(row, sizes, strict=True)]
            for row, one in zip(blocks, sizes, strict=True)
        ]
        return torch.cat([torch.cat(row, dim=1) for row in rows])

    values = tuple(parameters.values())
    if matrix == "hessian":
        return flat(torch.autograd.functional.hessian(loss, values)).detach()
    jacobians = torch.autograd.functional.jacobian(outputs, values)
    stacked = torch.cat([one.flatten(2) for one in jacobians], dim=2)
    probabilities = outputs(*values).softmax(1)
    inner = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None]
    return torch.einsum("nkp,nkl,nlq->pq", stacked, inner, stacked).detach() / len(data[0])


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
@pytest.mark.parametrize("layers", ["all", "last", ["second.*", "head.weight"]])
def test_eigenvalues_equal_the_dense_ones(matrix, layers):
    model, data = model_and_data()
    found = spectrum(
        model, data, num_classes=3, layers=layers, matrix=matrix, count=8, tolerance=1e-12, show_progress=False
    )
    expected = torch.linalg.eigh(dense(model, data, found.parameters, matrix))
    assert np.allclose(found.eigenvalues, expected.eigenvalues.flip(0)[:8].numpy(), atol=1e-9)
    assert found.size == len(expected.eigenvalues)
    vectors = torch.from_numpy(found.vectors)
    assert torch.allclose(vectors.T @ vectors, torch.eye(8).double(), atol=1e-9)


@pytest.mark.parametrize("layer", [0, 2, 4])
@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_the_collapsed_model_has_k_squared_equal_outliers(layer, matrix):
    model = ufm.DeepLinearUFM(**SETTING, width=20).at_optimum().eval()
    found = spectrum(
        model, (torch.arange(120), model.labels), task=Squares(), num_classes=3, layers=f"layers.{layer}.weight",
        matrix=matrix, show_progress=False,
    )  # fmt: skip
    assert np.allclose(found.eigenvalues[:9], ufm.optimum(**SETTING).outlier, atol=1e-8)
    assert found.eigenvalues[9] < 1e-12
    assert found.outliers == 9
    assert found.ratio == pytest.approx(1, abs=1e-8)
    assert set(found.gaps) == {3, 9}


def test_playback_skips_what_comes_before_and_changes_nothing():
    model, data = model_and_data()
    batches = [(data[0][:20], data[1][:20]), (data[0][20:], data[1][20:])]
    parameters = dict(model.second.named_parameters(prefix="second"))
    playback = Playback(model, Classification(), batches, parameters)
    assert playback.skipped == ["stem", "first"]
    plain = [Classification().outputs(model, batch) for batch in batches]
    calls = []
    handle = model.stem.register_forward_hook(lambda *_: calls.append(1))
    with playback.playing():
        for batch, expected in zip(batches, plain, strict=True):
            assert torch.equal(playback.outputs(model, batch), expected)
    handle.remove()
    assert torch.equal(model(data[0][:20]), plain[0])
    assert "forward" not in vars(model.stem)
    # The skip connection reads the stem's output, too, so both are kept.
    assert playback.bytes == 2 * 30 * 4 * 16 * 8


def test_playback_keeps_only_the_last_output_of_a_chain():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 50), nn.ReLU(), nn.Linear(50, 2), nn.Tanh(), nn.Linear(2, 3)).eval()
    data = (torch.randn(7, 5), torch.arange(7) % 3)
    playback = Playback(model, Classification(), [data], dict(model[4].named_parameters(prefix="4")))
    assert playback.skipped == ["0", "1", "2", "3"]
    assert playback.bytes == 7 * 2 * 4
    nothing = Playback(model, Classification(), [data], dict(model.named_parameters()))
    assert nothing.skipped == []


def test_the_density_stands_in_where_classes_are_many():
    torch.manual_seed(0)
    model = nn.Linear(6, 20).double().eval()
    data = (torch.randn(60, 6).double(), torch.arange(60) % 20)
    found = spectrum(model, data, num_classes=20, layers="all", show_progress=False)
    assert len(found.eigenvalues) == 30
    grid, density = found.density
    assert float(np.trapezoid(density, grid)) == pytest.approx(1, abs=0.1)
    assert found.ratio is None
    assert found.to_dict()["density"][0] == grid.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([8, 7, 6, 1, 0.9], (3, 6.0)), ([5, 4, 3.5, 3], (0, 1.0)), ([1, 0, 0], (1, 1e12)), ([0, 0, 0], (0, 1.0))],
)
def test_the_largest_gap(values, expected):
    assert largest_gap(np.array(values, dtype=float)) == pytest.approx(expected)


def test_bad_input():
    model, data = model_and_data()
    with pytest.raises(SettingError, match="unknown matrix"):
        spectrum(model, data, num_classes=3, matrix="fisher", show_progress=False)
    broken = (data[0] * torch.nan, data[1])
    with pytest.raises(ModelError, match="NaN"):
        spectrum(model, broken, num_classes=3, show_progress=False)
