"""Generalized influence functions: what removing samples does to the model when some of its weights alone may move."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gradsift.curvature import Hessian, SolverReport, conjugate_gradients, fixed_point
from gradsift.curvature.operators import Product
from gradsift.curvature.report import damped
from gradsift.curvature.vectors import Directions, flattened, unflattened
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.influence.base import Influence
from gradsift.influence.damped import check_subsample, subsampled
from gradsift.influence.selectors import Mask
from gradsift.influence.targets import Target, Utility

logger = logging.getLogger(__name__)

POOR = 0.1
"""Relative residual above which conjugate gradients that have run out of steps are worth a warning."""

Mode = Literal["generalized", "freeze", "projected", "all"]
Solver = Literal["fixed-point", "conjugate-gradients"]
Choice = Callable[..., Mask] | Mapping[str, Tensor] | None
"""A selector, a mask (full name to bool tensor; names left out stay fixed), or ``None`` for all weights."""


@dataclass(frozen=True)
class NormalEquations:
    """The least-squares problem of a mode, ``argmin_x |A x - b|^2``, by ``A^T A x = A^T b``.

    A is H with the columns of movable weights alone (``"generalized"``), with their rows and columns (``"freeze"``), or
    whole.

    Attributes:
        hessian: Products with H.
        movable: Which weights may move: ones and zeros, shape (1, p).
        mode: The mode.
        solve: Solves a system from products with its matrix and its right-hand sides.
    """

    hessian: Product
    movable: Tensor
    mode: Mode
    solve: Callable[[Product, Tensor], tuple[Tensor, SolverReport]]

    def step(self, gradients: Tensor) -> tuple[Tensor, SolverReport]:
        """``M g``: how the weights move.

        Args:
            gradients: Rows g, shape (m, p).

        Returns:
            Shape (m, p), zero where weights are fixed, and how it was found.
        """
        solved, report = self.solve(self._normal, self._columns(self.hessian(self._rows(gradients))))
        return solved * self.movable, report

    def transposed(self, vectors: Tensor) -> tuple[Tensor, SolverReport]:
        """``M^T v``.

        Args:
            vectors: Rows v, shape (m, p).

        Returns:
            Shape (m, p), and how it was found.
        """
        solved, report = self.solve(self._normal, vectors * self.movable)
        return self._rows(self.hessian(solved)), report

    def _normal(self, rows: Tensor) -> Tensor:
        return self._columns(self.hessian(self._rows(self.hessian(self._columns(rows)))))

    def _columns(self, rows: Tensor) -> Tensor:
        """What belongs to the unknowns: all of it where the answer is cut afterwards."""
        return rows if self.mode in ("projected", "all") else rows * self.movable

    def _rows(self, rows: Tensor) -> Tensor:
        """What belongs to the equations."""
        return rows * self.movable if self.mode == "freeze" else rows


class GeneralizedInfluence(Influence):
    """Influence with some weights t movable and the others fixed (Lyu et al., arXiv 2312.05586).

    Removing a set U from the training set S moves t by ``|U| / (|S| - |U|)`` times, with g the mean gradient of U:

    * ``"generalized"`` (GIF): ``argmin_x |H[:, t] x - g|^2 = ([H^2]_tt)^-1 [H g]_t``, so that the first-order condition
      holds as nearly as can be in all coordinates, those of fixed weights included;
    * ``"freeze"``: ``(H_tt)^+ g_t``, as if the model had no other weights;
    * ``"projected"``: ``[H^+ g]_t``, the entries t of what all weights would do;
    * ``"all"``: ``H^+ g``, the classical influence function; no selector.

    Each solves normal equations, whose matrix is positive semi-definite where H is indefinite. H is the Hessian of the
    mean loss of the samples that stay (of all of them for ``influence``), plus ``(weight_decay + damping) I``; with weight
    decay g is the gradient of the penalised loss.

    The influence of a sample on a target is what removing it does to the target to first order,
    ``I_j = + <v, M g_j>``, positive = helpful, where ``M g`` is one of the above and v the target's gradient. It is
    computed as ``<M^T v, g_j>``, for GIF with ``M^T v = H[:, t] ([H^2]_tt)^-1 v_t``.

    The default solver is the fixed point, as in the paper, since its fixed number of steps regularises: eigenvalues of H
    far below the largest are not inverted, and the answer stays linear in g. Conjugate gradients come to the exact solution
    with far fewer products; take them where H is well conditioned, such as with weight decay on a last layer.

    ``report_`` holds ``mode``, ``movable`` (how many weights may move), ``samples`` of the Hessian, and ``solver``, a
    :class:`~gradsift.curvature.SolverReport` as a dict, of the last system.

    Args:
        mode: One of the four.
        selector: Which weights may move: a :class:`~gradsift.influence.selectors.Selector`, shown the samples to be
            removed or the target's (the training set's for self-influence), or a mask; ``None`` for all.
        solver: ``"fixed-point"`` or ``"conjugate-gradients"``.
        max_steps: Most steps; each takes two Hessian products.
        tolerance: Relative residual of the normal equations at which they are solved.
        weight_decay: Coefficient c of a penalty ``c/2 |w|^2`` that the model was trained with.
        damping: What is added to H's diagonal beyond that.
        subsample: How many samples, drawn without replacement, H is the mean of; all where left out.
        seed: Seed of what is drawn.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Raises:
        SettingError: A setting is unknown or outside its range.
    """

    def __init__(
        self,
        *,
        mode: Mode = "generalized",
        selector: Choice = None,
        solver: Solver = "fixed-point",
        max_steps: int = 100,
        tolerance: float = 1e-4,
        weight_decay: float = 0.0,
        damping: float = 0.0,
        subsample: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if mode not in get_args(Mode) or solver not in get_args(Solver):
            raise SettingError(
                f"mode must be one of {', '.join(get_args(Mode))} and solver one of {', '.join(get_args(Solver))}; given "
                f"{mode!r} and {solver!r}"
            )
        if mode == "all" and selector is not None:
            raise SettingError('mode="all" moves all weights: leave the selector out, or take mode="generalized"')
        if not (0 <= weight_decay < np.inf and 0 <= damping < np.inf):
            raise SettingError(f"weight_decay and damping must be 0 or more; given {weight_decay} and {damping}")
        check_subsample(subsample)
        self.mode, self.selector, self.solver = mode, selector, solver
        self.max_steps, self.tolerance = max_steps, tolerance
        self.weight_decay, self.damping, self.subsample, self.seed = weight_decay, damping, subsample, seed

    def step(self, removed: Sequence[int] | np.ndarray | Target) -> Directions:
        """How the weights change, to first order, when samples are removed from the training set.

        Args:
            removed: Positions in the training set; or a target whose gradient takes the part of g, with as many samples
                as are taken to be removed, while the Hessian is that of the whole training set.

        Returns:
            One vector to be added to the weights; zero where they are fixed.

        Raises:
            SettingError: ``fit`` has not been called, or the mask does not fit.
            DataError: The positions are none, all, repeated, or outside of the training set.
        """
        gradients = self._fitted()
        if isinstance(removed, Target):
            target, kept, count = removed, np.arange(len(gradients)), len(removed.samples)
            if count >= len(gradients):
                raise DataError(f"{count} samples cannot be removed from {len(gradients)}: a model needs some to stay")
        else:
            positions = _checked(removed, len(gradients))
            kept, count = np.setdiff1d(np.arange(len(gradients)), positions), len(positions)
            target = Utility(gradients.samples.keep(positions))
        direction = target.direction(gradients.model, gradients.task, gradients.parameters, gradients.precision)
        if self.weight_decay:
            weights = {name: parameter.detach()[None] for name, parameter in gradients.parameters.items()}
            direction = {name: part + self.weight_decay * weights[name].to(part) for name, part in direction.items()}
        system = self._system(target.samples, kept)
        moved, report = system.step(flattened(direction))
        self._conclude(report)
        return unflattened(moved * (count / (len(gradients) - count)), direction)

    @contextmanager
    def _solving(self, samples: Samples) -> Iterator[Callable[[Directions], Directions]]:
        system = self._system(samples, np.arange(len(self._fitted())))

        def solve(directions: Directions) -> Directions:
            vectors, report = system.transposed(flattened(directions))
            self._conclude(report)
            return unflattened(vectors, directions)

        yield solve

    def _system(self, samples: Any, positions: np.ndarray) -> NormalEquations:
        """The equations to solve: a mask for some samples, and the Hessian of those at some positions."""
        gradients = self._fitted()
        movable = flattened(self._mask(samples)).to(gradients.dtype)
        positions = subsampled(positions, self.subsample, self.seed)
        self.report_ = {"mode": self.mode, "movable": int(movable.sum()), "samples": len(positions)}
        multiply = damped(Hessian(gradients.mean_loss(positions)), self.weight_decay + self.damping)
        solver = partial(fixed_point, seed=self.seed) if self.solver == "fixed-point" else conjugate_gradients
        limits: dict[str, Any] = {"max_steps": self.max_steps, "tolerance": self.tolerance}
        limits["show_progress"] = gradients.show_progress
        return NormalEquations(multiply, movable, self.mode, partial(solver, **limits))

    def _mask(self, samples: Any) -> Directions:
        """Which weights may move, as one vector."""
        gradients, choice = self._fitted(), self.selector
        if choice is None:
            return {
                name: torch.ones_like(parameter, dtype=torch.bool)[None]
                for name, parameter in gradients.parameters.items()
            }
        chosen = choice if isinstance(choice, Mapping) else choice(gradients, samples)
        mask = {name: torch.zeros_like(parameter, dtype=torch.bool) for name, parameter in gradients.parameters.items()}
        for name, part in chosen.items():
            if name not in mask or part.shape != mask[name].shape or part.dtype != torch.bool:
                raise SettingError(
                    f"the mask's {name!r} is {part.dtype} of shape {tuple(part.shape)}: give bool tensors of the shapes of "
                    f"the parameters, which are {', '.join(mask)}"
                )
            mask[name] = part.to(gradients.device)
        if not any(bool(part.any()) for part in mask.values()):
            raise SettingError("the mask lets no weight move: set some of its entries to true")
        return {name: part[None] for name, part in mask.items()}

    def _conclude(self, report: SolverReport) -> None:
        """Notes how systems were solved, and warns of those that were not."""
        self.report_["solver"] = {**vars(report), "converged": report.converged}
        if report.diverged:
            logger.warning(
                "%s has diverged for %d of %d systems; the vectors of the smallest residuals are used (largest %.2g of the "
                "right-hand side, see report_): add damping",
                self.solver, report.diverged, len(report.ends), max(report.residuals),
            )  # fmt: skip
        elif self.solver == "conjugate-gradients" and max(report.residuals) > POOR:
            logger.warning(
                "conjugate gradients have not solved the system in %d steps (residual %.2g of the right-hand side, see "
                "report_), and where they stop depends on rounding: take more steps, more damping, or the fixed point",
                self.max_steps, max(report.residuals),
            )  # fmt: skip


def _checked(removed: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    positions = np.asarray(removed, dtype=None if len(removed) else np.int64)
    if positions.ndim != 1 or positions.dtype.kind not in "iu" or len(np.unique(positions)) != len(positions):
        raise DataError("the samples to remove are given as different positions in the training set, whole numbers")
    if len(positions) == 0 or len(positions) >= size:
        raise DataError(f"{len(positions)} of {size} samples are to be removed: give some, and let some stay")
    if positions.min() < 0 or positions.max() >= size:
        raise DataError(f"positions {positions.min()} to {positions.max()} lie outside of 0 to {size - 1}")
    return np.sort(positions)
