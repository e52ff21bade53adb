"""Builds the table from losses, labels and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.scratch import empty
from gradsift.store import ArrayMatrix, GradientMatrix, ShardedArray
from gradsift.store.tables import KEY, ROW_GROUP, joined
from gradsift.table.kinds import Beliefs, Known, kinds
from gradsift.table.parts import Suggestions
from gradsift.table.reasons import class_reasons, other_reasons, score_sizes
from gradsift.table.remoteness import remoteness
from gradsift.table.schema import COLUMNS, SCORE_PREFIX


def build_table(
    *,
    losses: np.ndarray,
    scores: Mapping[str, np.ndarray],
    detector: str,
    flagged: np.ndarray,
    kind: str | None = None,
    labels: np.ndarray | None = None,
    predictions: ArrayMatrix | np.ndarray | None = None,
    ids: Sequence[str] | ShardedArray | None = None,
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
    if isinstance(predictions, np.ndarray):
        predictions = ArrayMatrix(predictions)
    ranking, size, chosen = scores[detector], len(losses), np.flatnonzero(flagged)
    known, suggested = None, None if suggestions is None else suggestions.labels
    order = empty(size)
    order[:] = ranking
    order.sort()
    if kind == "class" and labels is not None and predictions is not None:
        beliefs = Beliefs.of_predictions(predictions) if beliefs is None else beliefs
        nearer = remoteness(features, chosen) if features is not None and len(chosen) else None
        known = Known(labels, beliefs, nearer, duplicates or {})
        if suggestions is None:
            suggested = Masked(*beliefs.suggested(labels, flagged, known.duplicates))
    numbers: dict[str, Any] = {
        "suggested_label": suggested,
        "wrong_probability": wrong_probability,
        "loss": losses.astype(np.float64, copy=False),
        "score": ranking,
        "rank": _ranks(ranking, flagged),
        "flagged": flagged,
        **({} if suggestions is None else suggestions.columns),
        **{SCORE_PREFIX + name: values for name, values in scores.items()},
    }
    reasons = Reasons(detector, ranking, order, chosen, kind, class_names, known, suggestions, part_reasons or {})
    pieces = Pieces(labels, predictions, ids, numbers, reasons)
    metadata = {"detector": detector, "class_names": class_names, **(about or {})}
    starts = range(0, max(size, 1), ROW_GROUP)
    table = joined((pieces.of(slice(start, min(start + ROW_GROUP, size))) for start in starts), size)
    return table.replace_schema_metadata({KEY: json.dumps(metadata)})


@dataclass(frozen=True)
class Pieces:
    """The table piece by piece, so that words stand in memory for a piece alone.

    Attributes:
        labels: Given labels, shape (n,) or (n, K).
        predictions: Predicted probabilities or values, shape (n, K).
        ids: One id a sample; its position where ``None``.
        numbers: Columns of numbers, row = position; ``None`` where nothing is known.
        reasons: What is said of flagged samples.
    """

    labels: np.ndarray | None
    predictions: GradientMatrix | None
    ids: Sequence[str] | ShardedArray | None
    numbers: Mapping[str, Any]
    reasons: Reasons

    def of(self, rows: slice) -> pa.Table:
        """Some rows.

        Args:
            rows: From where to where.

        Returns:
            Their piece of the table.
        """
        positions = np.arange(rows.start, rows.stop)
        given_labels, predicted = _label_columns(self.reasons.kind, self.labels, self.predictions, positions)
        codes, words = self.reasons.of(rows, self.labels, self.predictions)
        columns = {
            "position": positions,
            "id": _ids(self.ids, positions),
            "given_label": given_labels,
            "predicted_label": predicted,
            "percentile": self.reasons.percentiles(rows),
            "reason_kind": codes,
            "reason": [words.get(position, "") for position in positions.tolist()],
        }
        columns |= {name: None if values is None else values[rows] for name, values in self.numbers.items()}
        names = [*COLUMNS, *(name for name in self.numbers if name not in COLUMNS)]
        return _table_of({name: columns[name] for name in names}, len(positions), given_labels)


@dataclass(frozen=True)
class Reasons:
    """Why samples are flagged.

    Attributes:
        detector: The main detector.
        scores: Its scores, shape (n,); high = detrimental.
        order: The same, sorted.
        chosen: Positions of the flagged samples, in order, shape (m,).
        kind: The task's kind.
        class_names: Names of the classes.
        known: What is known of flagged samples where there are classes.
        suggestions: What is suggested for several labels or for values.
        parts: Position to what is said of a sample's tokens, or of its response.
    """

    detector: str
    scores: np.ndarray
    order: np.ndarray
    chosen: np.ndarray
    kind: str | None
    class_names: Sequence[str] | None
    known: Known | None
    suggestions: Suggestions | None
    parts: Mapping[int, str]

    def percentiles(self, rows: slice) -> np.ndarray:
        """Percentage of samples whose score is at most that of each of some samples."""
        return 100.0 * np.searchsorted(self.order, self.scores[rows], side="right") / len(self.order)

    def of(
        self, rows: slice, labels: np.ndarray | None, predictions: GradientMatrix | None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Kinds of reasons of some samples, empty where a sample is not flagged, and position to reason.

        Args:
            rows: From where to where.
            labels: Given labels of all samples.
            predictions: Predictions of all samples.

        Returns:
            Codes, shape (rows,), and words.
        """
        piece = slice(*np.searchsorted(self.chosen, [rows.start, rows.stop]))
        positions, codes = self.chosen[piece], np.full(rows.stop - rows.start, "", dtype=object)
        words = score_sizes(positions, self.scores, self.order, self.detector)
        if self.known is not None:
            known = replace(self.known, nearer=None if self.known.nearer is None else self.known.nearer[piece])
            codes[positions - rows.start] = kinds(positions, known)
            words = class_reasons(positions, codes[positions - rows.start], known, self.class_names, words)
        elif labels is not None and predictions is not None:
            words |= other_reasons(
                positions, self.kind, labels[positions], predictions.rows(positions), self.class_names
            )
        if self.suggestions is not None:
            suggested = self.suggestions.words
            suggested = {position: suggested[position] for position in positions.tolist() if position in suggested}
            if self.kind != "pair":
                suggested = {position: f"{words[position]}; {more}" for position, more in suggested.items()}
            words |= suggested
        words |= {position: self.parts[position] for position in positions.tolist() if position in self.parts}
        return codes, words


