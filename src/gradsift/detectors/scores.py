"""The one place where signs turn: from scikit-learn's "high = normal" to the table's "high = detrimental"."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.errors import DataError


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
    scores = -np.asarray(detector.fit(observed, labels).score_samples(observed, labels), dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise DataError(
            f"{detector} gives no finite score to the samples at positions {', '.join(map(str, broken[:10]))}: choose "
            "another detector, or other parameters"
        )
    return scores
