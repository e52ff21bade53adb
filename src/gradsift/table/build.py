"""Builds the table from losses, labels and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from gradsift.table.reasons import reasons
from gradsift.table.schema import SCORE_PREFIX


def build_table(
    *,
    losses: np.ndarray,
    scores: Mapping[str, np.ndarray],
    detector: str,
    flagged_count: int,
    kind: str | None = None,
    labels: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> pa.Table:
    """Builds the table.

    Args:
        losses: Shape (n,).
        scores: Detector to scores, shape (n,); high = detrimental.
        detector: The main detector, whose score ranks the samples.
        flagged_count: How many of the highest scores are flagged.
        kind: The task's kind: ``"class"``, ``"multilabel"``, ``"value"``, or ``None`` where labels are unknown.
        labels: Given labels, shape (n,) or (n, K).
        predictions: Predicted probabilities or values, shape (n, K).
        ids: One id a sample.
        class_names: Names of the classes.

    Returns:
        The table, row = position. Equal scores are ranked by position.
    """
    main, size = scores[detector], len(losses)
    order = np.argsort(-main, kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[order] = np.arange(1, size + 1)
    flagged = rank <= flagged_count
    percentile = 100.0 * np.searchsorted(np.sort(main), main, side="right") / size
    given, predicted = _label_columns(kind, labels, predictions)
    differs = None if given is None or predicted is None or kind != "class" else labels != predictions.argmax(axis=1)  # type: ignore[union-attr]
    suggested = predicted if differs is None else pa.array(predicted.to_numpy(), mask=~differs)  # type: ignore[union-attr]
    if kind != "class":
        suggested = pa.nulls(size, predicted.type if predicted is not None else pa.int64())
    words = reasons(
        np.flatnonzero(flagged), main, detector, kind=kind, labels=labels, predictions=predictions, names=class_names
    )
    nothing = pa.nulls(size, pa.int64())
    columns: dict[str, object] = {
        "position": pa.array(np.arange(size, dtype=np.int64)),
        "id": pa.array(ids if ids is not None else [str(position) for position in range(size)]),
        "given_label": given if given is not None else nothing,
        "predicted_label": predicted if predicted is not None else nothing,
        "suggested_label": suggested,
        "loss": pa.array(losses.astype(np.float64)),
        "score": pa.array(main),
        "rank": pa.array(rank),
        "percentile": pa.array(percentile),
        "flagged": pa.array(flagged),
        "reason": pa.array([words.get(position, "") for position in range(size)]),
    }
    columns |= {SCORE_PREFIX + name: pa.array(values) for name, values in scores.items()}
    table = pa.table(columns)
    return table.replace_schema_metadata({"gradsift": json.dumps({"detector": detector, "class_names": class_names})})


def _label_columns(
    kind: str | None, labels: np.ndarray | None, predictions: np.ndarray | None
) -> tuple[pa.Array | None, pa.Array | None]:
    if kind is None or labels is None or predictions is None:
        return None, None
    if kind == "class":
        return pa.array(labels.astype(np.int64)), pa.array(predictions.argmax(axis=1).astype(np.int64))
    if kind == "multilabel":
        return pa.array(list(labels.astype(np.int64))), pa.array(list((predictions > 0.5).astype(np.int64)))
    if labels.ndim == 1:
        return pa.array(labels.astype(np.float64)), pa.array(predictions[:, 0].astype(np.float64))
    return pa.array(list(labels.astype(np.float64))), pa.array(list(predictions.astype(np.float64)))
