"""LiSSA: the damped inverse Hessian by a recursion over random batches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradsift.errors import ModelError, SettingError
from gradsift.influence.damped import Curvature, DampedInfluence, Damping, lanczos
from gradsift.influence.sample_gradients import Directions, flattened, unflattened
from gradsift.progress import progress

CHECKS = 10
"""How often a stochastic recursion's residual is measured on all samples."""
DIVERGED = 10.0
"""A residual this many times as long as the right-hand side counts as divergence."""
MARGINS = {False: 1.1, True: 1.5}
"""Automatic scale over the largest eigenvalue that was measured, without and with random batches."""


class LiSSA(DampedInfluence):
    """Influence by the Neumann recursion of LiSSA (Agarwal et al., arXiv 1602.03943; Koh and Liang, arXiv 1703.04730).

    ``x_0 = v / s, x_{k+1} = x_k + (v - (H_k + lambda I) x_k) / s`` with ``H_k`` the curvature of a random batch. With all
    samples at each step its fixed point is ``(H + lambda I)^-1 v``, reached where ``H + lambda I`` is positive definite
    and s is above half its largest eigenvalue. Koh and Liang write it for ``h = s x`` with the damping
    ``d = lambda / s``: ``h_{k+1} = v + (1 - d) h_k - H_k h_k / s``.

    A recursion that diverges is stopped, said in a warning, and the best iterate that was measured is used. ``report_``
    holds ``scale``, ``residuals`` (``|v - (H + lambda I) x| / |v|`` on all samples, the worst of the repeats), ``steps``
    and ``ends`` (how many recursions ``"converged"``, reached the ``"step limit"`` or ``"diverged"``).

    Args:
        damping: As in :class:`~gradsift.influence.damped.DampedInfluence`; ``"auto"`` estimates eigenvalues by 20 products.
        scale: s, or ``"auto"``: the largest eigenvalue of the whole and of four batches, estimated, times 1.5 (1.1 with all
            samples at each step), plus lambda.
        depth: Most steps.
        repeats: Recursions with batches of their own, whose results are averaged.
        batch: Samples a step; 0 for all. All are taken where there are no more than that.
        tolerance: Relative residual at which a recursion ends early.
        curvature: As in :class:`~gradsift.influence.damped.DampedInfluence`.
        subsample: As there.
        seed: As there; fixes the batches.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is outside its range.
        ModelError: On ``fit``: the curvature is zero, or not finite.
    """

    def __init__(
        self,
        *,
        damping: Damping = "auto",
        scale: float | Literal["auto"] = "auto",
        depth: int = 1000,
        repeats: int = 1,
        batch: int = 64,
        tolerance: float = 1e-4,
        curvature: Curvature = "hessian",
        subsample: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(damping=damping, curvature=curvature, subsample=subsample, seed=seed, **settings)
        if scale != "auto" and not (isinstance(scale, int | float) and 0 < scale < np.inf):
            raise SettingError(f'scale must be "auto" or a number above 0; given {scale!r}')
        if depth < 1 or repeats < 1 or batch < 0 or not 0 <= tolerance < 1:
            raise SettingError(
                "depth and repeats must be at least 1, batch at least 0 and tolerance in [0, 1); given "
                f"{depth}, {repeats}, {batch} and {tolerance}"
            )
        self.scale, self.depth, self.repeats, self.batch, self.tolerance = scale, depth, repeats, batch, tolerance

    def _prepare(self) -> None:
        super()._prepare()
        like, everything = self.gradients_.zeros(1), self._operator.positions
        self._random = 0 < self.batch < len(everything)
        largest = 0.0
        if self.damping == "auto" or self.scale == "auto":
            spectrum = lanczos(self._operator, like, seed=self.seed)
            self._damp(spectrum)
            largest = max(abs(spectrum.largest), abs(spectrum.smallest))
        else:
            self._lambda = self.report_["damping"] = float(self.damping)
        if self.scale == "auto":
            if self._random:
                draw = np.random.default_rng(self.seed)
                for _ in range(4):
                    positions = draw.choice(everything, self.batch, replace=False)
                    found = lanczos(self._operator, like, steps=10, seed=self.seed, positions=positions)
                    largest = max(largest, abs(found.largest), abs(found.smallest))
            self._scale = MARGINS[self._random] * largest + self._lambda
        else:
            self._scale = float(self.scale)
        if self._scale == 0:
            raise ModelError(
                "the mean training loss has no curvature at all at these weights: take InnerProduct, or give a damping"
            )
        self.report_["scale"] = self._scale

    def _solve(self, directions: Directions) -> Directions:
        sides = flattened(directions)
        repeats = self.repeats if self._random else 1
        total, worst = torch.zeros_like(sides), torch.zeros(len(sides), dtype=torch.float64, device=sides.device)
        ends: list[str] = []
        steps = 0
        with progress("LiSSA", self.depth * repeats, unit="steps", show=self.gradients_.show_progress) as bar:
            for repeat in range(repeats):
                draw = np.random.default_rng([self.seed, repeat])
                run = _Recursion(sides, self._scale, self.tolerance)
                every = max(1, self.depth // CHECKS) if self._random else 1
                for step in range(self.depth):
                    if step % every == 0:
                        run.check(sides - self._multiplied(run.x, directions))
                    if not run.active.any():
                        break
                    if self._random:
                        positions = draw.choice(self._operator.positions, self.batch, replace=False)
                        run.move(sides - self._multiplied(run.x, directions, positions))
                    else:
                        run.move(run.residual)
                    bar.advance()
                    steps = max(steps, step + 1)
                run.check(sides - self._multiplied(run.x, directions))
                total += run.best / repeats
                worst = torch.maximum(worst, run.best_length)
                ends += run.ends
        self._record(worst, steps, ends)
        return unflattened(total, directions)


class _Recursion:
    """One run for m right-hand sides, with the best iterate of each."""

    def __init__(self, sides: Tensor, scale: float, tolerance: float) -> None:
        self._scale, self._tolerance = scale, tolerance
        self._lengths = sides.double().norm(dim=1)
        self.x = sides / scale
        self.best, self.best_length = self.x.clone(), torch.full_like(self._lengths, torch.inf)
        self.active = self._lengths > 0
        self.best_length[~self.active] = 0
        self.ends = ["step limit" if active else "converged" for active in self.active.tolist()]
        self.residual = sides

    def check(self, residual: Tensor) -> None:
        """Takes note of the residual on all samples, and ends what is solved or lost."""
        self.residual = residual
        length = residual.double().norm(dim=1) / self._lengths.clamp_min(torch.finfo(torch.float64).tiny)
        better = self.active & (length < self.best_length)
        self.best[better], self.best_length[better] = self.x[better], length[better]
        lost = self.active & ~(length <= DIVERGED)
        done = self.active & (length <= self._tolerance)
        for name, rows in (("diverged", lost), ("converged", done)):
            for row in rows.nonzero()[:, 0].tolist():
                self.ends[row] = name
        self.active &= ~(lost | done)

    def move(self, residual: Tensor) -> None:
        """One step of the sides that are not at their end; the others rest where they were best."""
        self.x = torch.where(self.active[:, None], self.x + residual / self._scale, self.best)
