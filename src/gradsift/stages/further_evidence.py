"""Stage *further evidence*: what other passes of the model tell, of tokens, of responses and of parts of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.detectors import Detector
from gradsift.evidence import Evidence
from gradsift.gradients import Batcher
from gradsift.stages.part_evidence import part_evidence
from gradsift.stages.response_evidence import has_responses, response_evidence
from gradsift.stages.token_evidence import has_tokens, token_evidence
from gradsift.tasks import CausalLM, Seq2Seq, Task, TokenClassification
from gradsift.tasks.structured import StructuredTask

FIELDS = ("tokens", "responses", "worst_parts")
"""Fields of :class:`~gradsift.evidence.Evidence` that no shard holds: each needs the model at hand."""


def further_fields(task: Any, batch: Batch, outputs: Any) -> set[str]:
    """Which of the fields there can be.

    Args:
        task: The task.
        batch: Some samples.
        outputs: The model's outputs for them.

    Returns:
        Names of fields.
    """
    possible = {
        "tokens": has_tokens(task, outputs),
        "responses": has_responses(task, batch),
        "worst_parts": isinstance(task, StructuredTask),
    }
    return {name for name, there in possible.items() if there}


def with_further(
    evidence: Evidence,
    detectors: Iterable[Detector],
    model: nn.Module | None,
    task: Task | None,
    samples: Samples | None,
    positions: np.ndarray,
    batch_size: int,
    *,
    show_progress: bool = True,
) -> Evidence:
    """The evidence with the fields that a detector reads, where model and data set are at hand.

    Args:
        evidence: What is known of the samples.
        detectors: Those that were chosen.
        model: The model.
        task: The task.
        samples: The data set.
        positions: Which samples, in order; they count from 0 in what comes back.
        batch_size: Samples a batch.
        show_progress: Whether to show a progress bar.

    Returns:
        The evidence.
    """
    wanted = {name for detector in detectors for name in detector.reads}
    if model is None or samples is None:
        return evidence
    batcher = Batcher(batch_size)
    if "tokens" in wanted and isinstance(task, TokenClassification):
        tokens = token_evidence(model, task, samples, positions, batcher, show_progress=show_progress)
        return evidence.with_(tokens=tokens)
    if "responses" in wanted and isinstance(task, CausalLM | Seq2Seq):
        responses = response_evidence(model, task, samples, positions, batcher, show_progress=show_progress)
        return evidence.with_(responses=responses)
    if "worst_parts" in wanted and isinstance(task, StructuredTask):
        parts = part_evidence(
            model, task, samples, positions, batcher, class_names=evidence.class_names, show_progress=show_progress
        )
        return evidence.with_(worst_parts=parts)
    return evidence


def readable(detectors: Mapping[str, Detector], evidence: Evidence) -> dict[str, Detector]:
    """The detectors whose further field is there.

    Args:
        detectors: Name to detector.
        evidence: What is known of the samples.

    Returns:
        Name to detector.
    """
    missing = set(FIELDS) - evidence.known
    return {name: detector for name, detector in detectors.items() if detector.reads[0] not in missing}
