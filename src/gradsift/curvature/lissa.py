"""LiSSA: a damped system solved by a recursion over random batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsift.curvature.operators import Product
from gradsift.curvature.report import End, Search, SolverReport, check_limits, damped, norms
from gradsift.progress import progress

CHECKS = 10
"""How often a stochastic recursion's residual is measured on all samples."""
DIVERGED = 10.0
"""A residual this many times as long as the right-hand side counts as divergence."""


def lissa(
    operator: Product,
    sides: Tensor,
    *,
    scale: float,
    damping: float = 0.0,
    max_steps: int = 1000,
    tolerance: float = 1e-4,
    draw: Callable[[np.random.Generator], Product] | None = None,
    repeats: int = 1,
    seed: int = 0,
    show_progress: bool = False,
) -> tuple[Tensor, SolverReport]:
    """Solves ``(A + lambda I) x = b`` by the Neumann recursion of LiSSA (Agarwal et al., arXiv 1602.03943).

    ``x_0 = b / s, x_{k+1} = x_k + (b - (A_k + lambda I) x_k) / s`` with ``A_k`` the matrix of a random batch. With A itself
    at each step its fixed point is the solution, reached where ``A + lambda I`` is positive definite and s is above half
    its largest eigenvalue. A recursion that diverges is stopped; the best iterate that was measured on A is used.

    Args:
        operator: Products with A.
        sides: The right-hand sides b, shape (m, p).
        scale: s.
        damping: Lambda.
        max_steps: Most steps.
        tolerance: Relative residual at which a recursion ends early.
        draw: Gives products with the matrix of a batch that a generator draws; A itself at each step where left out.
        repeats: Recursions with batches of their own, whose results are averaged; one where nothing is drawn.
        seed: Seed of the batches.
        show_progress: Whether to show a progress bar.

    Returns:
        The vectors, shape (m, p), and how they were found: the worst residual of the repeats, and every repeat's ends.

    Raises:
        SettingError: A limit is outside its range.

    Example:
        >>> import torch
        >>> from gradsift.curvature import lissa
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> vectors, report = lissa(lambda rows: rows @ matrix, torch.tensor([[4.0, 7.0]]), scale=4.0)
        >>> [round(value, 2) for value in vectors[0].tolist()], report.ends
        ([1.0, 2.0], ('converged',))
    """
    check_limits(max_steps, tolerance)
    repeats = repeats if draw else 1
    mean, reports = torch.zeros_like(sides), []
    with progress("LiSSA", max_steps * repeats, unit="steps", show=show_progress) as bar:
        for repeat in range(repeats):
            generator = np.random.default_rng([seed, repeat])
            batches = (damped(draw(generator), damping) for _ in range(max_steps)) if draw else None
            vectors, report = _recursion(damped(operator, damping), sides, scale, max_steps, tolerance, batches, bar)
            mean += vectors / repeats
            reports.append(report)
    ends: list[End] = [end for report in reports for end in report.ends]
    return mean, SolverReport(
        steps=max(report.steps for report in reports),
        residuals=tuple(max(residuals) for residuals in zip(*(report.residuals for report in reports), strict=True)),
        ends=tuple(ends),
        products=sum(report.products for report in reports),
        scale=1 / scale,
    )


def _recursion(
    multiply: Product,
    sides: Tensor,
    scale: float,
    max_steps: int,
    tolerance: float,
    batches: Iterator[Product] | None,
    bar: Any,
) -> tuple[Tensor, SolverReport]:
    """One recursion; a residual on all samples is measured at every step, or ten times where batches are drawn."""
    search, iterate, residual = Search(sides, tolerance), sides / scale, sides.clone()
    search.best = iterate.clone()
    search.residuals[search.rows] = torch.inf
    every, steps, products = max(1, max_steps // CHECKS) if batches else 1, 0, 0
    while len(rows := search.rows):
        if steps % every == 0 or steps == max_steps:
            residual[rows] = sides[rows] - multiply(iterate[rows])
            products += len(rows)
            lengths = norms(residual[rows])
            search.offer(rows, iterate[rows], lengths)
            search.end(rows[~(lengths <= DIVERGED * search.lengths[rows])], "diverged")
            rows = search.rows
        if steps == max_steps or not len(rows):
            break
        if batches:
            residual[rows] = sides[rows] - next(batches)(iterate[rows])
            products += len(rows)
        iterate[rows] += residual[rows] / scale
        steps += 1
        bar.advance()
    return search.best, search.report(steps, products)
