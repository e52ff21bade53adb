"""What the words around a token say of its label: naive Bayes, cross-fitted over samples."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from sklearn.naive_bayes import MultinomialNB

from gradsift.evidence.calibration import choose_temperature, tempered

FOLDS = 10
SMOOTHING = 0.1
"""Counts are smoothed by so much."""
FEWEST = 200
"""Among fewer tokens the temperature is not known, and nothing is said."""
MOST_CLASSES = 100
"""With more classes the counts of words by class do not fit into memory."""


def by_words(
    words: np.ndarray, labels: np.ndarray, samples: np.ndarray, classes: int, *, seed: int
) -> np.ndarray | None:
    """Probabilities of the classes of every token, by counts in the samples of the other folds.

    ``P(k | words) ~ P(k) prod_w P(w | k)`` over the words of the window, each at its place, and the token with the word
    before and with the word behind it. Words are not independent, so the probabilities are given the temperature that makes
    the given labels likeliest.

    Args:
        words: Token numbers around every token, itself in the middle, shape (m, 2 R + 1), R at least 1.
        labels: Given labels, shape (m,).
        samples: The sample that each token stands in, shape (m,).
        classes: Number of classes K.
        seed: Seed of the folds.

    Returns:
        Shape (m, K), float64; ``None`` where there are too few tokens or samples, or too many classes.

    Example:
        >>> words = np.tile([[1, 2, 3], [2, 3, 1], [3, 1, 2]], (100, 1))
        >>> by_words(words, words[:, 1] - 1, np.repeat(np.arange(100), 3), 3, seed=0).argmax(axis=1)[:3].tolist()
        [1, 2, 0]
    """
    numbers = np.unique(samples, return_inverse=True)[1]
    size = numbers.max(initial=-1) + 1
    if len(labels) < FEWEST or size < FOLDS or classes > MOST_CLASSES:
        return None
    fold_of = np.random.default_rng(seed).permutation(np.arange(size) % FOLDS)[numbers]
    counts, probabilities = _counts(words), np.zeros((len(labels), classes))
    for fold in range(FOLDS):
        held_out = fold_of == fold
        fitted = MultinomialNB(alpha=SMOOTHING).fit(counts[~held_out], labels[~held_out])
        probabilities[np.ix_(held_out, fitted.classes_)] = fitted.predict_proba(counts[held_out])
    return tempered(probabilities, choose_temperature(probabilities, labels)[0])


def _counts(words: np.ndarray) -> csr_array:
    """Ones where a token has a word at a place, or a pair of words, shape (m, number of those that are seen)."""
    middle, base = words.shape[1] // 2, int(words.max()) + 2
    shifted = words.astype(np.int64) + 1  # -1 stands outside of the sample
    pairs = [shifted[:, middle] * base + shifted[:, middle + step] for step in (-1, 1)]
    columns, width = [], 0
    for codes in (*shifted.T, *pairs):
        seen, code = np.unique(codes, return_inverse=True)
        columns.append(code + width)
        width += len(seen)
    places = np.stack(columns, axis=1)
    ends = np.arange(0, places.size + 1, places.shape[1])
    return csr_array((np.ones(places.size), places.ravel(), ends), shape=(len(words), width))
