"""Overlapping clouds with wrong labels."""

import numpy as np

from gradsift.evaluation import flip_labels


def blobs(size=900, classes=3, rate=0.3, kind="symmetric", seed=0):
    """Overlapping clouds, true labels, and given labels of which some are wrong."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, size)
    centres = 3.0 * np.eye(classes, 6)
    features = (centres[true] + generator.standard_normal((size, 6))).astype(np.float32)
    return features, true, flip_labels(true, rate, kind=kind, seed=seed) if rate else true.copy()
