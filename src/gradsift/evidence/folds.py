"""Which fold holds each sample out: stratified by label, and groups are never split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from gradsift.errors import DataError, SettingError

NAMED = 10
"""Most classes that are named in a message."""


def assign_folds(
    labels: np.ndarray, folds: int, *, groups: Any = None, seed: int = 0, names: Sequence[str] | None = None
) -> np.ndarray:
    """Assigns every sample to the fold that holds it out.

    Example:
        >>> sorted(np.bincount(assign_folds(np.array([0, 0, 1, 1, 1, 1]), 2)).tolist())
        [3, 3]

    Args:
        labels: Class numbers, shape (n,).
        folds: Number of folds; every class is spread evenly over them.
        groups: Group of each sample, shape (n,), such as the patient or the document that it comes from; a group lies in
            one fold.
        seed: Seed of the assignment.
        names: Names of the classes by number, for messages.

    Returns:
        Number of the fold, from 0, shape (n,), int64.

    Raises:
        DataError: A class has fewer samples (or groups) than there are folds, or there is one class alone.
        SettingError: There are fewer than two folds, or groups of another number of samples.
    """
    if folds < 2:
        raise SettingError(f"folds must be at least 2, got {folds}")
    size = len(labels)
    groups = None if groups is None else np.asarray(groups)
    if groups is not None and groups.shape != (size,):
        raise SettingError(f"groups must be one value for each of {size} samples, got shape {groups.shape}")
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"all {size} samples have the label {classes[0]}: cross-fitting needs at least two classes")
    members = (
        codes if groups is None else np.unique(np.stack([codes, np.unique(groups, return_inverse=True)[1]]), axis=1)[0]
    )
    counts = np.bincount(members, minlength=len(classes))
    rare = np.flatnonzero(counts < folds)
    if len(rare):
        what = "samples" if groups is None else "groups"
        named = [
            f"{classes[place] if names is None else repr(names[int(classes[place])])} ({counts[place]})"
            for place in rare
        ]
        raise DataError(
            f"{len(rare)} of {len(classes)} classes have fewer {what} than there are folds ({folds}): "
            f"{', '.join(named[:NAMED])}{', ...' if len(rare) > NAMED else ''}. Where a class is another one's name typed "
            "otherwise, write it alike; merge or remove other rare classes"
            + (", or use fewer folds" if counts.min() > 1 else "")
        )
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    fold_of = np.empty(size, dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(size), codes, groups)):
        fold_of[held_out] = fold
    return fold_of
