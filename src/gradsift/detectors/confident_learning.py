"""Confident learning: which samples of each class are more probably of another one, by thresholds of each class.

Northcutt, Jiang and Chuang, JAIR 2021, "prune by noise rate". It removes more samples than are wrong, ambiguous ones among
them, which a model that memorises its labels misses less than it suffers from the wrong ones that would stay.
"""

from __future__ import annotations

import numpy as np


def class_thresholds(own: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The probability from which on each class is confident: its mean over the samples that were given it.

    Args:
        own: Probability of each sample's given class, shape (n,).
        labels: Given labels, shape (n,).
        classes: Number of classes K.

    Returns:
        Shape (K,); infinite for a class that no sample was given.
    """
    counts = np.bincount(labels, minlength=classes)
    means = np.bincount(labels, weights=own, minlength=classes) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.inf)


def confident_learning(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples that confident learning prunes.

    A sample given i counts as of class j where j is the likeliest class among those whose probability reaches the mean
    that its own samples have. These counts, scaled to the number of samples given i, say how many samples given i are of
    class j; as many are pruned, those with the largest ``p_j - p_i``.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9]])
        >>> confident_learning(probabilities, np.array([0, 0, 1, 1, 0]))
        array([4])

    Args:
        probabilities: Of models that have not seen the sample, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        Their positions, rising; none of the last samples of a class.
    """
    classes = probabilities.shape[1]
    given = np.bincount(labels, minlength=classes)
    confident = probabilities >= class_thresholds(probabilities[np.arange(len(labels)), labels], labels, classes)
    likely, sure = np.where(confident, probabilities, -1).argmax(axis=1), confident.any(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[sure], likely[sure]), 1)
    counts *= (given / np.maximum(counts.sum(axis=1), 1))[:, None]
    pruned: list[np.ndarray] = []
    for label in np.flatnonzero(given > 1):
        members = np.flatnonzero(labels == label)
        for other in np.flatnonzero(np.arange(classes) != label):
            margin = probabilities[members, other] - probabilities[members, label]
            pruned.append(members[np.argsort(-margin, kind="stable")[: round(counts[label, other])]])
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *pruned]))
