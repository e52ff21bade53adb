"""The one place where signs turn: from "high = normal" or "positive = helpful" to the table's "high = detrimental"."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.errors import DataError
from gradsift.scratch import empty


def detrimental_scores(detector: Detector, observed: Any, labels: np.ndarray | None = None) -> np.ndarray:
    """Fits a detector and scores the same samples.

    Args:
        detector: The detector.
        observed: What it reads: gradients, predictions or losses.
        labels: Given labels, shape (n,), where there are any.

    Returns:
        Shape (n,), float64; high = detrimental.

    Raises:
        DataError: A score is NaN or infinite.
    """
    return _turned(detector.fit(observed, labels).score_samples(observed, labels), str(detector))


def influence_scores(influence: np.ndarray, method: str) -> np.ndarray:
    """Scores of the table from signed influence on a target.

    Args:
        influence: Shape (n,); positive = helpful.
        method: The method's name, for messages.

    Returns:
        Shape (n,), float64; high = detrimental.

    Raises:
        DataError: An influence is NaN or infinite.
    """
    return _turned(influence, method)


def _turned(values: np.ndarray, source: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    scores = np.negative(values, out=empty(values.shape))
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise DataError(
            f"{source} gives no finite score to the samples at positions {', '.join(map(str, broken[:10]))}: choose "
            "another method, or other parameters"
        )
    return scores
