"""The one place where signs turn: from scikit-learn's "high = normal" to the table's "high = detrimental"."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.detectors.base import Detector


def detrimental_scores(detector: Detector, observed: Any, labels: np.ndarray | None = None) -> np.ndarray:
    """Fits a detector and scores the same samples.

    Args:
        detector: The detector.
        observed: What it reads: gradients, predictions or losses.
        labels: Given labels, shape (n,), where there are any.

    Returns:
        Shape (n,), float64; high = detrimental.
    """
    return -np.asarray(detector.fit(observed, labels).score_samples(observed, labels), dtype=np.float64)
