"""Breast cancer: scikit-learn's bundled table, of which a fifth of the rows get the other label, and boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from gradsift.evaluation.noise import flip_labels

NOISE = 0.2
TEST = 169


def load() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training and test rows, 30 measurements of a tumour each.

    Returns:
        ``x`` (n, 30), given ``label`` (n,) and, for training, ``true_label``; 400 and 169 rows.
    """
    table = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(table.target))
    rows, labels = table.data[order].astype(np.float32), table.target[order].astype(np.int64)
    train, test = slice(TEST, None), slice(0, TEST)
    given = flip_labels(labels[train], NOISE, seed=0)
    return (
        {"x": rows[train], "label": given, "true_label": labels[train]},
        {"x": rows[test], "label": labels[test]},
    )


def train(dataset: Any, *, seed: int) -> GradientBoostingClassifier:
    """Trees on random halves of the rows, deep enough to learn single labels.

    Args:
        dataset: ``(x, y)``.
        seed: Seed of the halves.

    Returns:
        The fitted classifier.
    """
    return GradientBoostingClassifier(max_depth=4, subsample=0.5, random_state=seed).fit(*dataset)