@dataclass(frozen=True)
class Masked:
    """Numbers of which some are left out.

    Attributes:
        values: Shape (n,).
        meant: Which of them stand in the table, shape (n,), boolean.
    """

    values: np.ndarray
    meant: np.ndarray

    def __getitem__(self, rows: slice) -> pa.Array:
        """A piece of the column."""
        return pa.array(self.values[rows], mask=~self.meant[rows])


def _ids(ids: Sequence[str] | ShardedArray | None, positions: np.ndarray) -> Any:
    """Ids of some samples: their positions where no others are known."""
    if isinstance(ids, ShardedArray):
        return ids.rows(positions).astype(str)
    return positions.astype(str) if ids is None else [ids[position] for position in positions.tolist()]


def _ranks(main: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Ranks from 1, the most detrimental first; of equal scores the flagged ones come first, then it goes by position."""
    ranks, order = empty(len(main), np.int64), np.lexsort((~flagged, np.negative(main, out=empty(len(main)))))
    for start in range(0, len(main), ROW_GROUP):
        piece = order[start : start + ROW_GROUP]
        ranks[piece] = np.arange(start + 1, start + len(piece) + 1)
    return ranks


def _table_of(columns: Mapping[str, Any], size: int, given_labels: pa.Array | None) -> pa.Table:
    """The table, in which all labels are of the type of the given ones, and columns of which nothing is known are empty."""
    label_type = pa.int64() if given_labels is None else given_labels.type
    types = dict.fromkeys(("given_label", "predicted_label", "suggested_label"), label_type)
    types |= {"wrong_probability": pa.float64()} | dict.fromkeys(("id", "reason_kind", "reason"), pa.string())
    return pa.table({name: _column(values, size, types.get(name)) for name, values in columns.items()})


def _column(values: Any, size: int, arrow_type: pa.DataType | None) -> pa.Array:
    """A column of the table; empty where nothing is known."""
    if values is None:
        return pa.nulls(size, arrow_type)
    return values if isinstance(values, pa.Array) else pa.array(values, arrow_type)


def predicted_labels(predictions: GradientMatrix) -> np.ndarray:
    """The most probable class of every sample.

    Args:
        predictions: Predicted probabilities, shape (n, K); read in pieces.

    Returns:
        Shape (n,), int64.
    """
    return np.concatenate([rows.argmax(axis=1) for _, rows in predictions.chunks()]).astype(np.int64)


def _label_columns(
    kind: str | None, labels: np.ndarray | None, predictions: GradientMatrix | None, positions: np.ndarray
) -> tuple[pa.Array | None, pa.Array | None]:
    """Given and predicted labels of some samples."""
    if kind is None or labels is None or predictions is None:
        return None, None
    given_labels, piece = labels[positions], predictions.subset(positions)
    if kind in ("class", "pair"):
        return pa.array(given_labels.astype(np.int64)), pa.array(predicted_labels(piece))
    values = piece.rows(np.arange(len(piece)))
    if kind == "multilabel":
        return _numbers(given_labels, pa.int64()), _numbers(values > 0.5, pa.int64())
    values = values[:, 0] if given_labels.ndim == 1 else values
    return _numbers(given_labels, pa.float64()), _numbers(values, pa.float64())


def _numbers(values: np.ndarray, arrow_type: pa.DataType) -> pa.Array:
    """A column of numbers, or of lists of them; NaN is empty, a label that the task masks.

    Args:
        values: Shape (n,) or (n, K).
        arrow_type: What a number becomes.

    Returns:
        The column.
    """
    flat = pa.array(values.ravel().astype(np.float64), from_pandas=True).cast(arrow_type)
    if values.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1]).cast(pa.list_(arrow_type))
