"""What a training says early of the samples that it learns from: it fits right labels before it memorises wrong ones.

Cross-fitting trains one model for each fold anyway. After each epoch a model predicts, beside the fold that it has not
seen, one of the folds that it learns from, each in its turn: every sample then has one such prediction an epoch, at the
price of a forward pass over the data (Arpit et al., ICML 2017, on what is memorised late).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_EPOCHS = 4
"""With fewer epochs nothing is early."""


def learned_fold(fold: int, epoch: int, folds: int) -> int:
    """The fold whose samples a model predicts after an epoch, of those that it learns from.

    Args:
        fold: The fold that the model has not seen.
        epoch: Number of the epoch, from 0.
        folds: Number of folds.

    Returns:
        Another fold. After one epoch, the models of all folds predict each fold once.

    Example:
        >>> [learned_fold(0, epoch, 4) for epoch in range(4)]
        [1, 2, 3, 1]
    """
    return (fold + 1 + epoch % (folds - 1)) % folds


def early_mean(learned: Sequence[np.ndarray], fold_of: np.ndarray) -> np.ndarray | None:
    """Mean over the first half of the epochs of what models predict of the samples that they learn from.

    Args:
        learned: What the model of each fold has predicted, epoch by epoch in one array, shape (sum of sizes, K).
        fold_of: The fold that holds each sample out, shape (n,).

    Returns:
        Shape (n, K), float32; ``None`` where a model was trained for fewer than four epochs.
    """
    folds, sizes = len(learned), np.bincount(fold_of, minlength=len(learned))
    by_epoch = [_by_epoch(rows, fold, sizes) for fold, rows in enumerate(learned)]
    epochs = min(len(rows) for rows in by_epoch)
    if epochs < FEWEST_EPOCHS:
        return None
    mean = np.zeros((len(fold_of), learned[0].shape[1]), dtype=np.float32)
    early = (epochs + 1) // 2
    for fold, rows in enumerate(by_epoch):
        for epoch in range(early):
            mean[fold_of == learned_fold(fold, epoch, folds)] += rows[epoch] / early
    return mean


def _by_epoch(rows: np.ndarray, fold: int, sizes: np.ndarray) -> list[np.ndarray]:
    """The rows of each epoch of one fold's model."""
    cut: list[np.ndarray] = []
    while len(rows):
        size = sizes[learned_fold(fold, len(cut), len(sizes))]
        cut.append(rows[:size])
        rows = rows[size:]
    return cut
