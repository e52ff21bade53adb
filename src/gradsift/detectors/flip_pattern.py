"""Where flipped labels go: a distribution over given classes for each true class, kept as sparse counts.

Of K classes there are K^2 pairs, but at most n of them are seen among n samples. What is kept is these counts and one
prior, so memory grows with the samples and the classes, never with the pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.special import gammaln

from gradsift.scratch import empty

SUREST = 0.3
"""Share of the samples of a predicted class that are looked at to see where its labels go."""
FEWEST = 5
"""So many of them are looked at at least, where the class has them."""
CAUTION = 3.0
"""How many times over the estimated prior counts: a model's own confusions look like flips, patterns must stand out."""
CONCENTRATIONS = np.geomspace(0.1, 1000, 60)


class FlipPattern:
    """``W[k, y] = (n_ky + a / (K - 1)) / (N_k + a)`` for ``y != k``, and 0 for ``y = k``.

    ``n_ky`` counts samples of class k that were labelled y, ``N_k`` is their sum over y, and a weighs a prior that is even
    over the other classes. Row k is a distribution over the classes that labels of class k are flipped into.

    Args:
        counts: ``n_ky``, shape (K, K), sparse or dense, zero on the diagonal.
        prior: a, at least 0; above 0 where a row has no counts.

    Attributes:
        shape: (K, K).

    Example:
        >>> FlipPattern(np.array([[0, 3, 0], [0, 0, 0], [0, 0, 0]]), prior=1.0).into(np.array([1])).tolist()
        [[0.875, 0.0, 0.5]]
    """

    def __init__(self, counts: Any, prior: float) -> None:
        by_row = csr_array(counts, dtype=np.float64)
        self.shape: tuple[int, int] = by_row.shape
        self._counts, self._weights = csc_array(by_row), by_row.sum(axis=1) + prior
        self._share = prior / max(1, self.shape[0] - 1)

    @classmethod
    def even(cls, classes: int) -> FlipPattern:
        """Flips that go to all other classes alike.

        Args:
            classes: Number of classes K.

        Returns:
            The pattern, ``1 / (K - 1)`` off the diagonal.
        """
        return cls(csr_array((classes, classes)), 1.0)

    def into(self, labels: np.ndarray) -> np.ndarray:
        """How probably a flip of each class ends in some given labels.

        Args:
            labels: Given labels, shape (m,).

        Returns:
            ``W[k, labels[i]]`` at row i and column k, shape (m, K), float64.
        """
        probabilities = np.tile(self._share / self._weights, (len(labels), 1))
        counted = self._counts[:, labels].tocoo()
        true, row = counted.coords
        probabilities[row, true] = (counted.data + self._share) / self._weights[true]
        probabilities[np.arange(len(labels)), labels] = 0.0
        return probabilities

    def toarray(self) -> np.ndarray:
        """The whole pattern; for few classes.

        Returns:
            Shape (K, K), float64.
        """
        return self.into(np.arange(self.shape[0])).T


def flips(likeliest: np.ndarray, sureness: np.ndarray, labels: np.ndarray, classes: int) -> tuple[float, FlipPattern]:
    """How often labels are flipped, and where they go, from the samples of which the model is surest.

    Where they go has a Dirichlet prior that is even over the other classes; how strong it is (:func:`concentration`) is
    told by the counts themselves: flips between pairs of classes leave it weak, flips to any class make it strong.

    Args:
        likeliest: The class that each sample is believed to be of, shape (n,).
        sureness: Its probability, shape (n,).
        labels: Given labels, shape (n,).
        classes: Number of classes K.

    Returns:
        The share of given labels that differ from the believed class, and where those go.
    """
    looked_at = surest(likeliest, sureness, classes)
    flipped = looked_at[labels[looked_at] != likeliest[looked_at]]
    rate = len(flipped) / max(len(looked_at), 1)
    counts = csr_array((np.ones(len(flipped)), (likeliest[flipped], labels[flipped])), shape=(classes, classes))
    counts.sum_duplicates()
    return float(np.clip(rate, 0.01, 0.6)), FlipPattern(counts, CAUTION * concentration(counts))


def surest(likeliest: np.ndarray, sureness: np.ndarray, classes: int) -> np.ndarray:
    """The samples of which the model is surest, of every class that it predicts.

    Args:
        likeliest: The class that each sample is believed to be of, shape (n,).
        sureness: Its probability, shape (n,).
        classes: Number of classes K.

    Returns:
        Their positions, by class.
    """
    least_sure_last = np.negative(sureness, out=empty(len(sureness)))
    order = np.lexsort((least_sure_last, likeliest))  # by class, the surest first; of equals, the first
    sizes = np.bincount(likeliest, minlength=classes)
    ends, looked_at = np.cumsum(sizes), np.maximum(FEWEST, (SUREST * sizes).astype(np.int64))
    starts = ends - sizes
    bounds = zip(starts.tolist(), np.minimum(starts + looked_at, ends).tolist(), strict=True)
    return np.concatenate([order[start:stop] for start, stop in bounds if stop > start] or [order])


def concentration(counts: csr_array) -> float:
    """Maximum-likelihood concentration a of the prior ``Dirichlet(a / (K - 1), ...)`` that rows of counts were drawn by.

    The likelihood of a row n with sum N is ``G(a) / G(a + N) prod_j G(n_j + a / (K - 1)) / G(a / (K - 1))`` but for a
    factor without a, G the gamma function (the Dirichlet-multinomial distribution).

    Args:
        counts: Flips from class k (row) to each other class, shape (K, K), zero on the diagonal.

    Returns:
        Between 0.1 and 1,000; large where counts are as even as chance leaves them.
    """
    totals, cells, others = counts.sum(axis=1), counts.data, max(1, counts.shape[0] - 1)

    def likelihood(a: float) -> float:
        of_cells = gammaln(cells + a / others).sum() - len(cells) * gammaln(a / others)
        return float(of_cells + len(totals) * gammaln(a) - gammaln(a + totals).sum())

    return float(max(CONCENTRATIONS[::-1], key=likelihood))


def label_posterior(
    belief: np.ndarray, labels: np.ndarray, rate: float | np.ndarray, pattern: FlipPattern
) -> np.ndarray:
    """``r_k = q_k T[k, y] / sum_j q_j T[j, y]`` with ``T = (1 - rate) I + rate pattern``.

    With two classes, or flips that are spread evenly, and one rate, the order of ``1 - r_y`` is that of ``1 - q_y``.

    Args:
        belief: Distribution q over the true class, shape (n, K).
        labels: Given labels y, shape (n,).
        rate: Share of flipped labels, or that of each class, shape (K,).
        pattern: Where they go.

    Returns:
        Shape (n, K); zeros where no class explains the label.
    """
    at_label = np.arange(len(labels)), labels
    kept = belief[at_label] * (1 - np.broadcast_to(rate, belief.shape[1])[labels])
    joint = pattern.into(labels)
    joint *= rate
    joint *= belief
    joint[at_label] = kept
    total = joint.sum(axis=1, keepdims=True)
    return np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
