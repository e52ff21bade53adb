"""Simulated reviewers: what each says of an image, and how long it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from review.draws import Draw

SECONDS = 3.0
"""Seconds of a decision; an ambiguous image takes twice as long where that is said."""
UNSURE = 0.5
"""Share of ambiguous images about which the unsure reviewer cannot decide."""
DROPPED = -1
"""What stands for a label that is no more than a guess."""
REVIEWERS = ("perfect", "human", "unsure")


def says(reviewer: str, draw: Draw, confusion: np.ndarray, seed: int) -> np.ndarray:
    """What a reviewer would say of every image.

    Args:
        reviewer: ``"perfect"``: the true class; ``"human"``: errs as often, and into the same classes, as the voters of
            CIFAR-10H; ``"unsure"``: the true class, but of half of the ambiguous images nothing.
        draw: The images.
        confusion: Share of the voters who say j of images of class k, shape (K, K).
        seed: Seed of the errors.

    Returns:
        Classes, or :data:`DROPPED`, shape (n,).
    """
    generator = np.random.default_rng([seed, 81])
    if reviewer == "perfect":
        return draw.true
    if reviewer == "human":
        chance = generator.uniform(size=len(draw.true))[:, None]
        return (chance > confusion[draw.true].cumsum(axis=1)).sum(axis=1).clip(max=confusion.shape[1] - 1)
    lost = draw.ambiguous & (generator.uniform(size=len(draw.true)) < UNSURE)
    return np.where(lost, DROPPED, draw.true)


def confusion_of_voters(data: Path) -> np.ndarray:
    """Share of the votes of CIFAR-10H for class j among images of class k, shape (10, 10)."""
    table = pq.read_table(data / "cifar10" / "test_human.parquet", columns=["label", "cifar10h_counts"])
    counts = np.array(table["cifar10h_counts"].to_pylist(), dtype=np.float64)
    votes = np.stack([counts[table["label"].to_numpy() == label].sum(axis=0) for label in range(counts.shape[1])])
    return votes / votes.sum(axis=1, keepdims=True)
