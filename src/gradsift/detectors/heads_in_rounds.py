"""Predictions from features alone, by heads that have not seen the sample, in two rounds.

The first round's posterior says which labels are probably wrong; the heads of the second round do not learn from these.
Both rounds predict all samples. Figures: benchmarks/gain.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gradsift.detectors.posterior import WrongLabelPosterior
from gradsift.errors import DataError
from gradsift.evidence import Evidence, Heads, cross_fit_heads, evidence_of_arrays

logger = logging.getLogger(__name__)

FOLDS = 4
"""Folds where no number is asked for."""
LEFT_OUT = 1.5
"""The second round leaves out so many times the number of wrong labels that the first, which counts too few, expects."""
MOST = 0.5
"""At most this share of each given class is left out."""


def heads_in_two_rounds(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int | None = None,
    folds: int = FOLDS,
    groups: Any = None,
    seed: int = 0,
    show_progress: bool = True,
) -> Heads:
    """Cross-fits heads, and once more without the labels that are probably wrong.

    Args:
        features: Shape (n, D).
        labels: Given labels, shape (n,).
        classes: Number of classes K; the largest label and one where left out.
        folds: Number of folds; as many as the smallest class has samples where these are fewer.
        groups: Group of each sample, shape (n,); none is split over folds.
        seed: Seed of folds and heads.
        show_progress: Whether to show progress bars.

    Returns:
        What the heads of the second round predict.

    Raises:
        DataError: A class has a single sample, or there is one class alone.
    """
    fewest = _fewest(labels, groups)
    if 2 <= fewest < folds:
        logger.info("the smallest class has %d samples or groups: %d folds are used for heads", fewest, fewest)
        folds = fewest
    shared: dict[str, Any] = {"classes": classes, "folds": folds, "groups": groups, "show_progress": show_progress}
    first = cross_fit_heads(features, labels, seed=seed, **shared)
    believed = Evidence(first.predictions, provenance={"predictions": "out-of-fold"})
    posterior = WrongLabelPosterior(random_state=seed).fit(believed, labels)
    doubtful = probably_wrong(-posterior.score_samples(believed, labels), labels)
    if not doubtful.any():
        return first
    logger.info("heads are trained again without %d labels that are probably wrong", doubtful.sum())
    return cross_fit_heads(features, labels, learn_from=~doubtful, seed=seed, **shared)


def _fewest(labels: np.ndarray, groups: Any) -> int:
    """Samples of the smallest class; groups where there are any."""
    if groups is not None:
        pairs = np.stack([labels, np.unique(groups, return_inverse=True)[1]])
        labels = np.unique(pairs, axis=1)[0]
    return int(np.unique(labels, return_counts=True)[1].min())


def probably_wrong(wrong_probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples that heads had better not learn from.

    Args:
        wrong_probability: P(label is wrong) by the first round, shape (n,).
        labels: Given labels, shape (n,).

    Returns:
        Shape (n,), boolean; at most half of each class, and none of a class with fewer than eight samples.
    """
    count = min(len(labels), round(LEFT_OUT * float(wrong_probability.sum())))
    order = np.argsort(-wrong_probability, kind="stable")
    first = np.zeros(len(labels), dtype=bool)
    first[order[:count]] = True
    for value, size in zip(*np.unique(labels, return_counts=True), strict=True):
        most = int(MOST * size) if size >= 2 * FOLDS else 0
        members = order[first[order] & (labels[order] == value)]
        first[members[most:]] = False
    return first


def evidence_of_features(
    known: Evidence,
    *,
    rows: np.ndarray | None = None,
    classes: int | None = None,
    folds: int = FOLDS,
    groups: Any = None,
    seed: int = 0,
    show_progress: bool = True,
) -> Evidence:
    """Adds what cross-fitted heads predict to evidence that has labels and features alone.

    Args:
        known: Labels and features.
        rows: Positions of the samples that are asked about, and no others are read; all where left out.
        classes: Number of classes K; as many as have names, or the largest label and one, where left out.
        folds: Number of folds; as many as the smallest class has samples where these are fewer.
        groups: Group of each sample, shape (n,); none is split over folds.
        seed: Seed of folds and heads.
        show_progress: Whether to show progress bars.

    Returns:
        Evidence with out-of-fold predictions, losses, folds and the gradients of a last layer on these features.

    Raises:
        DataError: There are no features, or a class has a single sample.
    """
    if known.features is None or known.labels is None:
        raise DataError("give probabilities, logits, or features on which heads can be trained")
    rows = np.arange(len(known)) if rows is None else rows
    features, labels = known.features.rows(rows), known.labels[rows]
    groups = None if groups is None else np.asarray(groups)[rows]
    classes = len(known.class_names) if classes is None and known.class_names is not None else classes
    heads = heads_in_two_rounds(
        features, labels, classes=classes, folds=folds, groups=groups, seed=seed, show_progress=show_progress
    )
    return evidence_of_arrays(
        labels,
        heads.predictions,
        features=features,
        folds=heads.folds,
        class_names=known.class_names,
        provenance="out-of-fold",
    ).with_(of_heads=True)
