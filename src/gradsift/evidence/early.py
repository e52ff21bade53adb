"""What a training says early of the samples that it learns from: it fits right labels before it memorises wrong ones.

Cross-fitting trains anyway. After an epoch a model predicts, beside the samples that it has not seen, some of those that
it learns from: at the price of a forward pass over the data (Arpit et al., ICML 2017, on what is memorised late).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_EPOCHS = 4
"""With fewer epochs nothing is early."""


def learned_in_turn(held_out: Sequence[int], folds: int) -> list[list[int]]:
    """The folds whose samples a model predicts after each epoch, in turn, of those that it learns from.

    Args:
        held_out: The folds that the model has not seen.
        folds: Number of folds.

    Returns:
        Folds for each of some epochs, after which they begin again. Where one fold is held out, the models of all folds
        predict each fold once after each epoch; else each predicts all that it learns from after every second one, so that
        every fold is predicted after the same epochs.

    Example:
        >>> learned_in_turn([0], 4), learned_in_turn([0, 2], 4)
        ([[1], [2], [3]], [[], [1, 3]])
    """
    others = [(held_out[0] + place) % folds for place in range(1, folds)]
    learned = [fold for fold in others if fold not in held_out]
    return [[fold] for fold in learned] if len(held_out) == 1 else [[], learned]


def early_mean(
    learned: Sequence[np.ndarray], turns: Sequence[Sequence[Sequence[int]]], epochs: int, fold_of: np.ndarray
) -> np.ndarray | None:
    """Mean over the first half of the epochs of what models predict of the samples that they learn from.

    Args:
        learned: What each model has predicted, epoch by epoch in one array, shape (sum of sizes, K).
        turns: The folds that each model predicts after each epoch, as of :func:`learned_in_turn`.
        epochs: For how many epochs each model was trained, at least.
        fold_of: The fold of each sample, shape (n,).

    Returns:
        Shape (n, K), float32; ``None`` where a model was trained for fewer than four epochs. Samples that no model
        predicts get zeros.
    """
    if epochs < FEWEST_EPOCHS:
        return None
    early = (epochs + 1) // 2
    parts = [part for rows, own in zip(learned, turns, strict=True) for part in _by_epoch(rows, own, early, fold_of)]
    count, mean = np.zeros((len(fold_of), 1), np.float32), np.zeros((len(fold_of), learned[0].shape[1]), np.float32)
    for places, _ in parts:
        count[places] += 1
    for places, rows in parts:
        mean[places] += rows / count[places]
    return mean


def _by_epoch(
    rows: np.ndarray, turns: Sequence[Sequence[int]], epochs: int, fold_of: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions and predictions of each of the first epochs of one model."""
    cut: list[tuple[np.ndarray, np.ndarray]] = []
    for epoch in range(epochs):
        places = np.flatnonzero(np.isin(fold_of, turns[epoch % len(turns)]))
        cut.append((places, rows[: len(places)]))
        rows = rows[len(places) :]
    return cut
