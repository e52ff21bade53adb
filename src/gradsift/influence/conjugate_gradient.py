"""The influence function with the damped Hessian inverted by conjugate gradients, without forming it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradsift.errors import SettingError
from gradsift.influence.damped import Curvature, DampedInfluence, Damping, lanczos
from gradsift.influence.sample_gradients import Directions, flattened, unflattened
from gradsift.progress import progress

DIVERGED = 1e3
"""A residual this many times as long as the right-hand side counts as divergence."""


class ConjugateGradient(DampedInfluence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j``, solved by conjugate gradients (Hestenes and Stiefel, 1952).

    From ``x_0 = 0, r_0 = p_0 = v`` and with ``A = H + lambda I``: ``a = |r|^2 / p^T A p, x += a p, r' = r - a A p,
    p = r' + |r'|^2 / |r|^2 p``. All right-hand sides share each pass over the data. A side stops when
    ``|r| <= tolerance |v|``, where ``p^T A p <= 0`` (A is indefinite), or where r grows a thousandfold; the iterate with
    the smallest residual is used.

    ``report_`` holds ``residuals`` (``|v - A x| / |v|`` of what is used, by an extra product), ``steps`` (the most that a
    side took) and ``ends`` (how many sides ``"converged"``, met ``"negative curvature"``, ``"diverged"``, or reached the
    ``"step limit"``).

    Args:
        damping: As in :class:`~gradsift.influence.damped.DampedInfluence`; ``"auto"`` estimates eigenvalues by 20 products.
        curvature: As there.
        max_steps: Most steps.
        tolerance: Relative residual at which a side is solved.
        subsample: As there.
        seed: As there.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        damping: Damping = "auto",
        curvature: Curvature = "hessian",
        max_steps: int = 100,
        tolerance: float = 1e-4,
        subsample: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(damping=damping, curvature=curvature, subsample=subsample, seed=seed, **settings)
        if max_steps < 1 or not 0 <= tolerance < 1:
            raise SettingError(
                f"max_steps must be at least 1 and tolerance in [0, 1); given {max_steps} and {tolerance}"
            )
        self.max_steps, self.tolerance = max_steps, tolerance

    def _prepare(self) -> None:
        super()._prepare()
        if self.damping == "auto":
            self._damp(lanczos(self._operator, self.gradients_.zeros(1), seed=self.seed))
        else:
            self._lambda = self.report_["damping"] = float(self.damping)

    def _solve(self, directions: Directions) -> Directions:
        sides = flattened(directions)
        lengths = _norms(sides)
        solved, ends = torch.zeros_like(sides), ["converged"] * len(sides)
        best, best_residual = solved.clone(), lengths.clone()
        residual, search = sides.clone(), sides.clone()
        active, steps = lengths > 0, 0
        with progress("conjugate gradients", self.max_steps, unit="steps", show=self.gradients_.show_progress) as bar:
            while active.any() and steps < self.max_steps:
                rows = active.nonzero()[:, 0]
                product = self._multiplied(search[rows], directions)
                curvature = _dot(search[rows], product)
                squares = _dot(residual[rows], residual[rows])
                bent = ~(curvature > 0)
                for row, square, bend in zip(rows[bent].tolist(), squares[bent], curvature[bent], strict=True):
                    active[row], ends[row] = False, "diverged" if bend.isnan() else "negative curvature"
                    if steps == 0 and bend < 0:  # the direction itself is all that is known
                        best[row], best_residual[row] = search[row] * (square / -bend).to(search), torch.inf
                rows, product, squares = rows[~bent], product[~bent], squares[~bent]
                step = (squares / curvature[~bent])[:, None].to(sides)
                solved[rows] += step * search[rows]
                residual[rows] -= step * product
                after = _dot(residual[rows], residual[rows])
                search[rows] = residual[rows] + (after / squares)[:, None].to(sides) * search[rows]
                better = after.sqrt() < best_residual[rows]
                best[rows[better]], best_residual[rows[better]] = solved[rows[better]], after[better].sqrt()
                done = after.sqrt() <= self.tolerance * lengths[rows]
                lost = ~(after.sqrt() <= DIVERGED * lengths[rows])
                for row in rows[lost].tolist():
                    ends[row] = "diverged"
                active[rows[done | lost]] = False
                steps += 1
                bar.advance()
        for row in active.nonzero()[:, 0].tolist():
            ends[row] = "step limit"
        left = _norms(sides - self._multiplied(best, directions)) / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
        self._record(left, steps, ends)
        return unflattened(best, directions)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() * b.double()).sum(dim=1)


def _norms(rows: Tensor) -> Tensor:
    return rows.double().norm(dim=1)
