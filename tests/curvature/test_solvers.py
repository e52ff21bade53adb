"""Every solver on a table of matrices against dense inverses; where they stop, and what they report."""

import numpy as np
import pytest
import torch

from gradsift.curvature import Eigendecomposition, conjugate_gradients, fixed_point, lissa
from gradsift.errors import ModelError, SettingError
from tests.support.curvature import matrix, sides, times

VALUES = np.linspace(0.5, 4.0, 8)


def exact(operator, sides, *, damping=0.0, tolerance=0.0, max_steps=0):
    matrix = operator(torch.eye(sides.shape[1], dtype=sides.dtype))
    return Eigendecomposition.of(matrix).damped(damping).solve(sides)


def neumann(operator, sides, **settings):
    return lissa(operator, sides, scale=5.0, **settings)


SOLVERS = {"conjugate gradients": conjugate_gradients, "fixed point": fixed_point, "LiSSA": neumann, "exact": exact}
MATRICES = {
    "evenly spread": (VALUES, 0.0),
    "repeated": (np.array([1.0, 1.0, 3.0, 3.0, 3.0]), 0.0),
    "one row": (np.array([2.0]), 0.0),
    "singular and damped": (np.array([0.0, 0.0, 1.0, 2.0]), 0.5),
    "indefinite and damped": (np.array([-0.5, 0.1, 1.0, 4.0]), 0.8),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_solver_reaches_the_solution_of_every_side(solver, name, dtype):
    values, damping = MATRICES[name]
    a, b = matrix(values), sides(3, len(values))
    tolerance = 1e-11 if dtype == torch.float64 else 1e-5
    found, report = SOLVERS[solver](
        times(a.to(dtype)), b.to(dtype), damping=damping, max_steps=3000, tolerance=tolerance
    )
    expected = np.linalg.solve(a.numpy() + damping * np.eye(len(values)), b.numpy().T).T
    assert found.dtype == dtype
    assert np.allclose(found, expected, rtol=100 * tolerance, atol=100 * tolerance)
    assert report.converged
    assert not report.diverged
    assert report.ends == ("converged",) * 3
    assert max(report.residuals) <= max(tolerance, 1e-6 if dtype == torch.float32 else 1e-12)
    assert report.restarts == 0


def test_a_singular_matrix_gives_the_pseudoinverse():
    a = matrix(np.array([0.0, 0.0, 1.0, 2.0, 3.0]))
    b = sides(2, 5) @ a
    expected = b.numpy() @ np.linalg.pinv(a.numpy(), rcond=1e-10)
    for found, _ in (
        fixed_point(times(a), b, max_steps=500, tolerance=1e-11),
        conjugate_gradients(times(a), b, tolerance=1e-11),
    ):
        assert np.allclose(found, expected, atol=1e-9)


def test_a_fixed_number_of_steps_is_the_filter_that_is_documented():
    a, b = matrix(VALUES), sides(2, 8)
    found, report = fixed_point(times(a), b, max_steps=7, tolerance=0.0)
    values, basis = np.linalg.eigh(a.numpy())
    kept = (1 - (1 - report.scale * values) ** 7) / values
    assert np.allclose(found, b.numpy() @ basis @ np.diag(kept) @ basis.T)
    assert report.steps == 7
    assert report.ends == ("step limit",) * 2
    left = np.linalg.norm(b.numpy() - found.numpy() @ a.numpy(), axis=1) / np.linalg.norm(b.numpy(), axis=1)
    assert np.allclose(report.residuals, left)


def test_a_step_that_is_too_long_is_halved_until_it_works():
    a, b = matrix(VALUES), sides(2, 8)
    found, report = fixed_point(times(a), b, scale=3.0, max_steps=2000, tolerance=1e-10)
    assert report.restarts == 3  # 3 -> 0.375 < 2 / 4
    assert report.scale == pytest.approx(3.0 / 8)
    assert report.converged
    assert np.allclose(found, np.linalg.solve(a.numpy(), b.numpy().T).T, rtol=1e-8)


def test_divergence_is_stopped_and_the_best_vector_kept():
    a, b = matrix(np.array([-1.0, 0.5, 1.0, 2.0])), sides(2, 4)
    found, report = fixed_point(times(a), b, max_steps=400, tolerance=1e-8, max_restarts=3)
    assert report.diverged == 2
    assert report.ends == ("diverged",) * 2
    assert report.restarts == 3
    assert report.steps < 400
    left = torch.linalg.norm(b - found @ a, dim=1) / torch.linalg.norm(b, dim=1)
    assert np.allclose(report.residuals, left)
    assert max(report.residuals) <= 1
    _, report = conjugate_gradients(times(a), torch.from_numpy(np.linalg.eigh(a.numpy())[1][:, :1].T.copy()))
    assert report.diverged


def test_products_that_are_not_finite_end_the_iteration():
    found, report = fixed_point(lambda rows: rows * np.nan, sides(1, 4), scale=0.1)
    assert report.diverged
    assert torch.equal(found, torch.zeros_like(found))


def test_a_side_of_zeros_is_solved_by_zeros():
    a = matrix(VALUES)
    b = torch.cat([sides(1, 8), torch.zeros(1, 8, dtype=torch.float64)])
    for solve in SOLVERS.values():
        found, report = solve(times(a), b, tolerance=1e-6, max_steps=300)
        assert not found[1].any()
        assert report.converged
        assert report.residuals[1] == 0


def test_products_are_counted():
    calls = []

    def operator(rows):
        calls.append(len(rows))
        return rows @ matrix(VALUES)

    _, report = fixed_point(operator, sides(3, 8), max_steps=9, tolerance=0.0, scale=1.9)
    assert report.products == sum(calls)
    calls.clear()
    _, report = conjugate_gradients(operator, sides(3, 8), max_steps=4)
    assert report.products == sum(calls) == 12


def test_a_measured_residual_takes_one_more_product():
    a, b = matrix(VALUES), sides(2, 8)
    found, report = conjugate_gradients(times(a), b, max_steps=3, measure=True)
    left = torch.linalg.norm(b - found @ a, dim=1) / torch.linalg.norm(b, dim=1)
    assert np.allclose(report.residuals, left, rtol=1e-12)
    assert report.products == 8


@pytest.mark.parametrize("solve", [fixed_point, conjugate_gradients, neumann])
def test_a_side_that_is_not_finite_ends_at_once_and_leaves_the_others_alone(solve):
    a, b = matrix(VALUES), sides(2, 8)
    b[0, 3] = torch.nan
    found, report = solve(times(a), b, tolerance=1e-9, max_steps=500)
    assert report.ends == ("diverged", "converged")
    assert np.allclose(found[1], np.linalg.solve(a.numpy(), b[1].numpy()))


@pytest.mark.parametrize("damping", [-1.0, -2.0 - 1e-9])
def test_a_matrix_that_is_singular_with_its_damping_is_refused(damping):
    with pytest.raises(SettingError, match=r"is singular.*give a larger damping"):
        Eigendecomposition.of(torch.diag(torch.tensor([1.0, 2.0, 3.0]))).damped(damping)


def test_a_matrix_that_is_not_finite_is_refused():
    with pytest.raises(ModelError, match="not finite"):
        Eigendecomposition.of(torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]]))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 0},
        {"tolerance": 1.0},
        {"scale": 0.0},
        {"relaxation": 2.0},
        {"power_steps": 0},
        {"max_restarts": -1},
    ],
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(SettingError, match="given"):
        fixed_point(times(matrix(VALUES)), sides(1, 8), **settings)
