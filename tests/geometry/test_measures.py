"""Split of the Gauss-Newton matrix, alignment, eigenvector scores and weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.curvature import Hessian, MeanLoss
from gradsift.errors import SettingError
from gradsift.geometry import alignment, eigenvector_scores, gauss_newton_split, weight_geometry
from gradsift.geometry.spectra import spectrum
from tests.support.geometry import SETTING, Squares, dense, model_and_data

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ufm


@pytest.fixture(scope="module")
def collapsed():
    model = ufm.DeepLinearUFM(**SETTING, width=20).at_optimum().eval()
    return model, (torch.arange(120), model.labels)


def test_the_collapsed_model_splits_into_ranks_three_six_and_zero(collapsed):
    model, data = collapsed
    found = gauss_newton_split(
        model, data, num_classes=3, task=Squares(), layers="layers.2.weight", show_progress=False
    )
    outlier = ufm.optimum(**SETTING).outlier
    assert np.allclose(found.of_classes, [outlier] * 3, atol=1e-8)
    assert np.allclose(found.across_classes, [outlier] * 6, atol=1e-8)
    assert found.within_trace == pytest.approx(0, abs=1e-12)
    assert found.trace == pytest.approx(9 * outlier)
    assert found.overlap < 1e-20


def test_the_parts_sum_to_the_matrix_of_a_softmax_network():
    model, data = model_and_data(count=30)
    found = gauss_newton_split(model, data, num_classes=3, layers="all", show_progress=False)
    names = [name for name, _ in model.named_parameters()]
    assert found.trace == pytest.approx(float(dense(model, data, names, "gauss-newton").trace()))
    assert 0 < found.within_trace < found.trace
    assert len(found.of_classes) <= 3
    assert len(found.across_classes) <= 6
    assert found.to_dict()["of_classes"] == found.of_classes.tolist()


def test_eigenvector_scores_of_the_collapsed_model_are_one(collapsed):
    model, data = collapsed
    operator = Hessian(MeanLoss(model, Squares(), {"layers.2.weight": model.layers[2].weight}, [data], len(data[1])))
    hidden = [model.features.detach()]
    for layer in model.layers:
        hidden.append(layer(hidden[-1]).detach())
    means = [torch.stack([rows[model.labels == one].mean(0) for one in range(3)]).numpy() for rows in hidden]
    multiply = lambda columns: operator(torch.from_numpy(columns.T)).T.numpy()  # noqa: E731
    assert np.allclose(eigenvector_scores(multiply, means[3], means[2]), 1, atol=1e-10)
    random = np.random.default_rng(0).normal(size=(3, 20))
    assert eigenvector_scores(multiply, random, means[2]).max() < 0.9


def test_eigenvector_scores_equal_the_formula():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(6, 6))
    matrix = matrix + matrix.T
    outward, inward = generator.normal(size=(2, 3)), generator.normal(size=(2, 2))
    found = eigenvector_scores(lambda columns: matrix @ columns, outward, inward)
    for row in range(2):
        for column in range(2):
            vector = np.kron(outward[row], inward[column])
            product = matrix @ vector
            expected = (vector @ product) ** 2 / ((vector @ vector) * (product @ product))
            assert found[row, column] == pytest.approx(expected)
    assert np.isnan(eigenvector_scores(lambda columns: 0 * columns, outward, inward)).all()


def test_the_gradient_of_the_collapsed_model_lies_in_the_outlier_space(collapsed):
    model, data = collapsed
    weight = model.layers[2].weight
    (gradient,) = torch.autograd.grad(Squares().losses(model(data[0]), data).mean(), weight)
    vectors = spectrum(
        model, data, task=Squares(), num_classes=3, layers="layers.2.weight", show_progress=False
    ).vectors
    found = alignment(gradient.flatten().numpy(), vectors, 3)
    assert found.top_squared == pytest.approx(1, abs=1e-10)
    assert found.chance == 3 / 400
    # One third along each of mu_c x mu_c, nothing along the others.
    hidden = model.features.detach() @ model.layers[0].weight.T.detach() @ model.layers[1].weight.T.detach()
    inward = hidden[::40] / hidden[::40].norm(dim=1, keepdim=True)
    outward = hidden[::40] @ weight.T.detach()
    outward = outward / outward.norm(dim=1, keepdim=True)
    pairs = torch.einsum("ao,bi->aboi", outward, inward).flatten(0, 1).flatten(1)
    shares = (pairs @ gradient.flatten()) ** 2 / gradient.square().sum()
    assert torch.allclose(shares.reshape(3, 3), torch.eye(3).double() / 3, atol=1e-10)


def test_alignment_of_chance_and_of_nothing():
    vectors = np.eye(10)[:, :5]
    found = alignment(np.ones(10), vectors, 2)
    assert found.top_classes == pytest.approx(found.chance) == pytest.approx(0.2)
    assert found.top_squared == pytest.approx(0.4)
    assert alignment(np.ones(10), vectors, 3).top_squared is None
    assert np.isnan(alignment(np.zeros(10), vectors, 2).top_classes)


def test_weights_of_the_collapsed_model(collapsed):
    model, _ = collapsed
    found = weight_geometry({f"layers.{n}": layer for n, layer in enumerate(model.layers)}, 3)
    assert [layer.stable_rank for layer in found] == pytest.approx([3] * 5)
    assert [layer.top_energy for layer in found] == pytest.approx([1] * 5)
    assert found[0].balance is None
    assert max(layer.balance for layer in found[1:]) < 1e-12


def test_weights_against_their_formulas():
    torch.manual_seed(0)
    modules = {
        "a": nn.Conv2d(2, 4, 3),
        "b": nn.Linear(4, 6),
        "c": nn.ReLU(),
        "d": nn.Linear(6, 2),
        "e": nn.Linear(2, 3),
    }
    found = {layer.name: layer for layer in weight_geometry(modules, 2)}
    assert list(found) == ["a", "b", "d", "e"]
    values = torch.linalg.svdvals(modules["a"].weight.detach().flatten(1).double())
    assert found["a"].stable_rank == pytest.approx(float(values.square().sum() / values[0] ** 2))
    assert found["a"].top_energy == pytest.approx(float(values[:2].square().sum() / values.square().sum()))
    assert found["b"].balance is None
    assert found["d"].balance is None
    own, before = (modules[name].weight.detach().double() for name in "ed")
    expected = (own.T @ own - before @ before.T).norm() / (own.T @ own).norm()
    assert found["e"].balance == pytest.approx(float(expected))


def test_bad_input(collapsed):
    model, data = collapsed
    with pytest.raises(SettingError, match="about classes"):
        gauss_newton_split(model, data, num_classes=3, task="regression", show_progress=False)
    with pytest.raises(SettingError, match="too many to hold"):
        gauss_newton_split(model, data, num_classes=100, show_progress=False)
    with pytest.raises(SettingError, match="labels up to 2"):
        gauss_newton_split(model, data, num_classes=2, show_progress=False)
