"""Richardson's fixed point: a positive semi-definite system solved by steps along its residual."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradsift.curvature.operators import Product
from gradsift.curvature.report import Search, SolverReport, check_limits, damped, norms
from gradsift.curvature.spectra import largest_eigenvalue
from gradsift.errors import SettingError
from gradsift.progress import progress

GROWTH = 1 + 1e-6
"""A residual that grows by more than rounding shows that the step is too long: below 2 / lambda_max it only falls."""


def fixed_point(
    operator: Product,
    sides: Tensor,
    *,
    damping: float = 0.0,
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
        damping: What is added to A's diagonal.
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

    Example:
        >>> import torch
        >>> from gradsift.curvature import fixed_point
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> vectors, report = fixed_point(lambda rows: rows @ matrix, torch.tensor([[4.0, 7.0]]), max_steps=100)
        >>> [round(value, 2) for value in vectors[0].tolist()], report.ends
        ([1.0, 2.0], ('converged',))
    """
    check_limits(max_steps, tolerance)
    _check(scale, relaxation, power_steps, max_restarts)
    multiply, products = damped(operator, damping), 0
    if scale == "auto":
        largest = largest_eigenvalue(multiply, sides, steps=power_steps, seed=seed)
        products, scale = power_steps, relaxation / largest if largest > 0 else 1.0
    search = Search(sides, tolerance)
    iterate, residual, before = torch.zeros_like(sides), sides.clone(), search.lengths.clone()
    steps = restarts = 0
    with progress("fixed point", max_steps, unit="steps", show=show_progress) as bar:
        while steps < max_steps and len(rows := search.rows):
            iterate[rows] += scale * residual[rows]
            residual[rows] = sides[rows] - multiply(iterate[rows])
            lengths, steps, products = norms(residual[rows]), steps + 1, products + len(rows)
            bar.advance()
            again = rows[~(lengths <= GROWTH * before[rows])]
            before[rows] = lengths
            search.offer(rows, iterate[rows], lengths)
            if not len(again):
                continue
            if restarts == max_restarts:
                search.end(again, "diverged")
                continue
            scale, restarts = scale / 2, restarts + 1
            iterate[again], before[again] = search.best[again], search.residuals[again]
            if steps < max_steps:
                residual[again] = sides[again] - multiply(search.best[again])
                products += len(again)
    return search.best, search.report(steps, products, scale=scale, restarts=restarts)


def _check(scale: float | Literal["auto"], relaxation: float, power_steps: int, max_restarts: int) -> None:
    if scale != "auto" and not 0 < scale < np.inf:
        raise SettingError(f'scale must be "auto" or a number above 0; given {scale}')
    if not 0 < relaxation < 2 or power_steps < 1 or max_restarts < 0:
        raise SettingError(
            f"relaxation must lie in (0, 2), power_steps be 1 or more and max_restarts 0 or more; given {relaxation}, "
            f"{power_steps}, {max_restarts}"
        )
