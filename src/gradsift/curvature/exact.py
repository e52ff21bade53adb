"""The exact inverse of a symmetric matrix, by its eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradsift.curvature.report import End, SolverReport, norms
from gradsift.curvature.spectra import NOT_FINITE, SpectralDensity
from gradsift.errors import ModelError, SettingError


@dataclass(frozen=True)
class Eigendecomposition:
    """A symmetric matrix as ``V diag(values) V^T``, by which systems are solved in two products of matrices.

    Attributes:
        values: Eigenvalues in rising order, shape (p,), float64.
        vectors: Orthonormal columns, shape (p, p), float64.
        precision: Relative rounding of the matrix that was decomposed.

    Example:
        >>> import torch
        >>> from gradsift.curvature import Eigendecomposition
        >>> matrix = Eigendecomposition.of(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
        >>> vectors, report = matrix.damped(0.5).solve(torch.tensor([[4.5, 8.0]]))
        >>> [round(value, 4) for value in vectors[0].tolist()]
        [1.0, 2.0]
    """

    values: Tensor
    vectors: Tensor
    precision: float

    @classmethod
    def of(cls, matrix: Tensor) -> Eigendecomposition:
        """Decomposes, by p^3 operations.

        Args:
            matrix: Shape (p, p), symmetric.

        Returns:
            The decomposition.

        Raises:
            ModelError: The matrix is not finite.
        """
        if not torch.isfinite(matrix).all():
            raise ModelError(f"the matrix's entries are not finite: {NOT_FINITE}")
        values, vectors = torch.linalg.eigh(matrix.double())
        return cls(values, vectors, 10 * torch.finfo(matrix.dtype).eps)

    @property
    def density(self) -> SpectralDensity:
        """The spectral density, in which all eigenvalues count alike."""
        return SpectralDensity(self.values.cpu().numpy(), np.full(len(self.values), 1 / len(self.values)))

    def damped(self, damping: float) -> Eigendecomposition:
        """The matrix with a multiple of the identity added, which can be inverted.

        Args:
            damping: Lambda.

        Returns:
            Its decomposition.

        Raises:
            SettingError: It is singular.
        """
        values = self.values + damping
        if values.abs().min() <= self.precision * values.abs().max():
            raise SettingError(
                f"the matrix with damping {damping:.3g} is singular (eigenvalues from {float(values.min()):.3g} to "
                f'{float(values.max()):.3g}): give a larger damping, or "auto"'
            )
        return Eigendecomposition(values, self.vectors, self.precision)

    def solve(self, sides: Tensor) -> tuple[Tensor, SolverReport]:
        """Solves ``A x = b`` for a matrix without zero eigenvalues.

        Args:
            sides: The right-hand sides b, shape (m, p).

        Returns:
            The vectors, shape (m, p) and in the sides' precision, and their residuals.
        """
        parts = sides.to(self.vectors) @ self.vectors
        solved = (parts / self.values @ self.vectors.T).to(sides.dtype)
        left = norms(parts - solved.to(self.vectors) @ self.vectors * self.values)
        relative = left / norms(parts).clamp_min(torch.finfo(torch.float64).tiny)
        ends: list[End] = ["converged"] * len(sides)
        return solved, SolverReport(0, tuple(relative.tolist()), tuple(ends), 0)
