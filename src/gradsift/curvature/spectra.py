"""Eigenvalues of symmetric matrices that are known by their products: a few of them, or the density of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from gradsift.curvature.operators import CurvatureOperator, Product
from gradsift.errors import ModelError
from gradsift.progress import progress

KEPT_BYTES = 128 * 2**20
"""Most bytes of Lanczos vectors that are held for orthogonalisation."""
NOT_FINITE = "the loss has no finite second derivative there; take a method without a Hessian, such as InnerProduct"


@dataclass(frozen=True)
class SpectralDensity:
    """A symmetric matrix's spectral density ``phi(t) = sum_i w_i delta(t - values_i)``: exact, or a quadrature of it.

    Attributes:
        values: Eigenvalues, or the nodes of a quadrature, in rising order, shape (k,), float64.
        weights: Their weights, which sum to one, shape (k,).
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def smallest(self) -> float:
        """The smallest eigenvalue; a quadrature's lies above the true one."""
        return float(self.values[0])

    @property
    def largest(self) -> float:
        """The largest eigenvalue; a quadrature's lies below the true one."""
        return float(self.values[-1])

    @property
    def mean_absolute(self) -> float:
        """Mean of the eigenvalues' absolute values."""
        return float(self.weights @ np.abs(self.values))

    def curve(self, points: int = 1024, *, kappa: float = 3.0, margin: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
        """The density smoothed by Gaussians, to be plotted (Papyan, JMLR 2020, section D.2).

        Args:
            points: Points of the grid.
            kappa: Their width is ``2 / (max(k - 1, 4) sqrt(8 log kappa))`` of half the range.
            margin: Share of the range that is added at both ends.

        Returns:
            Grid and density, each of shape (points,).
        """
        room = margin * (self.largest - self.smallest) or margin * max(abs(self.largest), 1e-300)
        grid = np.linspace(self.smallest - room, self.largest + room, points)
        width = (grid[-1] - grid[0]) / (max(4, len(self.values) - 1) * np.sqrt(8 * np.log(kappa)))
        bumps = np.exp(-0.5 * ((grid[:, None] - self.values) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        return grid, bumps @ self.weights


def lanczos(operator: Product, like: Tensor, *, steps: int = 20, seed: int = 0) -> SpectralDensity:
    """Estimates a spectral density from products with one random vector (stochastic Lanczos quadrature).

    ``A V = V T + rest`` with T tridiagonal (Lanczos, 1950): T's eigenvalues and the squares of its eigenvectors' first
    entries are the nodes and weights (Golub and Welsch, 1969).

    Args:
        operator: Products with A, symmetric.
        like: Shape (m, p), for size, dtype and device.
        steps: Products, at most as many as the matrix has rows.
        seed: Seed of the random vector.

    Returns:
        The estimate; its ends lie inside the true ones.

    Raises:
        ModelError: Products are NaN or infinite.
    """
    size = like.shape[1]
    keeps = 4 * size * steps <= KEPT_BYTES
    vector = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, size))).to(like)
    basis, beta = [vector / vector.norm()], 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, size)):
        vector = basis[-1]
        product = operator(vector)
        diagonal.append(float((product * vector).sum()))
        rest = product - diagonal[-1] * vector - (beta * basis[-2] if beta else 0)
        if keeps:  # rounding would make the estimates depend on the order of the samples
            rest = rest - sum(((rest * vector).sum() * vector for vector in basis), torch.zeros_like(rest))
        beta = float(rest.norm())
        if beta <= 1e-6 * max(map(abs, diagonal)):
            break
        beside.append(beta)
        basis = [*(basis if keeps else basis[-1:]), rest / beta]
    if not np.isfinite(diagonal).all():
        raise ModelError(f"the matrix's products are not finite: {NOT_FINITE}")
    side = beside[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(side, 1) + np.diag(side, -1))
    return SpectralDensity(values, vectors[0] ** 2)


def largest_eigenvalue(operator: Product, like: Tensor, *, steps: int = 8, seed: int = 0) -> float:
    """Estimates the largest eigenvalue of a positive semi-definite matrix by power iteration, from below.

    Args:
        operator: Products with A.
        like: Shape (m, p), for size, dtype and device.
        steps: Products.
        seed: Seed of the first vector.

    Returns:
        ``|A x|`` for the last unit vector x; 0 for the zero matrix.
    """
    drawn = np.random.default_rng(seed).standard_normal((1, like.shape[1]))
    vector, length = torch.from_numpy(drawn).to(like), 0.0
    vector = vector / vector.norm()
    for _ in range(steps):
        vector = operator(vector)
        length = float(vector.norm())
        if not np.isfinite(length) or length == 0:
            break
        vector = vector / length
    return length


def largest_eigenvalues(
    operator: CurvatureOperator,
    count: int,
    *,
    tolerance: float = 1e-6,
    seed: int | np.random.Generator = 0,
    show_progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues and their eigenvectors, by ARPACK (Lanczos with restarts).

    Args:
        operator: The matrix.
        count: How many, below its number of rows.
        tolerance: Relative accuracy of eigenvalues.
        seed: Seed or generator of the first vector.
        show_progress: Whether to show a progress bar.

    Returns:
        Eigenvalues in falling order, shape (count,), float64; orthonormal columns, shape (p, count).

    Raises:
        ModelError: A product is NaN or infinite.
    """
    like = operator.zeros(0)
    begin = np.random.default_rng(seed).standard_normal(operator.size).astype(like.cpu().numpy().dtype)
    with progress(f"{operator.name} eigenvalues", 3 * count, unit="products", show=show_progress) as bar:

        def product(vector: np.ndarray) -> np.ndarray:
            column = operator(torch.from_numpy(vector.reshape(1, -1)).to(like))[0].cpu().numpy()
            if not np.isfinite(column).all():
                raise ModelError(
                    f"a product with the {operator.name} is NaN or infinite: the loss or a layer overflows"
                )
            bar.advance()
            return column

        matrix = LinearOperator((operator.size, operator.size), matvec=product, dtype=begin.dtype)
        basis = min(operator.size, max(2 * count + 1, 20))
        values, vectors = eigsh(matrix, k=count, which="LA", v0=begin, ncv=basis, tol=tolerance)
    order = np.argsort(-values)
    return values[order].astype(np.float64), vectors[:, order]
