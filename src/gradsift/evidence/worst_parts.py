"""Evidence of masks, boxes and transcripts: how badly the worst part of each fits the model's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WorstParts:
    """The worst part of the label of each of n samples.

    Attributes:
        scores: How badly it fits, shape (n,), or in each of V ways, shape (n, V); higher = worse.
        words: What is wrong with it, one text a sample.
        boxes: Where it is: left, top, right, bottom as shares of width and height, shape (n, 4); NaN without a place.
        faults: Whether the ways are kinds of faults, of which one is enough; otherwise all of them add up.
        sizes: How large each label is, shape (n,), where scores are compared with those of labels as large.
        wrong: How probable it is that it is wrong, shape (n,), where the task tells it.
    """

    scores: np.ndarray
    words: list[str]
    boxes: np.ndarray
    faults: bool = False
    sizes: np.ndarray | None = None
    wrong: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of samples n."""
        return len(self.scores)
