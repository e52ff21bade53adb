"""What an audit and a plan have in common: data set, backends of its gradients, detectors, batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from gradsift.conventions import check_labels, check_outputs, class_names_for
from gradsift.data import Samples, fingerprint_samples, to_model
from gradsift.data.batch import FEATURES, table_of
from gradsift.detectors import Detector
from gradsift.errors import GradsiftError, ModelError, SettingError, naming_samples
from gradsift.gradients import Batcher, PerSampleGradients, Projection, Reductions, check_mode
from gradsift.gradients.batches import on_batch
from gradsift.gradients.batching import is_out_of_memory
from gradsift.gradients.model_state import evaluated
from gradsift.settings import AuditSettings
from gradsift.stages import Expected, choose_detectors
from gradsift.stages.further_evidence import further_fields
from gradsift.store.collect import SURROUNDED
from gradsift.tasks import ConditionedTask, Denoising, LabelledTask, Task, get_task, kind_of, read_outputs
from gradsift.tasks.reading import some_batches
from gradsift.trajectory import Trajectory
from gradsift.trajectory.identity import DataIdentity

SHARD_BYTES = 128 * 2**20
"""Most bytes of a shard, which waits in memory until it is whole."""


@dataclass(frozen=True)
class Preparation:
    """All that is known before the first shard.

    Attributes:
        task: The task.
        samples: The data set.
        gradients: The per-sample gradients that the detectors need.
        in_float32: For half-precision passes, gives the same gradients in float32; otherwise ``None``.
        detectors: Name to detector.
        detector: Name of the one that ranks and flags.
        batch_size: Samples a batch.
        shard_size: Samples a shard: as the settings say, fewer where they would take more than 128 MiB.
        fingerprint: The data set's fingerprint and what it covers, where a trajectory needed it already.
        class_names: Names of the classes, where they are known.
        cross_fit_heads: Whether heads are cross-fitted on the features.
    """

    task: Task
    samples: Samples
    gradients: PerSampleGradients
    in_float32: Callable[[], PerSampleGradients] | None
    detectors: Mapping[str, Detector]
    detector: str
    batch_size: int
    shard_size: int
    fingerprint: tuple[str, str] | None = None
    class_names: Sequence[str] | None = None
    cross_fit_heads: bool = False


def prepare(
    model: nn.Module,
    train_set: Any,
    task: str | Task,
    settings: AuditSettings,
    trajectory: Trajectory | None = None,
    class_names: Sequence[str] | None = None,
) -> Preparation:
    """Checks model and data, chooses backends, detectors and the batch size.

    Args:
        model: The model, in eval mode.
        train_set: The data set.
        task: The task or its name.
        settings: The settings.
        trajectory: What was recorded along training.
        class_names: Names of the classes, where the user gives them.

    Returns:
        The preparation.

    Raises:
        DataError: The trajectory is of another data set, or labels or names of classes are not the model's.
    """
    task, samples = get_task(task), Samples(train_set)
    fingerprint = None
    if trajectory is not None:
        fingerprint = fingerprint_samples(samples)
        (trajectory.data or DataIdentity(trajectory.size)).check(samples, fingerprint[0], "the trajectory")
    check_mode(model)
    positions = samples.evenly_spaced(8)
    example, outputs = _tried_out(model, task, samples, positions)
    task = read_outputs(task, model, some_batches(samples))
    check_labels(task, samples, outputs)
    class_names = class_names_for(model, task, samples, outputs, class_names)
    with naming_samples(positions):
        gradients = PerSampleGradients(model, task, example, layers=settings.layers, precision=settings.precision)
    heads = heads_wanted(settings.cross_fit_heads, model, gradients, task)
    table = kind_of(task) in SURROUNDED and table_of(example) is not None
    more = ({"inputs"} if table else set()) | further_fields(task, example, outputs)
    more |= {"features"} if isinstance(example, dict) and FEATURES in example else set()
    expected = _expected(task, gradients.closed_form, trajectory, heads=heads, more=more)
    detectors, ranking = choose_detectors(settings, expected)
    size = settings.batch_size
    reduced = gradients.keeping(_reductions(detectors, settings, gradients.closed_form, heads))
    sample_bytes = _sample_bytes(reduced, task, outputs, example, len(positions))
    in_float32 = partial(PerSampleGradients, model, task, example, layers=settings.layers, reductions=Reductions())
    return Preparation(
        task=task,
        samples=samples,
        gradients=reduced,
        in_float32=None if settings.precision == "float32" else in_float32,
        detectors=detectors,
        detector=ranking,
        batch_size=Batcher.fitting(model, task, example).size if size == "auto" else size,
        shard_size=max(1, min(settings.shard_size, SHARD_BYTES // sample_bytes)),
        fingerprint=fingerprint,
        class_names=class_names,
        cross_fit_heads=heads,
    )


def heads_wanted(setting: str, model: nn.Module, gradients: PerSampleGradients, task: Task) -> bool:
    """Whether heads are cross-fitted on the features of a model, or a head of pairs on its gradients.

    Args:
        setting: What the user said; ``"auto"`` where all parameters but the last layer's are frozen, and for pairs also
            where there are no others.
        model: The model.
        gradients: Its per-sample gradients.
        task: What a sample's loss is.

    Returns:
        Whether they are.

    Raises:
        SettingError: They are asked for where there are no classes or no features of the last layer.
    """
    of_pairs = kind_of(task) == "pair"
    possible = of_pairs or (gradients.closed_form and kind_of(task) == "class")
    if setting == "always" and not possible:
        raise SettingError(
            'cross_fit_heads="always" needs one class a sample and features of the last layer, or pairs: leave layers at '
            '"last", or leave cross_fit_heads out'
        )
    if setting != "auto" or not possible:
        return setting == "always"
    last = {name.rpartition(".")[0] for name in gradients.parameters}
    body = [parameter for name, parameter in model.named_parameters() if name.rpartition(".")[0] not in last]
    return (of_pairs or bool(body)) and not any(parameter.requires_grad for parameter in body)


def _expected(task: Task, closed_form: bool, trajectory: Trajectory | None, *, heads: bool, more: set[str]) -> Expected:
    """What evidence the model's passes will give."""
    fields = {"losses", "gradients"} | ({"labels", "predictions"} if isinstance(task, LabelledTask) else set())
    fields |= ({"features"} if closed_form else set()) | ({"trajectory"} if trajectory is not None else set())
    fields |= {"labels", "predictions", "conditions"} if isinstance(task, ConditionedTask) else set()
    fields |= more
    return Expected(frozenset(fields), kind_of(task), closed_form, trajectory, type(task).__name__, heads)


