"""Masks, boxes and transcripts: a sample is as suspicious as the worst part of its label."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.detectors.surprise import chances, log_chance
from gradsift.errors import DataError
from gradsift.evidence.worst_parts import WorstParts

LEADING, OUTERMOST = 2, 0.25
"""Of the scores behind the first two, only the outermost quarter speaks: to be usual there excuses nothing."""
FLOOR = 0.01
"""Is added to scores before their logarithm is taken: below, they count as equal."""
FEWEST = 30
"""So many labels tell what is usual for their size; of fewer, all have the same."""


class WorstPart(Detector):
    """``score_samples = -max_part s``: how well the worst part of a label fits what the model gives.

    What a part is, and how it is scored, is the task's to say: a region of a mask, a box, a transcript. Where labels have
    sizes, s is a multiple of what is usual for labels as large (:func:`beside_size`). Where there are
    several scores, as of texts, ``score_samples = log10 p``, with p how probable it is by chance to fit so badly
    (:mod:`~gradsift.detectors.surprise`). Kinds of faults, as of boxes, do not add up: the least probable one counts.
    """

    reads: ClassVar[tuple[str, ...]] = ("worst_parts",)
    of_kind = "structured"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """How well the worst part fits.

        Args:
            X: :class:`~gradsift.evidence.worst_parts.WorstParts`.
            y: Ignored.

        Returns:
            Shape (n,); high = normal. With several ways at most 0.

        Raises:
            DataError: It is no evidence of parts.
        """
        if not isinstance(X, WorstParts):
            raise DataError(f"this detector reads WorstParts, given {type(X).__name__}")
        scores = np.asarray(X.scores, dtype=np.float64)
        if scores.ndim == 2:  # several ways
            return log_chance(by_way(X))
        return -scores if X.sizes is None else -beside_size(scores, X.sizes)


def beside_size(scores: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Scores as multiples of what is usual for labels as large.

    Letters of long transcripts are learnt less well: where a training takes the mean over the letters of each transcript,
    they weigh less. What is usual is a power of the size, whose exponent is the least-squares slope of logarithms, and at
    least 0, for wrong labels are often too small.

    Args:
        scores: At least 0, shape (n,).
        sizes: Above 0, shape (n,).

    Returns:
        Shape (n,); without enough labels, or of equal sizes, the scores keep their order.

    Raises:
        DataError: A score is below 0, or a size is not above 0.

    Example:
        >>> sizes = np.arange(1.0, 41.0)
        >>> beside_size(sizes**2, sizes)[[0, 39]].round(1).tolist()
        [1.0, 1.0]
    """
    if not (np.all(scores >= 0) and np.all(sizes > 0)):
        raise DataError("parts that have sizes need scores of at least 0 and sizes above 0")
    heights, places = np.log(scores + FLOOR), np.log(sizes)
    slope = 0.0
    if len(scores) >= FEWEST and np.ptp(places):
        slope = max(0.0, float(np.cov(places, heights)[0, 1] / places.var(ddof=1)))
    beyond = heights - slope * places
    return np.asarray(np.exp(beyond - np.median(beyond)))


def by_way(parts: WorstParts) -> np.ndarray:
    """How probable it is by chance to fit so badly in each way, or to have any fault that is so far out.

    Args:
        parts: Evidence with scores in V ways.

    Returns:
        Shape (n, V); of kinds of faults ``1 - (1 - min_v p_v)^V``, shape (n, 1).
    """
    probabilities = chances(list(np.asarray(parts.scores, dtype=np.float64).T))
    if parts.faults:
        least = np.minimum(probabilities.min(axis=1, keepdims=True), np.nextafter(1.0, 0.0))
        return np.asarray(-np.expm1(probabilities.shape[1] * np.log1p(-least)))
    probabilities[:, LEADING:] = np.minimum(1.0, probabilities[:, LEADING:] / OUTERMOST)
    return probabilities
