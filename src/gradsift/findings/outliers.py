"""Samples from outside of the distribution: far from their neighbours, with short features, and predicted by none.

Units of a network answer to what they were trained on, so what they do not know has short features (Hendrycks and Gimpel,
ICLR 2017, and Sun et al., ICML 2022, for what predictions and neighbours tell). The score is a product of all three.
"""

from __future__ import annotations

import numpy as np

from gradsift.detectors.neighbours import Neighbourhood
from gradsift.store import GradientMatrix

CUT = 2.5
"""Robust deviations of the score above its median, from which a sample is an outlier."""
LEAST = 1e-6
"""Distances, lengths and entropies below are taken for so much."""


def outlier_scores(
    neighbourhood: Neighbourhood, features: GradientMatrix, predictions: GradientMatrix | None = None
) -> np.ndarray:
    """How far outside each sample lies.

    ``log d_k(h) - log |h| + log(H(p)) / 2``: d_k the cosine distance of the features h to the last of the neighbours, H
    the entropy of the prediction as a share of the largest one. The score is given in robust deviations above the median,
    which are measured below the median, where no outliers are.

    Args:
        neighbourhood: Nearest neighbours by these features.
        features: Inputs of the last layer, shape (n, D).
        predictions: Predicted probabilities, shape (n, K), where there are classes.

    Returns:
        Shape (n,); 0 is usual, high is unusual.
    """
    far = 1 - neighbourhood.cosines[:, 2].astype(np.float64)
    score = np.log(np.maximum(far, LEAST)) - np.log(np.maximum(features.norms(2), LEAST))
    if predictions is not None:
        for start, rows in predictions.chunks():
            share = _entropy(rows.astype(np.float64)) / np.log(rows.shape[1])
            score[start : start + len(rows)] += 0.5 * np.log(np.maximum(share, LEAST))
    return in_deviations(score)


def in_deviations(values: np.ndarray) -> np.ndarray:
    """Values in robust deviations above their median.

    Args:
        values: Shape (n,).

    Returns:
        Shape (n,): the distance from the median, divided by the one that 16 % lie below; zeros where all are the same.
    """
    low, middle = np.quantile(values, [0.16, 0.5])
    return np.zeros(len(values)) if middle <= low else (values - middle) / (middle - low)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities, 1e-12, 1.0)
    entropy: np.ndarray = -(inside * np.log(inside)).sum(axis=1)
    return entropy
