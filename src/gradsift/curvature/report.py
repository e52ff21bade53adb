"""How linear systems were solved: the best vector of every right-hand side, and how its search has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradsift.curvature.operators import Product
from gradsift.errors import SettingError

End = Literal["converged", "step limit", "negative curvature", "diverged"]


@dataclass(frozen=True)
class SolverReport:
    """How solutions of ``(A + lambda I) x = b`` were found.

    Attributes:
        steps: Steps taken, over all restarts; the most that a right-hand side took.
        residuals: ``|b - (A + lambda I) x| / |b|`` of every returned vector; 0 where b is zero.
        ends: How every side ended: ``"converged"``, ``"step limit"``, ``"negative curvature"`` or ``"diverged"``.
        products: Products with A of one vector.
        scale: Step length mu of a fixed point; ``None`` for other solvers.
        restarts: How often mu was halved, because residuals grew.
    """

    steps: int
    residuals: tuple[float, ...]
    ends: tuple[End, ...]
    products: int
    scale: float | None = None
    restarts: int = 0

    @property
    def converged(self) -> bool:
        """Whether every side reached the tolerance."""
        return all(end == "converged" for end in self.ends)

    @property
    def diverged(self) -> int:
        """How many sides were given up: A is indefinite in their directions, or residuals have grown."""
        return sum(end in ("negative curvature", "diverged") for end in self.ends)


class Search:
    """What iterative solvers share: which of m right-hand sides still move, and the best vector of each so far.

    Args:
        sides: The right-hand sides b, shape (m, p).
        tolerance: Relative residual at which a side is solved.

    Attributes:
        lengths: ``|b|``, shape (m,), float64.
        best: The vectors of the smallest residuals, zeros at first, shape (m, p).
        residuals: Their residuals' lengths, shape (m,), float64.
    """

    def __init__(self, sides: Tensor, tolerance: float) -> None:
        self.lengths, self._tolerance = norms(sides), tolerance
        self.best, self.residuals = torch.zeros_like(sides), self.lengths.clone()
        self._active = self.lengths > 0
        self._ends: list[End] = ["step limit"] * len(sides)
        self.end(self.lengths == 0, "converged")
        self.end(~torch.isfinite(self.lengths), "diverged")

    @property
    def rows(self) -> Tensor:
        """Numbers of the sides that still move."""
        return self._active.nonzero()[:, 0]

    def offer(self, rows: Tensor, vectors: Tensor, residuals: Tensor) -> None:
        """Keeps vectors that are better than the best so far, and ends sides that are solved.

        Args:
            rows: Numbers of the sides.
            vectors: Their vectors, shape (len(rows), p).
            residuals: Lengths of the vectors' residuals.
        """
        better = residuals < self.residuals[rows]
        self.best[rows[better]], self.residuals[rows[better]] = vectors[better], residuals[better]
        self.end(rows[residuals <= self._tolerance * self.lengths[rows]], "converged")

    def end(self, rows: Tensor, how: End) -> None:
        """Ends sides.

        Args:
            rows: Their numbers, or a mask of all sides.
            how: How.
        """
        self._active[rows] = False
        for row in (rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows).tolist():
            self._ends[row] = how

    def report(self, steps: int, products: int, *, scale: float | None = None, restarts: int = 0) -> SolverReport:
        """How the search has gone.

        Args:
            steps: As in :class:`SolverReport`.
            products: As there.
            scale: As there.
            restarts: As there.

        Returns:
            The report.
        """
        relative = self.residuals.nan_to_num(torch.inf) / self.lengths.clamp_min(torch.finfo(torch.float64).tiny)
        return SolverReport(steps, tuple(relative.tolist()), tuple(self._ends), products, scale, restarts)


def damped(operator: Product, damping: float) -> Product:
    """``(A + lambda I) x``.

    Args:
        operator: Products with A.
        damping: Lambda.

    Returns:
        Products with the sum.
    """
    return (lambda rows: operator(rows) + damping * rows) if damping else operator


def norms(rows: Tensor) -> Tensor:
    """Lengths of the rows of a matrix.

    Args:
        rows: Shape (m, p).

    Returns:
        Shape (m,), float64.
    """
    return rows.double().norm(dim=1)


def check_limits(max_steps: int, tolerance: float) -> None:
    """Refuses limits of an iterative solver that are outside their range.

    Args:
        max_steps: Most steps.
        tolerance: Relative residual at which a side is solved.

    Raises:
        SettingError: One of them is.
    """
    if max_steps < 1 or not 0 <= tolerance < 1:
        raise SettingError(f"max_steps must be at least 1 and tolerance in [0, 1); given {max_steps} and {tolerance}")
