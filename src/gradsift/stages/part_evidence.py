"""Stage *parts*: one more pass, forward alone, in which the task scores the worst part of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.detectors.surprise import chances
from gradsift.evidence.worst_parts import WorstParts
from gradsift.gradients import Batcher
from gradsift.gradients.batches import each_batch
from gradsift.gradients.model_state import evaluated
from gradsift.progress import progress
from gradsift.tasks.structured import Classes, Part, StructuredTask

COUNTED = 256
"""So many samples, spread over the data set, tell how common each class is."""
NOWHERE = (np.nan,) * 4


def part_evidence(
    model: nn.Module,
    task: StructuredTask,
    samples: Samples,
    positions: np.ndarray,
    batcher: Batcher,
    *,
    class_names: Sequence[str] | None = None,
    show_progress: bool = True,
) -> WorstParts:
    """Runs the model over all samples and asks the task for the worst part of each label.

    Args:
        model: The model, in eval mode.
        task: The task.
        samples: The data set.
        positions: Which samples, in order.
        batcher: The batch size.
        class_names: Names of the classes, where they are known.
        show_progress: Whether to show a progress bar.

    Returns:
        The evidence.
    """

    def count(_: np.ndarray, batch: Batch) -> Tensor | None:
        with torch.no_grad():
            return task.class_counts(evaluated(lambda: task.outputs(model, batch)), batch)

    def read(_: np.ndarray, batch: Batch) -> list[Part] | list[tuple[Part, ...]]:
        with torch.no_grad():
            return task.worst_parts(evaluated(lambda: task.outputs(model, batch)), batch, classes)

    some = positions[:: max(1, len(positions) // COUNTED)]
    counts = [found for _, found in each_batch(count, samples.batch, some, batcher, model=model) if found is not None]
    shares = pad_sequence(counts).sum(dim=1).double() if counts else None
    classes = Classes(class_names, None if shares is None else shares / shares.sum().clamp(min=1))

    with progress("parts", len(positions), show=show_progress) as bar:
        walk = each_batch(read, samples.batch, positions, batcher, model=model, bar=bar)
        found = [part for _, some in walk for part in some]
    parts = [part for part in found if isinstance(part, Part)]
    faults = [kinds for kinds in found if isinstance(kinds, tuple)]
    scores = np.array([part.score for part in parts])
    if faults:
        scores = np.array([[fault.score for fault in kinds] for kinds in faults])
        worst = chances(list(scores.T)).argmin(axis=1)
        parts = [kinds[number] for kinds, number in zip(faults, worst, strict=True)]
    return WorstParts(
        scores,
        [part.words for part in parts],
        np.array([part.box or NOWHERE for part in parts], dtype=np.float64),
        bool(faults),
        _of_all([part.size for part in parts]),
        _of_all([part.wrong for part in parts]),
    )


def _of_all(values: list[float | None]) -> np.ndarray | None:
    """What every part tells; ``None`` where one tells nothing."""
    known = [value for value in values if value is not None]
    return np.array(known, dtype=np.float64) if values and len(known) == len(values) else None
