"""Suggestions where a sample is more than a class: labels to add or remove, the value to expect, pairs to swap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

LEVELS = 20
"""Whole numbers of at most so many different values are the levels of an ordinal target."""
SHOWN = 3
"""So many labels or targets are named in a sentence."""


@dataclass(frozen=True)
class Suggestions:
    """What is suggested for flagged samples.

    Attributes:
        labels: Suggested labels or values, one entry a sample, null for samples that are not flagged; ``None`` where none
            are.
        words: Position to words.
        columns: Further columns of the table, by name.
    """

    labels: pa.Array | None
    words: dict[int, str]
    columns: dict[str, pa.Array] = field(default_factory=dict)


def of_label_sets(
    wrong: np.ndarray, labels: np.ndarray, flagged: np.ndarray, names: Sequence[str] | None
) -> Suggestions:
    """Labels to add and to remove.

    The cut is the same for every label: the lowest probability with which a flagged sample's worst label is wrong. As this
    probability counts how often labels are added and left out, the two kinds of errors are cut at different beliefs.

    Args:
        wrong: Probability that each label is wrong, shape (n, K); NaN where a label is not known.
        labels: Given labels, shape (n, K).
        flagged: Which samples are flagged, shape (n,), boolean.
        names: Names of the labels.

    Returns:
        The suggestions.
    """
    known = np.nan_to_num(wrong, nan=0.0)
    worst = known.max(axis=1)
    cut = worst[flagged].min() if flagged.any() else np.inf
    changed = (known >= cut) & flagged[:, None]
    suggested = np.where(changed, 1 - np.nan_to_num(labels), labels)
    rows: list[list[int | None] | None] = [None] * len(labels)
    words = {}
    for position in np.flatnonzero(flagged).tolist():
        rows[position] = [None if np.isnan(value) else int(value) for value in suggested[position].astype(float)]
        order = np.argsort(-known[position], kind="stable")
        changes = [int(label) for label in order if changed[position, label]]
        shown = [
            f"{'remove' if labels[position, one] == 1 else 'add'} {names[one]!r}" if names is not None else
            f"{'remove' if labels[position, one] == 1 else 'add'} label {one}"
            for one in changes[:SHOWN]
        ]  # fmt: skip
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        words[position] = f"{', '.join(shown)}{more}"
    return Suggestions(pa.array(rows, pa.list_(pa.int64())), words)


def of_values(
    expected: np.ndarray, low: np.ndarray, high: np.ndarray, wrong: np.ndarray, values: np.ndarray, flagged: np.ndarray
) -> Suggestions:
    """The values that are expected, with the interval in which 95 % of right ones lie.

    Of an ordinal target (few whole numbers) the nearest of the given levels is suggested.

    Args:
        expected: Shape (n, K).
        low: Lower ends of the interval, shape (n, K).
        high: Upper ends.
        wrong: Probability that each value is corrupted, shape (n, K).
        values: Given values, shape (n, K).
        flagged: Which samples are flagged, shape (n,), boolean.

    Returns:
        The suggestions; with one target also columns ``suggested_low`` and ``suggested_high``.
    """
    chosen = np.flatnonzero(flagged)
    nearest = np.stack([_to_levels(column, given) for column, given in zip(expected.T, values.T, strict=True)], axis=1)
    words = {}
    for position in chosen.tolist():
        worst = int(wrong[position].argmax())
        target = f"target {worst} " if values.shape[1] > 1 else ""
        words[position] = (
            f"{target}expected {nearest[position, worst]:.4g} ({low[position, worst]:.4g} to {high[position, worst]:.4g})"
        )
    if values.shape[1] > 1:
        rows: list[list[float] | None] = [None] * len(values)
        for position in chosen.tolist():
            rows[position] = nearest[position].tolist()
        return Suggestions(pa.array(rows, pa.list_(pa.float64())), words)
    columns = {
        "suggested_low": pa.array(low[:, 0], mask=~flagged),
        "suggested_high": pa.array(high[:, 0], mask=~flagged),
    }
    return Suggestions(pa.array(nearest[:, 0], mask=~flagged), words, columns)


def of_pairs(swapped: np.ndarray, model: np.ndarray, neighbours: np.ndarray, flagged: np.ndarray) -> Suggestions:
    """Pairs to swap.

    Args:
        swapped: Probability that each pair is swapped, shape (n,).
        model: Probability under the model that the rejected answer of each flagged pair is the better one, shape (m,).
        neighbours: Whether each neighbour of theirs says so, shape (m, neighbours).
        flagged: Which pairs are flagged, shape (n,), boolean.

    Returns:
        The suggestions: 1, swapped, for flagged pairs that are more probably swapped than not.
    """
    meant, words = flagged & (swapped > 0.5), {}
    for place, position in enumerate(np.flatnonzero(flagged).tolist()):
        told = f"model prefers the rejected answer with {100 * model[place]:.0f} %"
        if neighbours.shape[1]:
            told += f", neighbours {int(neighbours[place].sum())} of {neighbours.shape[1]}"
        words[position] = f"{'probably' if meant[position] else 'perhaps'} swapped: {told}"
    return Suggestions(pa.array(np.ones(len(flagged), dtype=np.int64), mask=~meant), words)


def of_boxes(boxes: np.ndarray) -> Suggestions:
    """Where the worst part of each label is; no label is suggested.

    Args:
        boxes: Left, top, right, bottom as shares of width and height, shape (n, 4); NaN without a place.

    Returns:
        No suggestion, and the column ``worst_box``.
    """
    there = np.isfinite(boxes).all(axis=1)
    rows = [box.tolist() if known else None for box, known in zip(boxes, there, strict=True)]
    return Suggestions(None, {}, {"worst_box": pa.array(rows, pa.list_(pa.float64()))} if there.any() else {})


def _to_levels(expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The nearest given level of each expected value, where levels are few whole numbers; else the value itself."""
    levels = np.unique(given[np.isfinite(given)])
    if len(levels) > LEVELS or (levels != levels.round()).any():
        return expected
    return levels[np.abs(expected[:, None] - levels).argmin(axis=1)]
