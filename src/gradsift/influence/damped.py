"""What the methods that solve with a damped Hessian share: which matrix, how much damping, what is reported."""

from __future__ import annotations

import logging
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradsift.errors import ModelError, SettingError
from gradsift.gradients.model_state import coarsest_dtype
from gradsift.influence.base import Influence
from gradsift.influence.curvature import Hessian
from gradsift.influence.gauss_newton import GaussNewton
from gradsift.influence.sample_gradients import CHUNK_BYTES, Directions, SampleGradients, flattened, unflattened

logger = logging.getLogger(__name__)

Curvature = Literal["hessian", "gauss-newton"]
Damping = float | Literal["auto"]

SHARE = 0.1
"""Automatic damping, as a share of the mean absolute eigenvalue (Grosse et al., arXiv 2308.03296, section 5)."""

POOR = 0.1
"""Relative residual above which reaching the step limit is worth a warning; random batches never come to zero."""
NOT_FINITE = "the loss has no finite second derivative there; take a method without a Hessian, such as InnerProduct"


class Spectrum(NamedTuple):
    """What is known of a symmetric matrix's eigenvalues.

    Attributes:
        smallest: The smallest.
        largest: The largest.
        mean: Mean of their absolute values.
    """

    smallest: float
    largest: float
    mean: float


def lanczos(
    operator: Hessian, like: Directions, *, steps: int = 20, seed: int = 0, positions: np.ndarray | None = None
) -> Spectrum:
    """Estimates the ends and the mean of a spectrum from products with one random vector (stochastic Lanczos quadrature).

    Args:
        operator: The symmetric matrix H.
        like: Vectors of its shape, for names, dtype and device.
        steps: Products, at most as many as the matrix has rows.
        seed: Seed of the random vector.
        positions: Of which samples; the operator's own where left out.

    Returns:
        The estimates; the ends lie inside the true ones.

    Raises:
        ModelError: Products are NaN or infinite.
    """
    generator = np.random.default_rng(seed)
    matrix = flattened(like)
    size = matrix.shape[1]
    keeps = 4 * size * steps <= CHUNK_BYTES
    vector = torch.from_numpy(generator.standard_normal((1, size))).to(matrix)
    vector = vector / vector.norm()
    basis, beta = [vector], 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, size)):
        product = flattened(operator(unflattened(vector, like), positions))
        diagonal.append(float((product * vector).sum()))
        rest = product - diagonal[-1] * vector - (beta * basis[-2] if beta else 0)
        if keeps:  # rounding would make the estimates depend on the order of the samples
            rest = rest - sum(((rest * one).sum() * one for one in basis), torch.zeros_like(rest))
        beta = float(rest.norm())
        if beta <= 1e-6 * max(map(abs, diagonal)):
            break
        beside.append(beta)
        vector = rest / beta
        basis = [*(basis if keeps else basis[-1:]), vector]
    if not np.isfinite(diagonal).all():
        raise ModelError(f"the matrix's products are not finite: {NOT_FINITE}")
    side = beside[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(side, 1) + np.diag(side, -1))
    return Spectrum(float(values[0]), float(values[-1]), float(vectors[0] ** 2 @ np.abs(values)))


def _check_symmetric(operator: Hessian, gradients: SampleGradients, seed: int) -> None:
    """Compares ``u^T H v`` with ``v^T H u`` on a few samples.

    An operation of the model whose backward pass cannot be differentiated leaves terms out without an error.
    """
    like = flattened(gradients.zeros(2))
    pair = torch.from_numpy(np.random.default_rng(seed).standard_normal(like.shape)).to(like)
    products = flattened(operator(unflattened(pair, gradients.zeros(1)), operator.positions[:8])).double()
    across = (pair.double() * products.flip(0)).sum(dim=1)
    size = float((pair.double().norm(dim=1) * products.norm(dim=1)).max())
    noise = 100 * torch.finfo(coarsest_dtype(gradients.model)).eps if gradients.precision == "float32" else 1.0
    if abs(float(across[0] - across[1])) > size * (0.05 / like.shape[1] ** 0.5 + noise):
        raise ModelError(
            "the model's second derivatives are wrong (products with its Hessian are not symmetric): it holds an "
            "operation, such as a kernel of its own, whose backward pass cannot be differentiated. Take a method without a "
            "Hessian, such as InnerProduct or DataInf, or layers after that operation"
        )


