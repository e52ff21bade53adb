"""Stage *cross-fit heads*: predictions from features alone, by heads that have not seen the sample, in two rounds.

The first round's posterior says which labels are probably wrong; the heads of the second round do not learn from these.
Both rounds predict all samples. Figures: benchmarks/gain, and benchmarks/kinds for pairs.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from scipy.special import expit

from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.pairs import both_ways
from gradsift.errors import DataError
from gradsift.evidence import (
    Evidence,
    Heads,
    cross_fit_heads,
    evidence_of_arrays,
    store_head_predictions,
    stored_evidence,
)
from gradsift.evidence.pair_heads import left_out_margins
from gradsift.settings import AuditSettings
from gradsift.store import RunDirectory
from gradsift.tasks import Kind

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
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if 2 <= fewest < folds:
        logger.warning("the smallest class has %d samples: %d folds are used instead of %d", fewest, fewest, folds)
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
    known: Evidence, *, folds: int = FOLDS, groups: Any = None, seed: int = 0, show_progress: bool = True
) -> Evidence:
    """Adds what cross-fitted heads predict to evidence that has labels and features alone.

    Args:
        known: Labels and features.
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
    features = known.features.rows(np.arange(len(known)))
    heads = heads_in_two_rounds(
        features, known.labels, folds=folds, groups=groups, seed=seed, show_progress=show_progress
    )
    return evidence_of_arrays(
        known.labels,
        heads.predictions,
        features=features,
        folds=heads.folds,
        class_names=known.class_names,
        provenance="out-of-fold",
    )


def add_head_predictions(
    run: RunDirectory, settings: AuditSettings, kind: Kind | None, groups: Any = None, *, show_progress: bool = True
) -> None:
    """Cross-fits heads on the features that a run holds; their predictions become those of its evidence.

    Of pairs, a linear head learns from the gradients of their margins, and each pair is predicted without it.

    Args:
        run: The run directory of a model, with all shards.
        settings: The settings; where heads were not asked for, a class with a single sample leaves the model's predictions.
        kind: What labels are: classes, or pairs.
        groups: Group of each sample, shape (n,); none is split over folds.
        show_progress: Whether to show progress bars.

    Raises:
        DataError: Heads were asked for, and a class has a single sample, or there is one class alone.
    """
    if kind == "pair":
        _add_pair_head(run, groups)
        return
    classes = run.statistic("prediction").shape[1]
    features, labels = run.statistic("features").load(), run.statistic("label").load()
    try:
        heads = heads_in_two_rounds(
            features, labels, classes=classes, groups=groups, seed=settings.seed, show_progress=show_progress
        )
    except DataError as error:
        if settings.cross_fit_heads == "always":
            raise
        logger.warning("predictions are the model's own, heads cannot be cross-fitted: %s", error)
        return
    store_head_predictions(run, heads.predictions)
    words = (
        f"Predictions are those of heads that were cross-fitted on the last layer's features in {heads.folds.max() + 1} "
        "folds: no head has seen the samples that it predicts."
    )
    run.update({"heads": {"rounds": heads.rounds, "held_out_loss": heads.held_out_loss, "words": words}})


def _add_pair_head(run: RunDirectory, groups: Any) -> None:
    """The same for pairs."""
    if groups is not None:
        logger.warning("pairs are left out one by one, so pairs of one group are not held apart from each other")
    evidence = stored_evidence(run, "pair")
    features = both_ways(evidence).features
    if features is None:
        raise DataError("a head of pairs learns from their gradients, and this run holds none")
    head = left_out_margins(features.rows(np.arange(len(evidence))))
    store_head_predictions(run, np.stack([expit(head.margins), expit(-head.margins)], axis=1).astype(np.float32))
    words = (
        "Predictions are those of a linear head on the gradients of the margins, of each pair as if it were left out."
    )
    run.update({"heads": {"penalty": head.penalty, "words": words}})
