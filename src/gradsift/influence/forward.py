"""Forward-INF: influence by one small ascent on the target and one forward pass over the training set."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradsift.data.batch import Batch
from gradsift.data.overlap import warn_of_overlap
from gradsift.errors import DataError, SettingError
from gradsift.gradients.model_state import precision_of
from gradsift.gradients.probe import check_mode
from gradsift.influence.ascent import Move, ascended
from gradsift.influence.base import Influence
from gradsift.influence.disturbed import Disturbed
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.influence.targets import Target, as_target
from gradsift.progress import progress
from gradsift.tasks import BinaryClassification, Classification, MultiLabel, TokenLoss, sample_losses

logger = logging.getLogger(__name__)

CROSS_ENTROPIES = (Classification, BinaryClassification, MultiLabel, TokenLoss)
MEMORISED = 0.01
"""Nats below which a target sample counts as memorised, as in the reference code; its draws stop at twice that."""
COARSE = 0.1
"""Rounding that may make up more than this share of a typical score is warned of."""


class ForwardInfluence(Influence):
    """Influence ``I_j = l_j(theta + a) - l_j(theta)``, where a raises the target (Ko et al., arXiv 2402.08922).

    A sample whose loss rises when the model moves away from the target is one that the target leans on: positive =
    helpful. With one step of plain gradient ascent, ``a = rate * v`` with the target's gradient v, so ``I_j = rate *
    <v, g_j>`` to first order, the inner product's influence by finite differences; with Adam the first step is ``rate *
    sign(v)``, another estimate. One target costs ``steps`` gradients of it and one forward pass over the training set,
    and nothing is stored of gradients: it pays for few targets or large models, an inner product for many targets.

    The model is moved in place and put back bit by bit; it stays in eval mode, so running statistics of BatchNorm never
    move.

    Args:
        steps: Steps of ascent.
        rate: Their learning rate. ``"auto"`` makes every step as long as ``relative_step`` times the selected weights,
            so that no score drowns in rounding and no ascent runs away: with SGD ``rate = relative_step |theta| /
            |v|``, which differs from target to target, so scores are divided by its sum over the steps (per unit of
            rate, and comparable to an inner product); with Adam ``rate = relative_step |theta| / sqrt(p)`` (entries
            without a gradient stay), and scores are differences of losses, as with a rate of your own.
        optimizer: ``"sgd"``, or ``"adam"`` as in the reference code (there one step of 5e-3), its state fresh each
            time.
        relative_step: Length of a step at the automatic rate, relative to the selected weights.
        absolute: Whether to return ``|I_j|``, for leaked or memorised samples; the sign is what tells detrimental
            samples.
        memorised_below: A target sample whose loss is lower has no gradient to speak of: a point on a sphere around its
            floating-point input takes its place, with its label, until the loss is twice as high. ``None``: 0.01 nats
            for the ready tasks whose loss is a cross-entropy, off for others; 0 turns it off. Only for targets whose
            quantity is the loss; of a target as a whole, where its value is so low. Inputs of tokens cannot be moved
            so: they are warned of and kept.
        fallback_radius: Radius of the sphere at the first draw, L2 over a sample's inputs; each further draw is 1.1
            times as far.
        most_draws: Draws after which the last one is taken as it is.
        seed: Seed of the draws.
        settings: As in :class:`~gradsift.influence.base.Influence`.

    Attributes:
        report_: ``rate`` (summed over the steps) and ``relative_step`` (length of the move) of each target,
            ``rounding`` (share of a typical score that rounding may make), ``memorised`` (target position to draws and
            radius), ``kept`` (memorised positions that could not be moved far enough), ``without_gradient`` (positions;
            -1 for the target as a whole).

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        steps: int = 1,
        rate: float | Literal["auto"] = "auto",
        optimizer: Literal["sgd", "adam"] = "sgd",
        relative_step: float = 1e-3,
        absolute: bool = False,
        memorised_below: float | None = None,
        fallback_radius: float = 3.0,
        most_draws: int = 50,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if steps < 1 or most_draws < 1:
            raise SettingError(f"steps and most_draws must be at least 1, given {steps} and {most_draws}")
        if rate != "auto" and (isinstance(rate, str) or not 0 < rate < math.inf):
            raise SettingError(f"rate is a positive number or 'auto', given {rate!r}")
        if optimizer not in ("sgd", "adam"):
            raise SettingError(f"unknown optimizer {optimizer!r}: choose sgd or adam")
        if not 0 < relative_step < math.inf or not 0 < fallback_radius < math.inf or (memorised_below or 0) < 0:
            raise SettingError(
                "relative_step and fallback_radius must be above 0 and memorised_below not below it, given "
                f"{relative_step}, {fallback_radius} and {memorised_below}"
            )
        self.steps, self.rate, self.optimizer, self.relative_step = steps, rate, optimizer, relative_step
        self.absolute, self.memorised_below, self.fallback_radius = absolute, memorised_below, fallback_radius
        self.most_draws, self.seed = most_draws, seed

    def influence(self, target: Any, *, each: bool = False) -> np.ndarray:
        """Influence of every training sample; see :meth:`Influence.influence`.

        Args:
            target: A data set, for its mean loss, or a :class:`~gradsift.influence.targets.Target`.
            each: Whether to ask about every target sample by itself.

        Returns:
            Shape (n_train,), or (n_train, n_target) with ``each``; float64, in nats (per unit of rate with SGD and the
            automatic rate), positive = helpful; absolute values with ``absolute``.

        Raises:
            SettingError: ``fit`` has not been called, or losses at the moved weights are infinite.
        """
        gradients, target = self._fitted(), as_target(target)
        warn_of_overlap(gradients.samples, target.samples)
        places = range(len(target.samples)) if each else [-1]
        influence, moves = np.empty((len(gradients), len(places))), []
        self.report_ = {"memorised": {}, "kept": []}
        with progress("forward influence", len(places), unit="targets", show=self.show_progress) as bar:
            for column, place in enumerate(places):
                raised = self._raised(target, place)
                with self._moved(raised, place) as move:
                    influence[:, column] = self._losses() - self._base if move.rate else 0.0
                moves.append(move)
                bar.advance()
        result = self._finished(influence, moves, list(places))
        return result if each else result[:, 0]

    def self_influence(self) -> np.ndarray:
        """Rise of every training sample's own loss after ascent on it; with one SGD step ``rate * |g_j|^2``.

        Memorised samples are not replaced here, as scores at different inputs would be compared.

        Returns:
            Shape (n,), float64; high = the model leans on this sample alone, as it does on wrong labels.
        """
        gradients = self._fitted()
        target, own = Target(gradients.samples), np.zeros((1, len(gradients)))
        moves, self.report_ = [], {}
        with progress("forward self-influence", len(gradients), show=self.show_progress) as bar:
            for place in range(len(gradients)):
                before = target.value_at(place, gradients)
                with self._moved(target, place) as move:
                    if move.rate:
                        own[0, place] = target.value_at(place, gradients) - before
                moves.append(move)
                bar.advance()
        return self._finished(own, moves, list(range(len(gradients))))[0]

    def _prepare(self) -> None:
        self._base = self._losses()

    def _losses(self) -> np.ndarray:
        """Losses of all training samples at the model's weights as they are."""
        gradients = self.gradients_

        def losses(_positions: np.ndarray, batch: Batch) -> np.ndarray:
            with torch.no_grad(), precision_of(gradients.model, gradients.precision):
                values = sample_losses(gradients.task, gradients.task.outputs(gradients.model, batch), batch)
            return values.double().cpu().numpy()

        return np.concatenate([part for _, part in gradients.each_batch(losses)])

    def _moved(self, target: Target, place: int) -> AbstractContextManager[Move]:
        """The model after ascent on one sample of the target, or on the whole of it."""
        check_mode(self.gradients_.model)
        return ascended(
            self.gradients_.parameters,
            _direction(target, place, self.gradients_),
            steps=self.steps,
            rate=None if self.rate == "auto" else float(self.rate),
            optimizer=self.optimizer,
            relative_step=self.relative_step,
        )

    def _finished(self, differences: np.ndarray, moves: list[Move], places: list[int]) -> np.ndarray:
        """Checks differences of losses, says what was measured, and gives them their final scale."""
        rates = np.array([move.rate for move in moves])
        if not np.isfinite(differences).all():
            broken = int((~np.isfinite(differences)).sum())
            raise SettingError(
                f"at the moved weights {broken} losses are NaN or infinite (rate up to {rates.max():.3g}): "
                "take a lower rate or fewer steps"
            )
        typical = float(np.median(np.abs(differences)))
        numbers = str(self.gradients_.precision)
        if numbers == "float32":
            numbers = str(self.gradients_.dtype).removeprefix("torch.")
        smallest = torch.finfo(getattr(torch, numbers)).eps * float(np.median(np.abs(self._base)))
        rounding = smallest / typical if typical else (math.inf if smallest and rates.any() else 0.0)
        self.report_ |= {
            "rate": rates,
            "relative_step": np.array([move.relative for move in moves]),
            "rounding": rounding,
            "without_gradient": [place for place, move in zip(places, moves, strict=True) if not move.rate],
        }
        if rounding > COARSE:
            logger.warning(
                "rounding in %s may make up %.0f %% of a typical forward influence: raise rate or relative_step",
                numbers, 100 * min(rounding, 1.0),
            )  # fmt: skip
        if self.rate == "auto" and self.optimizer == "sgd":
            differences = np.divide(differences, rates, out=np.zeros_like(differences), where=rates > 0)
        return np.abs(differences) if self.absolute else differences

    def _raised(self, target: Target, place: int) -> Target:
        """The target with memorised samples replaced, where it is one that needs it."""
        gradients, below = self.gradients_, self.memorised_below
        if below is None:
            below = MEMORISED if isinstance(gradients.task, CROSS_ENTROPIES) else 0.0
        if below == 0 or type(target).values is not Target.values:
            return target
        if place >= 0:
            low = [place] if target.value_at(place, gradients) < below else []
        else:
            values = target.evaluate(gradients.model, gradients.task, gradients.precision)
            memorised = target.weights(values) @ values < below
            low = np.flatnonzero(values < below).tolist() if memorised else []
        disturbed = Disturbed(target)
        for position in low:
            draw = disturbed.draw(
                gradients.model,
                gradients.task,
                position,
                lambda at: disturbed.value_at(at, gradients) >= 2 * below,
                radius=self.fallback_radius,
                most=self.most_draws,
                seed=self.seed,
            )
            self.report_["memorised"][position] = {"draws": draw.draws, "radius": draw.radius}
            if not draw.enough:
                self.report_["kept"].append(position)
        unmoved = [place for place, draws in self.report_["memorised"].items() if place in low and not draws["draws"]]
        if unmoved:
            logger.warning(
                "target samples %s have a loss below %g, so their gradients say little, and their inputs are no "
                "floating-point numbers that could be moved",
                unmoved[:10], below,
            )  # fmt: skip
        return disturbed if low else target


def _direction(target: Target, place: int, gradients: SampleGradients) -> Callable[[], dict[str, Tensor]]:
    """What gives the gradient of one sample's quantity, or of the whole target, at the weights as they are."""
    steps = 0

    def of_whole() -> dict[str, Tensor]:
        whole = target.direction(gradients.model, gradients.task, gradients.parameters, gradients.precision)
        return {name: rows[0] for name, rows in whole.items()}

    def here() -> dict[str, Tensor]:
        nonlocal steps
        try:
            direction = of_whole() if place < 0 else target.gradient_at(place, gradients)
        except DataError as error:
            if not steps:
                raise
            problem = f"after {steps} steps of ascent the target has no value any more ({error})"
            raise SettingError(f"{problem}: take a lower rate or fewer steps") from error
        steps += 1
        return direction

    return here
