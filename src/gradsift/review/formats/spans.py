"""Labels of tokens as spans of a text, as programs for named entities have them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

OUTSIDE = "O"
"""The label of a token that belongs to no name."""


def offsets_of(words: Sequence[tuple[str, int | None]]) -> tuple[str, list[list[int]]]:
    """A text of words with a space between each two, and where the labelled ones stand in it.

    Example:
        >>> offsets_of([("Ada", 0), ("met", None), ("Alan", 1)])
        ('Ada met Alan', [[0, 3], [8, 12]])

    Args:
        words: Each word, and its place among the labelled ones.

    Returns:
        The text; start and end of each labelled word in characters.
    """
    start, found = 0, []
    for text, place in words:
        if place is not None:
            found.append([start, start + len(text)])
        start += len(text) + 1
    return " ".join(text for text, _ in words), found


def spans_of(labels: Sequence[str], offsets: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The names in a sentence.

    Example:
        >>> spans_of(["B-PER", "I-PER", "O"], [[0, 3], [4, 12], [13, 16]])
        [{'start': 0, 'end': 12, 'labels': ['PER']}]

    Args:
        labels: The label of each token; of labels that begin with neither B- nor I- each token is a span, but for ``O``.
        offsets: Start and end of each token.

    Returns:
        A span each.
    """
    spans: list[dict[str, Any]] = []
    for (before, label), (start, end) in zip(pairwise([OUTSIDE, *labels]), offsets, strict=True):
        kind = _kind(label)
        if label.startswith("I-") and _kind(before) == kind and before[:2] in ("B-", "I-"):
            spans[-1]["end"] = end
        elif label != OUTSIDE:
            spans.append({"start": start, "end": end, "labels": [kind]})
    return spans


def labels_of(spans: Sequence[dict[str, Any]], offsets: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """The reverse: the label of each token.

    Args:
        spans: Spans with ``start``, ``end`` and ``labels``, of which the first counts.
        offsets: Start and end of each token.
        names: Names of the classes, which say whether a name begins with B-.

    Returns:
        A label for each token: ``O`` where it lies in no span.
    """
    known, labels = set(names), [OUTSIDE] * len(offsets)
    for span in sorted(spans, key=lambda one: one["start"]):
        inside = [place for place, (start, end) in enumerate(offsets) if start < span["end"] and end > span["start"]]
        for number, place in enumerate(inside):
            kind = span["labels"][0]
            tagged = [f"I-{kind}", f"B-{kind}"] if number else [f"B-{kind}", f"I-{kind}"]
            labels[place] = next((name for name in tagged if name in known), kind)
    return labels


def _kind(label: str) -> str:
    return label[2:] if label[:2] in ("B-", "I-") else label
