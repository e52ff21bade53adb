"""Operators, spectra and playback against dense matrices in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.errors import ModelError, SettingError
from gradsift.geometry.playback import Playback
from gradsift.geometry.spectra import largest_gap, spectrum
from gradsift.tasks import Classification

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ufm

from tests.support.geometry import SETTING, Squares, dense, model_and_data


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
