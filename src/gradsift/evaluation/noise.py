"""Planting wrong labels, to measure whether they are found."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gradsift.errors import SettingError


def flip_labels(
    labels: np.ndarray, rate: float, *, kind: Literal["symmetric", "pair"] = "symmetric", seed: int = 0
) -> np.ndarray:
    """Gives wrong labels to a random share of samples.

    Args:
        labels: True class numbers, shape (n,).
        rate: Share of samples to flip, in [0, 1].
        kind: ``"symmetric"``: to one of the other classes at random; ``"pair"``: class k to class k + 1, the last to
            the first.
        seed: Seed of the choice.

    Returns:
        Labels, shape (n,); exactly ``round(rate * n)`` of them differ.

    Raises:
        SettingError: The rate or the kind is unknown.
    """
    if not 0 <= rate <= 1 or kind not in ("symmetric", "pair"):
        raise SettingError(f"flip_labels needs a rate in [0, 1] and kind symmetric or pair, given {rate} and {kind!r}")
    labels = np.asarray(labels)
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    flipped = np.sort(generator.choice(len(labels), round(rate * len(labels)), replace=False))
    if len(classes) < 2:
        raise SettingError(f"flip_labels needs at least two classes, given {len(classes)}")
    place = np.searchsorted(classes, labels[flipped])
    shift = generator.integers(1, len(classes), len(flipped)) if kind == "symmetric" else 1
    given = labels.copy()
    given[flipped] = classes[(place + shift) % len(classes)]
    return given
