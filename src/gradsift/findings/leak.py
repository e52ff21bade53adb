"""Samples of a test set that stand in the training set too, as they are or almost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradsift.data import Samples
from gradsift.findings.inputs import Inputs, read_inputs
from gradsift.findings.near_duplicates import Pairs, near_duplicates


@dataclass(frozen=True)
class Leak:
    """What two sets have in common.

    Attributes:
        of_train: Positions in the training set, rising.
        of_test: Positions in the test set, rising.
        size: Number of samples of the test set that were read.
    """

    of_train: np.ndarray
    of_test: np.ndarray
    size: int


def duplicates_and_leak(train: Inputs, test: Inputs | None, *, seed: int = 0) -> tuple[Pairs, Leak | None]:
    """Looks for near duplicates within a training set, and for the inputs of a test set in it.

    Args:
        train: The inputs of the training set.
        test: The inputs of the test set.
        seed: Seed of the hashing, in large sets.

    Returns:
        Pairs of numbers of the training set's inputs, and what is in both sets; ``None`` without a test set.
    """
    if test is None:
        return near_duplicates(train, seed=seed), None
    pairs = near_duplicates(_together(train, test), seed=seed)
    border = len(train.positions)
    within = pairs.second < border
    across = (pairs.first < border) & (pairs.second >= border)
    own, theirs = np.unique(pairs.first[across]), np.unique(pairs.second[across] - border)
    leak = Leak(train.positions[own], test.positions[theirs], len(test.positions))
    return Pairs(pairs.first[within], pairs.second[within], pairs.likeness[within]), leak


def leak_between(train_set: Samples, test_set: Samples, *, show_progress: bool = True) -> Leak:
    """Looks for the inputs of a test set in a training set, both read from the data.

    Args:
        train_set: The training set.
        test_set: The test set.
        show_progress: Whether to show progress bars.

    Returns:
        What is in both, whole or almost.
    """
    train, test = (
        read_inputs(samples, label=train_set.label_column, show_progress=show_progress)
        for samples in (train_set, test_set)
    )
    leak = duplicates_and_leak(train, test)[1]
    return Leak(np.zeros(0, np.int64), np.zeros(0, np.int64), 0) if leak is None else leak


def _together(train: Inputs, test: Inputs) -> Inputs:
    """The inputs of both sets as those of one: the test set's follow."""
    border = int(train.positions[-1]) + 1
    alike = train.form == test.form and train.vectors.shape[1] == test.vectors.shape[1]
    compared, vectors = train.compared, train.vectors
    if alike:
        compared = np.concatenate([compared, test.compared + len(train.positions)])
        vectors = np.concatenate([vectors, test.vectors])
    return Inputs(
        np.concatenate([train.positions, test.positions + border]),
        train.broken | {position + border: fault for position, fault in test.broken.items()},
        [*train.digests, *test.digests],
        train.form,
        compared,
        vectors,
    )
