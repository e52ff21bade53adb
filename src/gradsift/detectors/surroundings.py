"""What a sample's surroundings among the inputs say of its label: a random forest, read out of bag."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestRegressor

TREES = 100
LARGEST_DRAW = 20_000
"""Samples that a tree is grown on at most."""


def out_of_bag(inputs: np.ndarray, values: np.ndarray, *, leaf: int, features: float | str, seed: int) -> np.ndarray:
    """What trees that have not seen a sample predict for it.

    Args:
        inputs: Shape (n, D).
        values: What is predicted, shape (n,) or (n, K).
        leaf: Samples a leaf at least; fewer where there are fewer than 20 times as many.
        features: Share of the columns that a split looks at, or ``"sqrt"``.
        seed: Seed of the forest.

    Returns:
        Of the shape of ``values``, float64; the mean of all values for a sample that every tree has seen.
    """
    size = len(values)
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=min(leaf, max(1, size // 20)), max_features=features,
        max_samples=min(size, LARGEST_DRAW), oob_score=True, random_state=seed,
    )  # fmt: skip
    predicted = np.asarray(forest.fit(inputs, values).oob_prediction_, dtype=np.float64).reshape(values.shape)
    return np.where(np.isfinite(predicted), predicted, np.nanmean(values, axis=0))
