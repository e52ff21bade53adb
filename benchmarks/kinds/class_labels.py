"""One class a sample: how classes are flipped, and baselines that read the predictions and features of the posterior."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from gradsift.detectors.confident_learning import class_thresholds
from gradsift.evidence import stored_evidence
from gradsift.store import RunDirectory


def flipped(true: np.ndarray, how: str, rate: float, seed: int) -> np.ndarray:
    """Classes with errors: ``symmetric`` to any other class, ``pair`` to the next one.

    Args:
        true: True classes, shape (n,).
        how: Which errors.
        rate: Share of them.
        seed: Seed.

    Returns:
        Given classes.
    """
    rng, classes, given = np.random.default_rng(5000 + seed), int(true.max()) + 1, true.copy()
    chosen = rng.choice(len(true), round(rate * len(true)), replace=False)
    step = 1 if how == "pair" else rng.integers(1, classes, len(chosen))
    given[chosen] = (true[chosen] + step) % classes
    return given


def class_baselines(run: RunDirectory, given: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of confident learning and of the neighbours' labels.

    Args:
        run: The run of an audit.
        given: Given classes, shape (n,).

    Returns:
        Name to scores, shape (n,); high = wrong.
    """
    evidence = stored_evidence(run, "class")
    everything = np.arange(len(given))
    probabilities, features = (matrix.rows(everything) for matrix in (evidence.predictions, evidence.features))
    return {
        "confident learning": confident_learning(probabilities.astype(np.float64), given),
        "neighbours' labels": neighbours_labels(features, given),
    }


def neighbours_labels(features: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Share of the ten nearest samples, by cosine of the features that the posterior reads, with another given class.

    Args:
        features: Shape (n, D).
        given: Given classes, shape (n,).

    Returns:
        Shape (n,); high = wrong.
    """
    near = NearestNeighbors(n_neighbors=11, metric="cosine").fit(features).kneighbors(features)[1]
    others = near != np.arange(len(given))[:, None]
    return (given[near] != given[:, None]).mean(axis=1, where=others)


def confident_learning(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The largest probability of another class minus that of the given one, each above its class's threshold.

    A class's threshold is its mean probability among the samples that were given it (Northcutt et al., Confident Learning,
    JAIR 2021); written anew from the paper.

    Args:
        probabilities: Shape (n, K).
        given: Given classes, shape (n,).

    Returns:
        Shape (n,); high = wrong.
    """
    rows = np.arange(len(given))
    above = probabilities - class_thresholds(probabilities[rows, given], given, probabilities.shape[1])
    own = above[rows, given]
    above[rows, given] = -np.inf
    return above.max(axis=1) - own
