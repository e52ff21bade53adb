"""Removing what the flagged samples did to a model, without training it again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from gradsift.curvature.vectors import Directions
from gradsift.errors import DataError, SettingError
from gradsift.gradients import Layers
from gradsift.gradients.model_state import unwrapped
from gradsift.influence.generalized import Choice, GeneralizedInfluence, Mode, Solver
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.influence.targets import Target, Utility
from gradsift.table import AuditedRun
from gradsift.tasks import Task

logger = logging.getLogger(__name__)

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Steps that are tried on a validation set, as multiples of the theoretical one, beside none at all."""


@dataclass(frozen=True)
class UnlearningResult:
    """A model without the influence of some samples.

    Attributes:
        model: A copy of the model with other weights, in eval mode.
        removed: Positions of the samples whose influence was removed.
        multiple: How many times the theoretical step was taken; 1 where there was nothing to choose it by, 0 where no step
            helped or no sample is flagged.
        losses: Mean loss before and after, of the samples that were ``"flagged"``, those ``"kept"``, and ``"validation"``.
        changed: Length of the change of the weights.
        report: What the influence method measured.
        tried: Multiple of the step to the validation loss, where there is a validation set.
        words: The result in a sentence.
    """

    model: nn.Module
    removed: np.ndarray
    multiple: float
    losses: dict[str, tuple[float, float]]
    changed: float
    report: dict[str, Any]
    tried: dict[float, float] = field(default_factory=dict)
    words: str = ""


def unlearn(
    model: nn.Module,
    train_set: Any,
    audit: AuditedRun,
    *,
    validation: Any = None,
    task: str | Task = "classification",
    layers: Layers = "last",
    mode: Mode = "generalized",
    selector: Choice = None,
    solver: Solver = "fixed-point",
    max_steps: int = 100,
    tolerance: float = 1e-4,
    weight_decay: float = 0.0,
    damping: float = 0.0,
    subsample: int | None = None,
    multiples: Sequence[float] = MULTIPLES,
    batch_size: int | Literal["auto"] = "auto",
    seed: int = 0,
    show_progress: bool = True,
) -> UnlearningResult:
    """The model as it would be, to first order, had it been trained without the flagged samples.

    The weights move by ``|U| / (|S| - |U|)`` times the direction of
    :class:`~gradsift.influence.generalized.GeneralizedInfluence`: with all weights and solved to the end, one step of
    Newton's method on the loss of the samples that stay. That is close to training again where the loss is convex in the
    chosen weights, as with weight decay on the last layer, and few samples go; elsewhere measure it, and trim and train
    again where it matters. It proves nothing about privacy.

    Args:
        model: The trained model, in eval mode; it is left as it is.
        train_set: The data set that was audited.
        audit: The audit; its flagged samples go.
        validation: Samples that the length of the step is chosen on, by their mean loss: a set held out from training, and
            not the test set. Loss and accuracy need not agree: a model that wrong labels made unsure may gain in loss and
            lose in accuracy by a long step. Left out, the theoretical step is taken.
        task: The task.
        layers: Whose weights are looked at: as in :func:`gradsift.audit`.
        mode: As in :class:`~gradsift.influence.generalized.GeneralizedInfluence`.
        selector: Which of those weights may move, as there; all where left out.
        solver: As there.
        max_steps: As there.
        tolerance: As there.
        weight_decay: Coefficient of the penalty ``c/2 |w|^2`` that the model was trained with, as there.
        damping: As there.
        subsample: As there.
        multiples: Multiples of the theoretical step that are tried on the validation set.
        batch_size: Samples a batch.
        seed: Seed of what is drawn.
        show_progress: Whether to show progress bars.

    Returns:
        The new model, and losses before and after.

    Raises:
        DataError: The data set is not the one that was audited, or all of it is flagged.
        SettingError: A setting is outside its range.
        ModelError: The model is in the wrong mode, or cannot be differentiated twice.
    """
    if train_set is None:
        raise DataError("unlearn needs the data set that was audited: pass it as train_set")
    if not multiples or not all(0 < multiple < np.inf for multiple in multiples):
        raise SettingError(f"multiples must be numbers above 0; given {list(multiples)}")
    samples, removed = audit.samples_of(train_set), audit.flagged_positions
    if len(removed) == len(audit):
        raise DataError("all samples are flagged, so no model is left: audit with a smaller contamination")
    gradients = SampleGradients(
        model, samples, task=task, layers=layers, batch_size=batch_size, show_progress=show_progress
    )
    method = GeneralizedInfluence(
        mode=mode, selector=selector, solver=solver, max_steps=max_steps, tolerance=tolerance, seed=seed,
        weight_decay=weight_decay, damping=damping, subsample=subsample, show_progress=show_progress,
    )  # fmt: skip
    new = copy.deepcopy(unwrapped(model))
    splits = {"kept": Utility(samples.keep(audit.kept))}
    if validation is not None:
        splits["validation"] = Utility(validation)
    if len(removed) == 0:
        words = "No sample is flagged: the model is as it was."
        logger.warning("%s", words)
        return UnlearningResult(new, removed, 0.0, _pairs(splits, model, new, gradients.task), 0.0, {}, {}, words)
    splits["flagged"] = Utility(samples.keep(removed))
    direction = method.fit_gradients(gradients).step(removed)
    multiple, tried = 1.0, {}
    if validation is not None:
        tried = {0.0: splits["validation"].value(new, gradients.task)}
        for factor in sorted(multiples):
            _put(new, model, direction, factor)
            tried[float(factor)] = splits["validation"].value(new, gradients.task)
        multiple = min(tried, key=lambda factor: (tried[factor] if np.isfinite(tried[factor]) else np.inf, factor))
    _put(new, model, direction, multiple)
    losses = _pairs(splits, model, new, gradients.task)
    changed = multiple * float(sum(change.double().square().sum() for change in direction.values())) ** 0.5
    words = _words(len(removed), multiple, losses)
    if multiple == 0:
        logger.warning("%s", words)
    return UnlearningResult(new, removed, multiple, losses, changed, dict(method.report_), tried, words)


def _put(new: nn.Module, model: nn.Module, direction: Directions, multiple: float) -> None:
    """Sets the copy's weights to the model's plus a multiple of a change."""
    weights = dict(unwrapped(model).named_parameters())
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            if name in direction:
                parameter.copy_(weights[name] + multiple * direction[name][0].to(weights[name]))


def _pairs(
    splits: dict[str, Utility], before: nn.Module, after: nn.Module, task: Task
) -> dict[str, tuple[float, float]]:
    return {name: (_value(split, before, task), _value(split, after, task)) for name, split in splits.items()}


def _value(target: Target, model: nn.Module, task: Task) -> float:
    return target.value(unwrapped(model), task)


def _words(count: int, multiple: float, losses: dict[str, tuple[float, float]]) -> str:
    if multiple == 0:
        return f"No step away from the {count:,} flagged samples lowers the validation loss: the model is as it was."
    parts = [f"{name} {before:.4g} to {after:.4g}" for name, (before, after) in losses.items()]
    return f"{multiple:g} x the step that removes {count:,} samples; mean loss: {', '.join(parts)}."
