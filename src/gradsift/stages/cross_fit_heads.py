"""Stage *cross-fit heads*: predictions from features alone, by heads that have not seen the sample, in rounds.

Each round's posterior says which labels are probably wrong; the heads of the next round do not learn from these. All rounds
predict all samples. Figures: benchmarks/gain, and benchmarks/kinds for pairs.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.pairs import both_ways, joined
from gradsift.errors import DataError
from gradsift.evidence import (
    Evidence,
    Heads,
    cross_fit_heads,
    evidence_of_arrays,
    store_head_predictions,
    stored_evidence,
)
from gradsift.settings import AuditSettings
from gradsift.store import RunDirectory
from gradsift.tasks import Kind

logger = logging.getLogger(__name__)

FOLDS = 4
"""Folds where no number is asked for."""
LEFT_OUT = 1.5
"""The second round leaves out so many times the number of wrong labels that the first, which counts too few, expects."""
ROUNDS, ROUNDS_OF_PAIRS = 2, 3
"""Rounds for classes, and for pairs."""
MOST = 0.5
"""At most this share of each given class is left out."""


def heads_in_rounds(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int | None = None,
    folds: int = FOLDS,
    groups: Any = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    show_progress: bool = True,
) -> Heads:
    """Cross-fits heads, and again without the labels that are probably wrong.

    Args:
        features: Shape (n, D).
        labels: Given labels, shape (n,).
        classes: Number of classes K; the largest label and one where left out.
        folds: Number of folds; as many as the smallest class has samples where these are fewer.
        groups: Group of each sample, shape (n,); none is split over folds.
        rounds: How often heads are cross-fitted.
        seed: Seed of folds and heads.
        show_progress: Whether to show progress bars.

    Returns:
        What the heads of the last round predict.

    Raises:
        DataError: A class has a single sample, or there is one class alone.
    """
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if 2 <= fewest < folds:
        logger.warning("the smallest class has %d samples: %d folds are used instead of %d", fewest, fewest, folds)
        folds = fewest
    shared: dict[str, Any] = {"classes": classes, "folds": folds, "groups": groups, "show_progress": show_progress}
    heads = cross_fit_heads(features, labels, seed=seed, **shared)
    for _ in range(rounds - 1):
        believed = Evidence(heads.predictions, provenance={"predictions": "out-of-fold"})
        posterior = WrongLabelPosterior(random_state=seed).fit(believed, labels)
        doubtful = probably_wrong(-posterior.score_samples(believed, labels), labels)
        if not doubtful.any():
            break
        logger.info("heads are trained again without %d labels that are probably wrong", doubtful.sum())
        heads = cross_fit_heads(features, labels, learn_from=~doubtful, seed=seed, **shared)
    return heads


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
    heads = heads_in_rounds(features, known.labels, folds=folds, groups=groups, seed=seed, show_progress=show_progress)
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

    Of pairs, heads learn from the gradients of their margins: each pair as it stands and swapped, both in one fold.

    Args:
        run: The run directory of a model, with all shards.
        settings: The settings; where heads were not asked for, a class with a single sample leaves the model's predictions.
        kind: What labels are: classes, or pairs.
        groups: Group of each sample, shape (n,); none is split over folds.
        show_progress: Whether to show progress bars.

    Raises:
        DataError: Heads were asked for, and a class has a single sample, or there is one class alone.
    """
    evidence, rounds = stored_evidence(run, kind), ROUNDS
    if kind == "pair":
        evidence, rounds = both_ways(evidence), ROUNDS_OF_PAIRS
        groups = np.tile(np.arange(len(evidence) // 2) if groups is None else groups, 2)
    classes, every = evidence.predictions.shape[1], np.arange(len(evidence))
    try:
        heads = heads_in_rounds(
            evidence.features.rows(every), np.asarray(evidence.labels), classes=classes, groups=groups, rounds=rounds,
            seed=settings.seed, show_progress=show_progress,
        )  # fmt: skip
    except DataError as error:
        if settings.cross_fit_heads == "always":
            raise
        logger.warning("predictions are the model's own, heads cannot be cross-fitted: %s", error)
        return
    store_head_predictions(run, joined(heads.predictions).astype(np.float32) if kind == "pair" else heads.predictions)
    words = (
        f"Predictions are those of heads that were cross-fitted on the {'margin' if kind == 'pair' else 'last layer'}'s "
        f"{'gradients' if kind == 'pair' else 'features'} in {heads.folds.max() + 1} folds: no head has seen the samples "
        "that it predicts."
    )
    run.update({"heads": {"rounds": heads.rounds, "held_out_loss": heads.held_out_loss, "words": words}})