class DampedInfluence(Influence):
    """Influence ``I_j = + v^T (H + lambda I)^-1 g_j`` with H the curvature of the mean training loss.

    The loss holds no weight decay: where the model was trained with a penalty ``c/2 |w|^2``, the damping c is its exact
    curvature. ``"auto"`` is ``lambda = max(0.1 x mean |eigenvalue|, -2 x smallest eigenvalue)``, so that the matrix becomes
    positive definite.

    Args:
        damping: Lambda, in the loss's unit per squared parameter, or ``"auto"``.
        curvature: ``"hessian"``, or ``"gauss-newton"``, which has no negative eigenvalue where the loss is convex in the
            model's outputs.
        subsample: How many samples, drawn without replacement, the matrix is the mean of; all where left out.
        seed: Seed of everything that is drawn.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        damping: Damping = "auto",
        curvature: Curvature = "hessian",
        subsample: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if damping != "auto" and not (isinstance(damping, int | float) and 0 <= damping < np.inf):
            raise SettingError(f'damping must be "auto" or a number of 0 or more; given {damping!r}')
        if curvature not in ("hessian", "gauss-newton"):
            raise SettingError(f'curvature must be "hessian" or "gauss-newton"; given {curvature!r}')
        if subsample is not None and subsample < 1:
            raise SettingError(f"subsample must be at least 1 sample; given {subsample}")
        self.damping, self.curvature, self.subsample, self.seed = damping, curvature, subsample, seed

    def influence(self, target: Any, *, each: bool = False) -> np.ndarray:
        """Influence of every training sample; see :meth:`Influence.influence`."""
        self._begin()
        found = super().influence(target, each=each)
        self._end()
        return found

    def self_influence(self) -> np.ndarray:
        """Influence of every training sample on its own loss; see :meth:`Influence.self_influence`."""
        self._begin()
        found = super().self_influence()
        self._end()
        return found

    def _prepare(self) -> None:
        size, positions = len(self.gradients_), None
        if self.subsample is not None and self.subsample < size:
            drawn = np.random.default_rng(self.seed).choice(size, self.subsample, replace=False)
            positions = np.sort(drawn)
        self._operator = (Hessian if self.curvature == "hessian" else GaussNewton)(self.gradients_, positions)
        self.report_["curvature"] = self.curvature
        _check_symmetric(self._operator, self.gradients_, self.seed)

    def _damp(self, spectrum: Spectrum) -> None:
        """Fixes lambda and says what the eigenvalues are."""
        smallest, largest, mean = spectrum
        if not np.isfinite(mean):
            raise ModelError(f"the matrix's eigenvalues are not finite: {NOT_FINITE}")
        indefinite = smallest < -1e-6 * max(abs(largest), abs(smallest))
        self._lambda = max(SHARE * mean, -2 * smallest) if self.damping == "auto" else float(self.damping)
        self.report_ |= {"smallest_eigenvalue": smallest, "largest_eigenvalue": largest, "damping": self._lambda}
        if self.damping == "auto" and self._lambda == 0:
            raise ModelError(
                "the mean training loss has no curvature at all at these weights: take InnerProduct, or give a damping"
            )
        if indefinite:
            logger.warning(
                "the %s of the mean training loss is indefinite at these weights (eigenvalues %.3g to %.3g), so they are "
                "no minimum; damping is %.3g%s", self.curvature, smallest, largest, self._lambda,
                "" if self._lambda > -smallest else ", too little to make it positive definite",
            )  # fmt: skip

    def _multiplied(self, vectors: Tensor, like: Directions, positions: np.ndarray | None = None) -> Tensor:
        """``(H + lambda I) v`` for the rows of a matrix."""
        return flattened(self._operator(unflattened(vectors, like), positions)) + self._lambda * vectors

    def _begin(self) -> None:
        for name in ("residuals", "steps", "ends"):
            self.report_.pop(name, None)

    def _record(self, residuals: Tensor, steps: int, ends: list[str]) -> None:
        """Notes how some right-hand sides have ended."""
        self.report_.setdefault("residuals", []).extend(residuals.double().cpu().tolist())
        self.report_["steps"] = max(steps, self.report_.get("steps", 0))
        counts = self.report_.setdefault("ends", {})
        for end in ends:
            counts[end] = counts.get(end, 0) + 1

    def _end(self) -> None:
        ends = {name: number for name, number in self.report_.get("ends", {}).items() if name != "converged"}
        if ends and (set(ends) != {"step limit"} or max(self.report_["residuals"]) > POOR):
            logger.warning(
                "%s has not solved all systems: %s; the best vectors so far are used (largest relative residual %.2g, see "
                "report_). More damping (now %.3g) or more steps help",
                type(self).__name__, ", ".join(f"{number} x {name}" for name, number in ends.items()),
                max(self.report_["residuals"]), self._lambda,
            )  # fmt: skip
