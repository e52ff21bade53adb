"""Stage *collect* without a model: evidence in memory is written as the shards that a model's passes would give."""

from __future__ import annotations

import numpy as np

from gradsift.errors import DataError
from gradsift.evidence import Evidence, last_layer_residual
from gradsift.evidence.stored import EARLY
from gradsift.store import RunDirectory


def collect_arrays(run: RunDirectory, evidence: Evidence, *, shard_size: int) -> list[int]:
    """Writes evidence into a run directory; whole shards of an earlier try are kept.

    Args:
        run: Where to write.
        evidence: Labels, losses and predictions; where features are known, gradients of the last layer follow.
        shard_size: Samples a shard.

    Returns:
        Number of samples of each shard.

    Raises:
        DataError: There are no predictions.
    """
    if evidence.predictions is None or evidence.labels is None or evidence.losses is None:
        missing = [name for name in ("labels", "predictions", "losses") if getattr(evidence, name) is None]
        raise DataError(
            f"this evidence has no {' and no '.join(missing)}, which an audit without a model needs: make it with "
            "gradsift.evidence.evidence_of_arrays, from probabilities, logits or features"
        )
    lengths = []
    for shard, start in enumerate(range(0, len(evidence), shard_size)):
        positions = np.arange(start, min(start + shard_size, len(evidence)))
        lengths.append(len(positions))
        if run.has_shard(0, shard):
            continue
        labels, predictions = evidence.labels[positions], evidence.predictions.rows(positions).astype(np.float32)
        statistics = {"prediction": predictions, "label": labels, "loss": evidence.losses[positions].astype(np.float32)}
        if evidence.early_predictions is not None:
            statistics[EARLY] = evidence.early_predictions.rows(positions).astype(np.float32)
        if evidence.features is not None:
            features = evidence.features.rows(positions).astype(np.float32)
            residual = last_layer_residual(labels, predictions)
            norms = {
                f"l{order}": np.linalg.norm(residual, ord=order, axis=1) * np.linalg.norm(features, ord=order, axis=1)
                for order in (1, 2)
            }
            statistics |= {"features": features, "residual": residual, **norms}
        run.write_shard(0, shard, statistics)
    return lengths
