"""Classes beyond rows and pictures: a draw with flipped classes, and what ranks its samples on the same trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from torch import nn

import gradsift
from gradsift.detectors.confident_learning import class_thresholds
from gradsift.evidence import stored_evidence
from kinds.scored import scored_rows

BASELINES = {
    "loss": "loss", "margin": "normalized_margin", "l2": "l2", "isolation_forest": "isolation_forest",
}  # fmt: skip
"""Method to the detector whose column it is."""


@dataclass(frozen=True)
class ClassDraw:
    """A data set some of whose classes are wrong, and the model that was trained on it.

    Attributes:
        model: The trained model, in eval mode.
        train_set: What an audit takes.
        given: Given classes, shape (n,).
        wrong: Which of them are wrong, shape (n,).
        task: The task.
    """

    model: nn.Module
    train_set: Any
    given: np.ndarray
    wrong: np.ndarray
    task: Any = "classification"


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


def rows_of(draw: ClassDraw, seed: int) -> list[dict[str, Any]]:
    """Average precision of every method on one draw.

    Args:
        draw: The draw.
        seed: Seed of the random order.

    Returns:
        A row a method; the default's row says how many it flags.
    """
    audit = gradsift.audit(draw.model, draw.train_set, task=draw.task, findings=False, show_progress=False)
    table, wrong = audit.table, draw.wrong
    scores = {f"default: {audit.detector}": table["score"].to_numpy()}
    scores |= {method: table[f"score_{name}"].to_numpy() for method, name in BASELINES.items()}
    evidence = stored_evidence(audit.run, "class")
    everything = np.arange(len(wrong))
    probabilities, features = (matrix.rows(everything) for matrix in (evidence.predictions, evidence.features))
    scores["confident learning"] = confident_learning(probabilities.astype(np.float64), draw.given)
    scores["neighbours' labels"] = neighbours_labels(features, draw.given)
    scores["random"] = np.random.default_rng(seed).random(len(wrong))
    return scored_rows(scores, wrong, audit.flagged_positions)


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
