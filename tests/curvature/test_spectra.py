"""Lanczos, power iteration and ARPACK against dense eigenvalues."""

import numpy as np
import pytest
import torch
from torch import nn

from gradsift.curvature import (
    GaussNewton,
    Hessian,
    SpectralDensity,
    lanczos,
    largest_eigenvalue,
    largest_eigenvalues,
)
from gradsift.errors import ModelError
from gradsift.influence import SampleGradients
from tests.support.curvature import NAMES, case, matrix, sides, times


def test_the_largest_eigenvalue_is_approached_from_below():
    a = matrix(np.array([0.1, 0.2, 0.3, 5.0]))
    found = largest_eigenvalue(times(a), sides(2, 4), steps=20)
    assert found == pytest.approx(5.0, rel=1e-8)
    assert largest_eigenvalue(times(a), sides(1, 4), steps=2) <= 5.0
    assert largest_eigenvalue(times(torch.zeros(4, 4, dtype=torch.float64)), sides(1, 4)) == 0


def test_the_spectrum_is_estimated_from_products():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double().eval()
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(30, 5, generator=generator).double(), torch.randint(3, (30,), generator=generator)
    hessian = Hessian(SampleGradients(model, data, show_progress=False).mean_loss())
    values = np.linalg.eigvalsh(hessian.dense().numpy())
    whole = lanczos(hessian, hessian.zeros(1), steps=100)
    assert whole.smallest == pytest.approx(values[0], rel=1e-6)
    assert whole.largest == pytest.approx(values[-1], rel=1e-6)
    means = [lanczos(hessian, hessian.zeros(1), seed=seed).mean_absolute for seed in range(10)]
    assert np.mean(means) == pytest.approx(np.abs(values).mean(), rel=0.2)
    short = lanczos(hessian, hessian.zeros(1), steps=3)
    assert values[0] <= short.smallest
    assert short.largest <= values[-1]


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
@pytest.mark.parametrize("name", NAMES)
def test_the_largest_eigenvalues_against_dense_ones(name, kind):
    operator = kind(SampleGradients(*case(name), show_progress=False).mean_loss())
    values, vectors = largest_eigenvalues(operator, 5, tolerance=1e-12)
    dense = operator.dense()
    assert np.allclose(values, torch.linalg.eigvalsh(dense).flip(0)[:5], atol=1e-10)
    assert np.allclose(dense.numpy() @ vectors, vectors * values, atol=1e-9)
    assert np.allclose(vectors.T @ vectors, np.eye(5), atol=1e-10)


@pytest.mark.parametrize("values", [np.linspace(-1, 3, 40), np.array([0.0] * 30 + [5.0]), np.array([2.0]), np.zeros(6)])
def test_lanczos_with_as_many_steps_as_rows_knows_the_ends_and_moments(values):
    a = matrix(values)
    found = lanczos(times(a), sides(1, len(values)), steps=len(values), seed=3)
    assert found.smallest == pytest.approx(values.min(), abs=1e-8)
    assert found.largest == pytest.approx(values.max(), abs=1e-8)
    assert found.weights.sum() == pytest.approx(1)
    vector = np.random.default_rng(3).standard_normal(len(values))
    vector /= np.linalg.norm(vector)
    for power in (1, 2, 3):
        expected = vector @ np.linalg.matrix_power(a.numpy(), power) @ vector
        assert found.weights @ found.values**power == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("values", [np.linspace(-1, 3, 50), np.array([2.0]), np.zeros(3)])
def test_the_curve_of_a_density_encloses_one(values):
    grid, heights = SpectralDensity(values, np.full(len(values), 1 / len(values))).curve()
    assert grid.shape == heights.shape == (1024,)
    assert np.isfinite(heights).all()
    assert grid[0] <= values.min() <= values.max() <= grid[-1]
    assert float(np.trapezoid(heights, grid)) == pytest.approx(1, abs=0.1)


def test_products_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match="products are not finite"):
        lanczos(lambda rows: rows * np.nan, sides(1, 4))