def _tried_out(model: nn.Module, task: Task, samples: Samples, positions: np.ndarray) -> tuple[Any, Any]:
    """A batch of some samples, and the model's outputs for it, checked."""
    example = on_batch(lambda _, batch: batch, samples.batch, positions)
    with naming_samples(positions):
        outputs = _outputs(model, task, example)
    check_outputs(task, outputs, len(positions))
    if isinstance(task, Denoising):
        task.warn_of_misfit(outputs, to_model(example, model))
    return example, outputs


def _outputs(model: nn.Module, task: Task, example: Any) -> Any:
    try:
        return evaluated(lambda: task.outputs(model, to_model(example, model)))
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        if is_out_of_memory(error) or isinstance(error, GradsiftError):
            raise
        shapes = [tuple(leaf.shape) for leaf in tree_flatten(example)[0] if isinstance(leaf, torch.Tensor)]
        raise ModelError(
            f"the model does not run on a batch with tensors of shapes {shapes}, the last one the label: {error}. Check "
            "that model and data belong together, and which columns are features"
        ) from error


def _sample_bytes(gradients: PerSampleGradients, task: Task, outputs: Any, example: Any, count: int) -> int:
    """What is stored of a sample, from shapes alone: factors or projections, and predictions; a few numbers beside them.

    Args:
        gradients: The per-sample gradients with what is kept of them.
        task: The task.
        outputs: The model's outputs for some samples.
        example: These samples.
        count: How many samples these are.

    Returns:
        Bytes, at least 1.
    """
    kept, parameters = gradients.reductions, gradients.parameters
    numbers = sum(sum(parameter.shape) for parameter in parameters.values()) if kept.factors else 1
    if kept.projection is not None:
        numbers += kept.projection.dim * (len(parameters) if kept.projection.per_layer else 1)
    if isinstance(task, LabelledTask):
        numbers += task.predictions(outputs).numel() // count
    features = example.get(FEATURES) if isinstance(example, dict) else None
    if isinstance(task, ConditionedTask):
        numbers, features = numbers + task.conditions, task.features(example)
    numbers += 0 if features is None else features.numel() // count
    return 4 * numbers


def _reductions(
    detectors: Mapping[str, Detector], settings: AuditSettings, closed_form: bool, heads: bool
) -> Reductions:
    needs_rows = heads or any(detector.rows for detector in detectors.values())
    projection = Projection(
        settings.projection, settings.projection_kind, settings.seed, per_layer=settings.projection_per_layer
    )
    return Reductions(
        l1=any(1 in detector.norms for detector in detectors.values()),
        l2=True,
        factors=needs_rows and closed_form,
        projection=projection if needs_rows and not closed_form else None,
    )
