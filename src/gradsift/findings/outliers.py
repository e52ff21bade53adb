"""Samples from outside of the distribution: their inputs are far from those of others.

The distance to a late neighbour tells more than the one to the nearest, because strange samples often come together
(Sun et al., ICML 2022, take it of features).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from gradsift.detectors.neighbours import Neighbourhood
from gradsift.evidence import Evidence
from gradsift.findings.inputs import Inputs
from gradsift.store import ArrayMatrix, GradientMatrix

CUT = 2.5
"""Robust deviations of the score of inputs above its median, from which a sample is an outlier."""
LEAST = 1e-6
"""Distances below are taken for so much."""
SMALLEST = 100
"""Among fewer samples nobody lies outside."""


def outliers(
    evidence: Evidence, inputs: Inputs | None, neighbourhood: Neighbourhood | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """How far outside each sample lies, and who lies outside.

    Inputs are compared where they can be. Rows of numbers, and samples whose inputs are not at hand, are ranked by
    features and predictions, and none of them is told to be an outlier: no cut held in every set that was tried.

    Args:
        evidence: What is known of the samples.
        inputs: What was read of the data set.
        neighbourhood: Nearest neighbours by the features of the evidence, where there are features.

    Returns:
        The score, shape (n,), NaN where it is unknown, ``None`` where nothing is known; and the outliers, bool, (n,).
    """
    score, told = np.full(len(evidence), np.nan), np.zeros(len(evidence), dtype=bool)
    if inputs is not None and inputs.form != "features" and len(inputs.compared) >= SMALLEST:
        positions = inputs.positions[inputs.compared]
        score[positions] = by_inputs(inputs.vectors)
        told[positions] = score[positions] > CUT
        return score, told
    if neighbourhood is None or len(evidence) < SMALLEST:
        return None, told
    return by_features(neighbourhood, evidence.predictions if evidence.kind == "class" else None), told


def by_inputs(signatures: np.ndarray) -> np.ndarray:
    """How far outside each input lies.

    ``log d_k``: d_k the cosine distance of the signature, as it is, to its last neighbour (one in 50 samples, at most 50).

    Args:
        signatures: Signatures of the inputs, shape (m, D).

    Returns:
        Shape (m,), in robust deviations; 0 is usual, high is unusual.
    """
    far = 1 - Neighbourhood(ArrayMatrix(signatures)).cosines[:, 2].astype(np.float64)
    return in_deviations(np.log(np.maximum(far, LEAST)))


def by_features(neighbourhood: Neighbourhood, predictions: GradientMatrix | None = None) -> np.ndarray:
    """How far outside each sample lies by what a model makes of it.

    The mean of the ranks of the cosine distance of features to the last neighbour, and of the entropy of the prediction.

    Args:
        neighbourhood: Nearest neighbours by features.
        predictions: Predicted probabilities, shape (n, K), where there are classes.

    Returns:
        Shape (n,), in robust deviations; 0 is usual, high is unusual.
    """
    rank = rankdata(1 - neighbourhood.cosines[:, 2])
    if predictions is not None:
        rank = (rank + rankdata(np.concatenate([_entropy(rows) for _, rows in predictions.chunks()]))) / 2
    return in_deviations(rank)


def in_deviations(values: np.ndarray) -> np.ndarray:
    """Values in robust deviations above their median, measured below it, where no outliers are.

    Args:
        values: Shape (n,).

    Returns:
        Shape (n,): the distance from the median, divided by the one that 16 % lie below; zeros where all are the same.
    """
    low, middle = np.quantile(values, [0.16, 0.5])
    return np.zeros(len(values)) if middle <= low else (values - middle) / (middle - low)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities.astype(np.float64), 1e-12, 1.0)
    entropy: np.ndarray = -(inside * np.log(inside)).sum(axis=1)
    return entropy
