"""Which cures are worth a comparison, the most promising first."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from gradsift.cleaning.cure import Cure, drop, relabel, soft, weight

SHARES = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
"""Shares of samples to drop that are tried where trainings cost little."""
RELABELLED = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Shares of samples to relabel that are tried where trainings cost little."""
SMALLEST, LARGEST = 0.01, 0.5
"""Shares between which the estimated share of wrong labels is believed."""


def cures_on_grid(
    scores: np.ndarray, posterior: np.ndarray, labels: np.ndarray, *, accepted: Collection[str] = ("soft", "weight")
) -> list[Cure]:
    """Cures over a grid of budgets, for trainings that cost seconds.

    Args:
        scores: Shape (n,); high = detrimental.
        posterior: Probabilities of the true class, shape (n, K).
        labels: Given labels, shape (n,).
        accepted: Which of soft targets and weights the training takes.

    Returns:
        The cures.
    """
    size = len(labels)
    return [
        *(drop(scores, labels, round(share * size)) for share in SHARES),
        *(relabel(posterior, scores, labels, round(share * size)) for share in RELABELLED),
        *_by_numbers(posterior, labels, accepted),
    ]


def cures_by_count(
    scores: np.ndarray,
    posterior: np.ndarray,
    labels: np.ndarray,
    count: float,
    *,
    accepted: Collection[str] = ("soft", "weight"),
) -> list[Cure]:
    """A few cures around the estimated number of wrong labels, for trainings that cost much.

    Args:
        scores: Shape (n,); high = detrimental.
        posterior: Probabilities of the true class, shape (n, K).
        labels: Given labels, shape (n,).
        count: Estimated number of wrong labels.
        accepted: Which of soft targets and weights the training takes.

    Returns:
        The cures, the most promising first.
    """
    size = len(labels)
    expected = float(np.clip(count, SMALLEST * size, LARGEST * size))
    by_numbers = _by_numbers(posterior, labels, accepted)
    counts = [round(min(part * expected, LARGEST * size)) for part in (1.0, 0.5, 1.5, 0.25)]
    halves = [drop(scores, labels, number) for number in dict.fromkeys(counts)]
    relabelled = [relabel(posterior, scores, labels, round(part * expected)) for part in (0.5, 1.0)]
    ordered = [*by_numbers[:1], *halves[:2], relabelled[0], *halves[2:3], *by_numbers[1:], relabelled[1], *halves[3:]]
    return [cure for cure in ordered if cure.how not in ("drop", "relabel") or len(cure.changed)]


def _by_numbers(posterior: np.ndarray, labels: np.ndarray, accepted: Collection[str]) -> list[Cure]:
    wrong = np.clip(1 - posterior[np.arange(len(labels)), labels], 0, 1)
    return [
        *([soft(posterior, labels)] if "soft" in accepted else []),
        *([weight(wrong, labels)] if "weight" in accepted else []),
    ]
