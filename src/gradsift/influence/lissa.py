"""The influence function with the damped Hessian inverted by LiSSA's recursion over random batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

from gradsift.curvature import CurvatureOperator, SpectralDensity, lanczos, lissa
from gradsift.errors import ModelError, SettingError
from gradsift.influence.damped import NO_CURVATURE, DampedInfluence, Solve

MARGINS = {False: 1.1, True: 1.5}
"""Automatic scale over the largest eigenvalue that was measured, without and with random batches."""

Draw = Callable[[np.random.Generator], CurvatureOperator]


class LiSSA(DampedInfluence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j``, solved by :func:`~gradsift.curvature.lissa`.

    Koh and Liang (arXiv 1703.04730) write the recursion for ``h = s x`` with the damping ``d = lambda / s``:
    ``h_{k+1} = v + (1 - d) h_k - H_k h_k / s``. One that diverges is stopped, said in a warning, and the best iterate that
    was measured is used. ``report_`` holds ``scale``, too; ``residuals`` are those on all samples, the worst of the
    repeats, and ``ends`` counts recursions.

    Args:
        scale: s, or ``"auto"``: the largest eigenvalue of the whole and of four batches, estimated, times 1.5 (1.1 with all
            samples at each step), plus lambda.
        depth: Most steps.
        repeats: Recursions with batches of their own, whose results are averaged.
        batch: Samples a step; 0 for all. All are taken where there are no more than that.
        tolerance: Relative residual at which a recursion ends early.
        settings: As in :class:`~gradsift.influence.damped.DampedInfluence`; automatic damping takes 20 products, the seed
            fixes the batches.

    Raises:
        SettingError: A setting is outside its range.
        ModelError: On ``fit``: the curvature is zero, or not finite.

    Example:
        >>> import torch
        >>> from gradsift.influence import LiSSA
        >>> torch.manual_seed(0) and None
        >>> data = torch.randn(30, 4), torch.randint(3, (30,))
        >>> method = LiSSA(show_progress=False).fit(torch.nn.Linear(4, 3).eval(), data)
        >>> method.influence((torch.randn(5, 4), torch.randint(3, (5,)))).shape
        (30,)
    """

    def __init__(
        self,
        *,
        scale: float | Literal["auto"] = "auto",
        depth: int = 1000,
        repeats: int = 1,
        batch: int = 64,
        tolerance: float = 1e-4,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if scale != "auto" and not (isinstance(scale, int | float) and 0 < scale < np.inf):
            raise SettingError(f'scale must be "auto" or a number above 0; given {scale!r}')
        if depth < 1 or repeats < 1 or batch < 0 or not 0 <= tolerance < 1:
            raise SettingError(
                "depth and repeats must be at least 1, batch at least 0 and tolerance in [0, 1); given "
                f"{depth}, {repeats}, {batch} and {tolerance}"
            )
        self.scale, self.depth, self.repeats, self.batch, self.tolerance = scale, depth, repeats, batch, tolerance

    def _solver_of(self, operator: CurvatureOperator, positions: np.ndarray) -> Solve:
        draw: Draw | None = None
        if 0 < self.batch < len(positions):
            draw = lambda generator: self._matrix(generator.choice(positions, self.batch, replace=False))  # noqa: E731
        estimated = self.damping == "auto" or self.scale == "auto"
        density = lanczos(operator, operator.zeros(1), seed=self.seed) if estimated else None
        damping = self._damping(density)
        scale = self._automatic(density, draw) + damping if density and self.scale == "auto" else float(self.scale)
        if scale == 0:
            raise ModelError(NO_CURVATURE)
        self.report_["scale"] = scale
        return partial(
            lissa,
            operator,
            scale=scale,
            damping=damping,
            max_steps=self.depth,
            tolerance=self.tolerance,
            draw=draw,
            repeats=self.repeats,
            seed=self.seed,
            show_progress=self.gradients_.show_progress,
        )

    def _automatic(self, density: SpectralDensity, draw: Draw | None) -> float:
        """The largest absolute eigenvalue of the whole matrix and of four batches, with a margin."""
        generator = np.random.default_rng(self.seed)
        batches = [draw(generator) for _ in range(4)] if draw else []
        spectra = [density, *(lanczos(batch, batch.zeros(1), steps=10, seed=self.seed) for batch in batches)]
        return MARGINS[draw is not None] * max(
            max(abs(spectrum.largest), abs(spectrum.smallest)) for spectrum in spectra
        )
