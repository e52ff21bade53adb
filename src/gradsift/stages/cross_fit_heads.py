"""Stage *cross-fit heads*: heads on the features that a run holds predict its samples, none of those that they have seen.

Classes: :mod:`gradsift.detectors.heads_in_rounds`. Figures: benchmarks/gain, and benchmarks/kinds for pairs.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from scipy.special import expit

from gradsift.detectors.heads_in_rounds import heads_in_two_rounds
from gradsift.detectors.pairs import both_ways
from gradsift.errors import DataError
from gradsift.evidence import store_head_predictions, stored_evidence
from gradsift.evidence.pair_heads import left_out_margins
from gradsift.settings import AuditSettings
from gradsift.store import RunDirectory
from gradsift.tasks import Kind

logger = logging.getLogger(__name__)


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
