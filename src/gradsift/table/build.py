"""Builds the table from losses, labels and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.store import ArrayMatrix, GradientMatrix
from gradsift.store.tables import KEY
from gradsift.table.kinds import Beliefs, Known, kinds
from gradsift.table.parts import Suggestions
from gradsift.table.reasons import class_reasons, other_reasons, score_sizes
from gradsift.table.remoteness import remoteness
from gradsift.table.schema import SCORE_PREFIX


def build_table(
    *,
    losses: np.ndarray,
    scores: Mapping[str, np.ndarray],
    detector: str,
    flagged: np.ndarray,
    kind: str | None = None,
    labels: np.ndarray | None = None,
    predictions: ArrayMatrix | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    beliefs: Beliefs | None = None,
    wrong_probability: np.ndarray | None = None,
    features: GradientMatrix | None = None,
    duplicates: Mapping[int, np.ndarray] | None = None,
    suggestions: Suggestions | None = None,
    part_reasons: Mapping[int, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Builds the table.

    Args:
        losses: Shape (n,).
        scores: Detector to scores, shape (n,); high = detrimental.
        detector: The main detector, whose score ranks the samples.
        flagged: Which samples are flagged, shape (n,), boolean.
        kind: The task's kind: ``"class"``, ``"multilabel"``, ``"value"``, ``"pair"``, or ``None`` where labels are unknown.
        labels: Given labels, shape (n,) or (n, K).
        predictions: Predicted probabilities or values, shape (n, K).
        ids: One id a sample.
        class_names: Names of the classes.
        beliefs: What is believed of the true classes; the predictions where left out.
        wrong_probability: Calibrated probability that each given label is wrong, shape (n,).
        features: Inputs of the last layer, shape (n, D), by which inputs far from their neighbours are told.
        duplicates: Position of a flagged sample to those with the same input and other labels, as
            :func:`~gradsift.table.duplicates.conflicting_duplicates` finds them.
        suggestions: What is suggested for several labels or for values, where a detector suggests something.
        part_reasons: Position to what is said of the sample's tokens, or of its response.
        about: What else the table says of itself, such as the run and the data that it belongs to.

    Returns:
        The table, row = position. Of equal scores the flagged ones come first, then it goes by position.
    """
    main, size = scores[detector], len(losses)
    if isinstance(predictions, np.ndarray):
        predictions = ArrayMatrix(predictions)
    given, predicted = _label_columns(kind, labels, predictions)
    chosen = np.flatnonzero(flagged)
    words, codes, suggested = score_sizes(chosen, main, detector), np.full(size, "", dtype=object), None
    if kind == "class" and labels is not None and predictions is not None:
        known = Known(
            labels=labels,
            beliefs=Beliefs.of_predictions(predictions) if beliefs is None else beliefs,
            nearer=remoteness(features, chosen) if features is not None and len(chosen) else None,
            duplicates=duplicates or {},
        )
        words, codes, suggested = _of_classes(known, flagged, class_names, words)
    elif labels is not None and predictions is not None:
        words |= other_reasons(chosen, kind, labels[chosen], predictions.rows(chosen), class_names)
    if suggestions is not None:
        suggested = suggestions.labels
        size_of = (lambda _: "") if kind == "pair" else lambda position: f"{words[position]}; "
        words |= {position: f"{size_of(position)}{said}" for position, said in suggestions.words.items()}
    words |= {position: said for position, said in (part_reasons or {}).items() if position in words}
    columns: dict[str, Any] = {
        "position": np.arange(size, dtype=np.int64),
        "id": np.arange(size).astype(str) if ids is None else ids,
        "given_label": given,
        "predicted_label": predicted,
        "suggested_label": suggested,
        "wrong_probability": wrong_probability,
        "loss": losses.astype(np.float64),
        "score": main,
        "rank": _ranks(main, flagged),
        "percentile": 100.0 * np.searchsorted(np.sort(main), main, side="right") / size,
        "flagged": flagged,
        "reason_kind": codes,
        "reason": [words.get(position, "") for position in range(size)],
    }
    columns |= suggestions.columns if suggestions is not None else {}
    columns |= {SCORE_PREFIX + name: values for name, values in scores.items()}
    described = {"detector": detector, "class_names": class_names, **(about or {})}
    return _table_of(columns, size, given).replace_schema_metadata({KEY: json.dumps(described)})


def _of_classes(
    known: Known, flagged: np.ndarray, class_names: Sequence[str] | None, sizes: dict[int, str]
) -> tuple[dict[int, str], np.ndarray, pa.Array]:
    """Reasons of flagged samples that have one class each.

    Args:
        known: What is known of the samples.
        flagged: Which samples are flagged, shape (n,), boolean.
        class_names: Names of the classes.
        sizes: Position to the size of its score in words.

    Returns:
        Position to reason, kinds of reasons, shape (n,), and suggested labels, shape (n,).
    """
    chosen, codes = np.flatnonzero(flagged), np.full(len(flagged), "", dtype=object)
    classes, meant = known.beliefs.suggested(known.labels, flagged, known.duplicates)
    codes[chosen] = kinds(chosen, known)
    reasons = class_reasons(chosen, codes[chosen], known, class_names, sizes)
    return reasons, codes, pa.array(classes, mask=~meant)


def _ranks(main: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Ranks from 1, the most detrimental first; of equal scores the flagged ones come first, then it goes by position."""
    ranks = np.empty(len(main), dtype=np.int64)
    ranks[np.lexsort((~flagged, -main))] = np.arange(1, len(main) + 1)
    return ranks


def _table_of(columns: Mapping[str, Any], size: int, given: pa.Array | None) -> pa.Table:
    """The table, in which all labels are of the type of the given ones, and columns of which nothing is known are empty."""
    label_type = pa.int64() if given is None else given.type
    types = dict.fromkeys(("given_label", "predicted_label", "suggested_label"), label_type)
    types |= {"wrong_probability": pa.float64()} | dict.fromkeys(("id", "reason_kind", "reason"), pa.string())
    return pa.table({name: _column(values, size, types.get(name)) for name, values in columns.items()})


def _column(values: Any, size: int, kind: pa.DataType | None) -> pa.Array:
    """A column of the table; empty where nothing is known."""
    if values is None:
        return pa.nulls(size, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


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
    if kind in ("class", "pair"):
        return pa.array(labels.astype(np.int64)), pa.array(predicted_labels(predictions))
    values = predictions.rows(np.arange(len(predictions)))
    if kind == "multilabel":
        return _numbers(labels, pa.int64()), _numbers(values > 0.5, pa.int64())
    return _numbers(labels, pa.float64()), _numbers(values[:, 0] if labels.ndim == 1 else values, pa.float64())


def _numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """A column of numbers, or of lists of them; NaN is empty, a label that the task masks.

    Args:
        values: Shape (n,) or (n, K).
        kind: What a number becomes.

    Returns:
        The column.
    """
    flat = pa.array(values.ravel().astype(np.float64), from_pandas=True).cast(kind)
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1]).cast(pa.list_(kind))
