"""Solving ``A x = b`` for a positive semi-definite matrix that is known by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradsift.errors import SettingError
from gradsift.progress import progress

Operator = Callable[[Tensor], Tensor]
"""Takes m vectors, shape (m, p), to ``A x`` for each."""
End = Literal["converged", "step limit", "diverged"]

GROWTH = 1 + 1e-6
"""A residual that grows by more than rounding shows that the step is too long: below 2 / lambda_max it only falls."""


@dataclass(frozen=True)
class SolverReport:
    """How a solution was found.

    Attributes:
        steps: Steps taken, over all restarts.
        residuals: ``|b - A x| / |b|`` of every side's returned vector; 0 where b is zero.
        ends: How every side ended: ``"converged"``, ``"step limit"``, ``"diverged"``.
        scale: Length mu of the fixed point's last step; ``None`` for conjugate gradients.
        restarts: How often mu was halved, because residuals grew.
        products: Products with A of one vector, those for lambda_max included.
    """

    steps: int
    residuals: tuple[float, ...]
    ends: tuple[End, ...]
    scale: float | None
    restarts: int
    products: int

    @property
    def converged(self) -> bool:
        """Whether every side reached the tolerance."""
        return all(end == "converged" for end in self.ends)

    @property
    def diverged(self) -> bool:
        """Whether a side was given up."""
        return "diverged" in self.ends


def largest_eigenvalue(operator: Operator, like: Tensor, *, steps: int = 8, seed: int = 0) -> float:
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
    vector, found = torch.from_numpy(drawn).to(like), 0.0
    vector = vector / vector.norm()
    for _ in range(steps):
        vector = operator(vector)
        found = float(vector.norm())
        if not np.isfinite(found) or found == 0:
            break
        vector = vector / found
    return found


def fixed_point(
    operator: Operator,
    sides: Tensor,
    *,
    max_steps: int = 30,
    tolerance: float = 1e-4,
    scale: float | Literal["auto"] = "auto",
    relaxation: float = 0.9,
    power_steps: int = 6,
    max_restarts: int = 8,
    seed: int = 0,
    show_progress: bool = False,
) -> tuple[Tensor, SolverReport]:
    """Richardson's iteration ``x_0 = 0, x_{k+1} = x_k + mu (b - A x_k)``, whose limit is ``A^+ b`` for b in A's range.

    The k-th iterate is ``sum_i (1 - (1 - mu l_i)^k) / l_i <u_i, b> u_i`` over A's eigenpairs: eigenvalues above
    ``1 / (k mu)`` are inverted and smaller ones are cut at ``k mu``. Stopping early regularises, so ``max_steps`` is a
    setting of the method rather than of its accuracy. This is the iteration of Lyu et al. (arXiv 2312.05586) with
    ``mu = 1 / c^2`` where the authors divide the losses by c.

    ``mu = relaxation / lambda_max``, with lambda_max by power iteration. Where a residual grows, mu is halved and the
    iteration goes on from the best vectors. All sides share mu; one that has converged is left alone.

    Args:
        operator: Products with A, positive semi-definite.
        sides: The right-hand sides b, shape (m, p).
        max_steps: Most steps, over all restarts.
        tolerance: Relative residual at which a side is solved.
        scale: mu, or ``"auto"``.
        relaxation: Share of ``1 / lambda_max`` that an automatic mu is, in (0, 2).
        power_steps: Products for lambda_max.
        max_restarts: How often mu may be halved before a side counts as diverged.
        seed: Seed of the power iteration.
        show_progress: Whether to show a progress bar.

    Returns:
        The vectors of the smallest residuals, shape (m, p), and how they were found.

    Raises:
        SettingError: A setting is outside its range.
    """
    _check(max_steps, tolerance)
    if scale != "auto" and not 0 < scale < np.inf:
        raise SettingError(f'scale must be "auto" or a number above 0; given {scale}')
    if not 0 < relaxation < 2 or power_steps < 1 or max_restarts < 0:
        raise SettingError(
            f"relaxation must lie in (0, 2), power_steps be 1 or more and max_restarts 0 or more; given {relaxation}, "
            f"{power_steps}, {max_restarts}"
        )
    products = 0
    if scale == "auto":
        largest = largest_eigenvalue(operator, sides, steps=power_steps, seed=seed)
        products, scale = power_steps, relaxation / largest if largest > 0 else 1.0
    lengths = _norms(sides)
    best, found, residual = torch.zeros_like(sides), torch.zeros_like(sides), sides.clone()
    best_residual, before = lengths.clone(), lengths.clone()
    active, lost = lengths > 0, ~torch.isfinite(lengths)
    steps = restarts = 0
    with progress("fixed point", max_steps, unit="steps", show=show_progress) as bar:
        while steps < max_steps and bool(active.any()):
            rows = active.nonzero()[:, 0]
            found[rows] += scale * residual[rows]
            residual[rows] = sides[rows] - operator(found[rows])
            after, steps, products = _norms(residual[rows]), steps + 1, products + len(rows)
            bar.advance()
            grown = ~(after <= GROWTH * before[rows])
            better = after < best_residual[rows]
            best[rows[better]], best_residual[rows[better]] = found[rows[better]], after[better]
            before[rows] = after
            active[rows[after <= tolerance * lengths[rows]]] = False
            if not bool(grown.any()):
                continue
            if restarts == max_restarts:
                lost[rows[grown]], active[rows[grown]] = True, False
                continue
            scale, restarts = scale / 2, restarts + 1
            again = rows[grown]
            if steps < max_steps:
                found[again], before[again] = best[again], best_residual[again]
                residual[again] = sides[again] - operator(best[again])
                products += len(again)
    return best, _report(best_residual, lengths, tolerance, lost, steps, scale, restarts, products)


def conjugate_gradients(
    operator: Operator, sides: Tensor, *, max_steps: int = 100, tolerance: float = 1e-8, show_progress: bool = False
) -> tuple[Tensor, SolverReport]:
    """Conjugate gradients (Hestenes and Stiefel, 1952) from zero, which reach a small residual in far fewer products.

    They fit the parts of b with large eigenvalues first, too, but how far they have come is a matter of b, so that a
    truncated answer is not linear in it.

    Args:
        operator: Products with A, positive semi-definite.
        sides: The right-hand sides b, shape (m, p).
        max_steps: Most steps.
        tolerance: Relative residual at which a side is solved.
        show_progress: Whether to show a progress bar.

    Returns:
        The vectors of the smallest residuals, shape (m, p), and how they were found; a side that meets a direction without
        positive curvature has ``"diverged"``.

    Raises:
        SettingError: A setting is outside its range.
    """
    _check(max_steps, tolerance)
    lengths = _norms(sides)
    best, found, residual, search = (torch.zeros_like(sides), torch.zeros_like(sides), sides.clone(), sides.clone())
    best_residual, squares = lengths.clone(), lengths.square()
    active, lost = lengths > 0, ~torch.isfinite(lengths)
    steps = products = 0
    with progress("conjugate gradients", max_steps, unit="steps", show=show_progress) as bar:
        while steps < max_steps and bool(active.any()):
            rows = active.nonzero()[:, 0]
            product = operator(search[rows])
            steps, products = steps + 1, products + len(rows)
            bar.advance()
            bend = (search[rows].double() * product.double()).sum(dim=1)
            flat = ~(bend > 0)
            lost[rows[flat]], active[rows[flat]] = True, False
            rows, product, bend = rows[~flat], product[~flat], bend[~flat]
            step = (squares[rows] / bend)[:, None].to(sides)
            found[rows] += step * search[rows]
            residual[rows] -= step * product
            after = _norms(residual[rows])
            search[rows] = residual[rows] + (after.square() / squares[rows])[:, None].to(sides) * search[rows]
            squares[rows] = after.square()
            better = after < best_residual[rows]
            best[rows[better]], best_residual[rows[better]] = found[rows[better]], after[better]
            active[rows[after <= tolerance * lengths[rows]]] = False
    return best, _report(best_residual, lengths, tolerance, lost, steps, None, 0, products)


def _check(max_steps: int, tolerance: float) -> None:
    if max_steps < 1 or not 0 <= tolerance < 1:
        raise SettingError(
            f"max_steps must be 1 or more and tolerance lie in [0, 1); given {max_steps} and {tolerance}"
        )


def _norms(rows: Tensor) -> Tensor:
    return rows.double().norm(dim=1)


def _report(
    residuals: Tensor,
    lengths: Tensor,
    tolerance: float,
    lost: Tensor,
    steps: int,
    scale: float | None,
    restarts: int,
    products: int,
) -> SolverReport:
    done = residuals <= tolerance * lengths
    ends: list[End] = [
        "converged" if solved else "diverged" if gone else "step limit"
        for solved, gone in zip(done.tolist(), lost.tolist(), strict=True)
    ]
    shares = residuals.nan_to_num(torch.inf) / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
    return SolverReport(steps, tuple(shares.tolist()), tuple(ends), scale, restarts, products)
