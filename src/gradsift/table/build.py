"""Builds the table from losses, labels and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from gradsift.store import ArrayMatrix
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
    predictions: ArrayMatrix | np.ndarray | None = None,
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
    if isinstance(predictions, np.ndarray):
        predictions = ArrayMatrix(predictions)
    given, predicted = _label_columns(kind, labels, predictions)
    chosen = np.flatnonzero(flagged)
    words = reasons(
        chosen,
        main,
        detector,
        kind=kind,
        labels=labels[chosen] if labels is not None else None,
        predictions=predictions.rows(chosen) if predictions is not None else None,
        names=class_names,
    )
    nothing = pa.nulls(size, pa.int64())
    columns: dict[str, object] = {
        "position": pa.array(np.arange(size, dtype=np.int64)),
        "id": pa.array(ids) if ids is not None else pa.array(np.arange(size)).cast(pa.string()),
        "given_label": given if given is not None else nothing,
        "predicted_label": predicted if predicted is not None else nothing,
        "suggested_label": _suggested(kind, given, predicted, size),
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


def predicted_labels(predictions: ArrayMatrix) -> np.ndarray:
    """The most probable class of every sample.

    Args:
        predictions: Predicted probabilities, shape (n, K); read in pieces.

    Returns:
        Shape (n,), int64.
    """
    return np.concatenate([rows.argmax(axis=1) for _, rows in predictions.chunks()]).astype(np.int64)


def _label_columns(
    kind: str | None, labels: np.ndarray | None, predictions: ArrayMatrix | None
) -> tuple[pa.Array | None, pa.Array | None]:
    if kind is None or labels is None or predictions is None:
        return None, None
    if kind == "class":
        return pa.array(labels.astype(np.int64)), pa.array(predicted_labels(predictions))
    values = predictions.rows(np.arange(len(predictions)))
    if kind == "multilabel":
        return pa.array(list(labels.astype(np.int64))), pa.array(list((values > 0.5).astype(np.int64)))
    if labels.ndim == 1:
        return pa.array(labels.astype(np.float64)), pa.array(values[:, 0].astype(np.float64))
    return pa.array(list(labels.astype(np.float64))), pa.array(list(values.astype(np.float64)))


def _suggested(kind: str | None, given: pa.Array | None, predicted: pa.Array | None, size: int) -> pa.Array:
    """The predicted class where it differs from the given one."""
    if kind != "class" or given is None or predicted is None:
        return pa.nulls(size, predicted.type if predicted is not None else pa.int64())
    labels = predicted.to_numpy()
    return pa.array(labels, mask=labels == given.to_numpy())
