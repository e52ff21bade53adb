"""Conjugate gradients: a symmetric system solved with far fewer products than the matrix has rows."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsift.curvature.operators import Product
from gradsift.curvature.report import Search, SolverReport, check_limits, damped, norms
from gradsift.progress import progress


def conjugate_gradients(
    operator: Product,
    sides: Tensor,
    *,
    damping: float = 0.0,
    max_steps: int = 100,
    tolerance: float = 1e-8,
    divergence: float = torch.inf,
    measure: bool = False,
    show_progress: bool = False,
) -> tuple[Tensor, SolverReport]:
    """Solves ``(A + lambda I) x = b`` by conjugate gradients (Hestenes and Stiefel, 1952).

    From ``x_0 = 0, r_0 = p_0 = b`` and with the damped matrix for A: ``a = |r|^2 / p^T A p, x += a p, r' = r - a A p,
    p = r' + |r'|^2 / |r|^2 p``. All right-hand sides share each pass over the data.

    A side stops where ``|r| <= tolerance |b|``, where ``p^T A p <= 0``, which shows that A is indefinite, or where r is
    ``divergence`` times as long as b; the iterate with the smallest residual is used. Where the first direction, b itself,
    has negative curvature, ``|b|^2 / |b^T A b| b`` is all that is known. Large eigenvalues are fitted first, but how far a
    truncated answer has come is a matter of b, so that it is not linear in it.

    Args:
        operator: Products with A, symmetric.
        sides: The right-hand sides b, shape (m, p).
        damping: Lambda.
        max_steps: Most steps.
        tolerance: Relative residual at which a side is solved.
        divergence: Relative residual at which a side is given up.
        measure: Whether the report's residuals are measured by a product at the end; the recursion's otherwise.
        show_progress: Whether to show a progress bar.

    Returns:
        The vectors, shape (m, p), and how they were found.

    Raises:
        SettingError: A limit is outside its range.

    Example:
        >>> import torch
        >>> from gradsift.curvature import conjugate_gradients
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> sides = torch.tensor([[4.0, 7.0]])
        >>> vectors, report = conjugate_gradients(lambda rows: rows @ matrix, sides, tolerance=1e-5)
        >>> [round(value, 4) for value in vectors[0].tolist()], report.ends, report.steps
        ([1.0, 2.0], ('converged',), 2)
    """
    check_limits(max_steps, tolerance)
    multiply, search = damped(operator, damping), Search(sides, tolerance)
    iterate, residual, direction = torch.zeros_like(sides), sides.clone(), sides.clone()
    squares = search.lengths.square()
    steps = products = 0
    with progress("conjugate gradients", max_steps, unit="steps", show=show_progress) as bar:
        while steps < max_steps and len(rows := search.rows):
            product = multiply(direction[rows])
            curvature = (direction[rows].double() * product.double()).sum(dim=1)
            steps, products = steps + 1, products + len(rows)
            bar.advance()
            if steps == 1:
                _keep_first(search, sides, product, curvature, rows)
            search.end(rows[curvature <= 0], "negative curvature")
            search.end(rows[curvature.isnan()], "diverged")
            rows, product, curvature = (part[curvature > 0] for part in (rows, product, curvature))
            step = (squares[rows] / curvature)[:, None].to(sides)
            iterate[rows] += step * direction[rows]
            residual[rows] -= step * product
            lengths = norms(residual[rows])
            direction[rows] = residual[rows] + (lengths.square() / squares[rows])[:, None].to(sides) * direction[rows]
            squares[rows] = lengths.square()
            search.offer(rows, iterate[rows], lengths)
            search.end(rows[~(lengths <= divergence * search.lengths[rows])], "diverged")
    if measure:
        search.residuals = norms(sides - multiply(search.best))
        products += len(sides)
    return search.best, search.report(steps, products)


def _keep_first(search: Search, sides: Tensor, product: Tensor, curvature: Tensor, rows: Tensor) -> None:
    """Takes ``|b|^2 / |b^T A b| b`` for sides whose own curvature is negative."""
    bent = curvature < 0
    step = (search.lengths[rows[bent]].square() / -curvature[bent])[:, None].to(sides)
    search.best[rows[bent]] = step * sides[rows[bent]]
    search.residuals[rows[bent]] = norms(sides[rows[bent]] - step * product[bent])
