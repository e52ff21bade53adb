"""Evidence on disk: what the stage of collecting has written into a run directory."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.evidence.conditions import condition_probabilities
from gradsift.evidence.hub import Evidence, Provenance
from gradsift.store import ArrayMatrix, FactoredMatrix, GradientMatrix, RunDirectory, ShardedArray, StoredMatrix
from gradsift.store.collect import CONDITION_LOSS
from gradsift.tasks import Kind
from gradsift.trajectory import Trajectory
from gradsift.trajectory.unseen import completed, unseen

HEADS = 1
"""Number of the checkpoint under which the predictions of cross-fitted heads are stored: the model itself is number 0."""
HELD_OUT, EARLY = "held_out_prediction", "early_prediction"


def store_head_predictions(run: RunDirectory, predictions: np.ndarray) -> None:
    """Writes what cross-fitted heads predict beside what the model predicts; :func:`stored_evidence` reads it from then on.

    Args:
        run: The run directory, with all shards of its first checkpoint.
        predictions: Shape (n, K).
    """
    lengths = run.read_json("manifest.json")["shards"]
    for shard, end in enumerate(np.cumsum(lengths)):
        run.write_shard(HEADS, shard, {HELD_OUT: predictions[end - lengths[shard] : end]})
    run.record_shards(lengths, HEADS)


def stored_evidence(
    run: RunDirectory,
    kind: Kind | None,
    *,
    trajectory: Trajectory | None = None,
    provenance: Provenance = "in-sample",
) -> Evidence:
    """The evidence of a run directory; matrices stay on disk and are read in pieces.

    Where heads were cross-fitted on the model's features, predictions are theirs; losses and gradients stay the model's.

    Args:
        run: The run directory, with all shards of its first checkpoint.
        kind: What labels are; ``None`` where there are none.
        trajectory: What was recorded along training.
        provenance: Where predictions come from.

    Returns:
        The evidence.
    """
    stored = run.stored()
    labels = run.statistic("label").load() if "label" in stored else None
    of_heads = bool(run.read_json("manifest.json").get("heads"))
    predictions: Any = run.statistic(HELD_OUT, HEADS) if of_heads else None
    if predictions is None and "prediction" in stored:
        predictions = run.statistic("prediction")
    if predictions is None and labels is not None and CONDITION_LOSS in stored:
        predictions = condition_probabilities(run.statistic(CONDITION_LOSS).load(), labels)
    return Evidence(
        predictions=None if predictions is None else ArrayMatrix(predictions),
        features=ArrayMatrix(run.statistic("features")) if "features" in stored else None,
        inputs=ArrayMatrix(run.statistic("input")) if "input" in stored else None,
        early_predictions=ArrayMatrix(run.statistic(EARLY)) if EARLY in stored else None,
        labels=labels,
        losses=run.statistic("loss").load(np.float64),
        gradients=stored_gradients(run),
        trajectory=trajectory,
        kind=kind,
        provenance={
            # what a data set gives of itself has seen no label
            "features": provenance if "residual" in stored else "out-of-fold",
            "predictions": "out-of-fold" if of_heads else provenance,
            "losses": "in-sample" if of_heads else provenance,
            "gradients": "in-sample" if of_heads else provenance,
        },
    )


def stored_gradients(run: RunDirectory, checkpoint: int = 0) -> StoredMatrix:
    """The gradients of a run as detectors read them.

    Args:
        run: The run directory.
        checkpoint: Number of the checkpoint.

    Returns:
        Exact norms with factors or projections as rows.
    """
    names = run.stored(checkpoint)
    rows: GradientMatrix | None = None
    if "residual" in names:
        rows = FactoredMatrix(run.statistic("residual", checkpoint), run.statistic("features", checkpoint))
    elif "projection" in names:
        rows = ArrayMatrix(run.statistic("projection", checkpoint))
    norms: dict[int, ShardedArray] = {o: run.statistic(f"l{o}", checkpoint) for o in (1, 2) if f"l{o}" in names}
    return StoredMatrix(rows, norms, len(run.statistic("loss", checkpoint)))


def with_samples_never_drawn(run: RunDirectory, evidence: Evidence) -> tuple[Evidence, int]:
    """Puts the final model's statistics, on the scale of training, where training never drew a sample.

    Args:
        run: The run directory.
        evidence: What is known of its samples.

    Returns:
        Evidence whose trajectory holds every sample, and how many were never drawn.
    """
    recorded = evidence.trajectory
    not_drawn = unseen(recorded) if recorded is not None else ()
    if recorded is None or not len(not_drawn):
        return evidence, 0
    stored = run.stored() & {"loss", "l1", "l2"}
    final = {name: run.statistic(name).load().astype(np.float64) for name in stored}
    return evidence.with_(trajectory=completed(recorded, final, evidence.predictions)), len(not_drawn)
