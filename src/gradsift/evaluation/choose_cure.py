"""Which cure an audit's samples get: chosen by trainings, or by heads on stored features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from gradsift.cleaning.corrected import accepted
from gradsift.cleaning.cure import none
from gradsift.cleaning.cures_of import detrimental_order, target_probabilities
from gradsift.cleaning.reviewed import Reviewed
from gradsift.detectors.confident_learning import confident_learning
from gradsift.evaluation.candidates import Plan, plans_by_count, plans_on_grid
from gradsift.evaluation.choice import Choice, choose
from gradsift.evaluation.cured_training import CuredTraining
from gradsift.evaluation.heads import HeadTrainer
from gradsift.evaluation.label_doubts import LabelDoubts, UnseenDoubts, heads_without_fold, unseen_doubts
from gradsift.evidence import Predict, TrainFunction, assign_folds
from gradsift.locations import Location
from gradsift.progress import progress
from gradsift.table import AuditedRun, evidence_of
from gradsift.table.audited_run import OF_PREDICTIONS
from gradsift.trajectory import Recorder, Trajectory, read_trajectory

logger = logging.getLogger(__name__)

HEAD_TRAININGS = 33
"""Trainings of heads for a choice, where there are more than :data:`MANY` samples."""
MANY = 20_000
"""With fewer samples every cure is tried on every fold by heads."""


def choose_cure(
    audit: AuditedRun,
    train_set: Any = None,
    *,
    train_fn: TrainFunction | None = None,
    trainings: int = 12,
    folds: int = 4,
    frozen: bool = False,
    predict: Predict | None = None,
    groups: Any = None,
    trajectory: Recorder | Trajectory | str | Location | None = None,
    reviewed: Reviewed | None = None,
    seed: int = 0,
    output: str | Location | None = None,
    show_progress: bool = True,
) -> Choice:
    """Compares cures on held-out samples with the labels that they were given, and chooses one or none.

    Args:
        audit: The audit; what a person has decided about its samples holds for every cure.
        train_set: The data set that was audited; needed with ``train_fn``.
        train_fn: The training, ``train_fn(dataset, seed=seed)``. Cures that it does not declare in ``accepts`` are no
            candidates. Where left out, heads are trained on stored features, and candidates are drop and relabel.
        trainings: Most trainings with ``train_fn``; ``folds`` of them are without a cure.
        folds: Number of folds.
        frozen: Whether the stored features come from a body that was not trained on these labels; features that were given
            as arrays do.
        predict: As for :func:`gradsift.cross_fit`.
        groups: Group of each sample, shape (n,); no group is split over folds.
        trajectory: What was recorded along training, for an audit that ranks by it.
        reviewed: The decisions of people, matched with the data set; those of the run, as they stand, where left out.
        seed: Seed of folds and trainings.
        output: Folder of finished trainings, which are not repeated.
        show_progress: Whether to show a progress bar.

    Returns:
        The choice. Where there is nothing to choose with, it is no change, and the reason is logged.

    Raises:
        DataError: A class has fewer samples than there are folds, or the data set is not the one that was audited.
        SettingError: There are too few trainings.
    """
    reason = _reason_against(audit, train_fn, frozen)
    if reason is not None:
        logger.warning("The data stay as they are: %s", reason)
        return Choice(none(np.zeros(len(audit), dtype=np.int64)), "cannot tell", [], 0)
    reviewed, recorded = Reviewed.of(audit) if reviewed is None else reviewed, read_trajectory(trajectory)
    doubts, evidence = _doubts(audit, reviewed, recorded), evidence_of(audit)
    fold_of = assign_folds(doubts.labels, folds, groups=groups, seed=seed, names=audit.class_names)
    unseen = None
    if recorded is None and (audit.details.get("of_heads") or (frozen and audit.details.get("heads"))):
        unseen = unseen_doubts(
            heads_without_fold(evidence, doubts.posterior.shape[1], groups=groups, seed=seed), fold_of, doubts, reviewed,
            seed=seed, show_progress=show_progress,
        )  # fmt: skip
    if train_fn is None:
        features = np.concatenate([rows for _, rows in evidence.features.chunks()])
        return choose_by_heads(features, doubts, fold_of, accepts=(), unseen=unseen, seed=seed)
    audit.samples_of(train_set)
    trainer = CuredTraining(
        train_fn, train_set, fold_of, predict=predict, seed=seed, class_names=audit.class_names, output=output
    )  # fmt: skip
    with progress("choosing a cure", trainings, unit="trainings", show=show_progress) as bar:
        return choose_by_training(
            trainer, doubts, fold_of, accepts=accepted(train_fn), trainings=trainings, unseen=unseen,
            on_training=bar.advance,
        )  # fmt: skip


def choose_by_heads(
    features: np.ndarray,
    doubts: LabelDoubts,
    fold_of: np.ndarray,
    *,
    accepts: Collection[str],
    unseen: Sequence[UnseenDoubts] | None = None,
    seed: int = 0,
) -> Choice:
    """Compares cures over a grid of budgets by heads on features.

    Args:
        features: Features of a body that was not trained on these labels, shape (n, D).
        doubts: What evidence says against the given labels.
        fold_of: The fold that holds each sample out, shape (n,).
        accepts: Which of soft targets and weights the final training takes.
        unseen: Doubts that have not seen a fold's labels, where there are any.
        seed: Seed of the heads.

    Returns:
        The choice. Of more than :data:`MANY` samples not every cure is tried on every fold.
    """
    labels = doubts.labels
    heads = HeadTrainer(features, labels, fold_of, classes=doubts.posterior.shape[1], seed=seed)
    return choose(
        heads,
        labels=labels,
        fold_of=fold_of,
        trainings=HEAD_TRAININGS if len(labels) > MANY else None,
        **_compared(plans_on_grid(doubts, accepted=accepts), doubts, unseen),
    )


def choose_by_training(
    trainer: CuredTraining,
    doubts: LabelDoubts,
    fold_of: np.ndarray,
    *,
    accepts: Collection[str],
    trainings: int,
    unseen: Sequence[UnseenDoubts] | None = None,
    unchanged: np.ndarray | None = None,
    on_training: Callable[[int], None] | None = None,
) -> Choice:
    """Compares a few cures around the estimated number of wrong labels by the user's own training.

    Args:
        trainer: The training.
        doubts: What evidence says against the given labels.
        fold_of: The fold that holds each sample out, shape (n,).
        accepts: Which of soft targets and weights the training takes.
        trainings: Most trainings.
        unseen: Doubts that have not seen a fold's labels, where there are any.
        unchanged: Held-out probabilities without a cure, where they are known; see :func:`choose`.
        on_training: Called with the number of trainings that were done.

    Returns:
        The choice.
    """
    compared = _compared(plans_by_count(doubts, accepted=accepts), doubts, unseen)
    return choose(
        trainer, labels=doubts.labels, fold_of=fold_of, unchanged=unchanged, trainings=trainings,
        on_training=on_training, **compared,
    )  # fmt: skip


def _compared(plans: Sequence[Plan], doubts: LabelDoubts, unseen: Sequence[UnseenDoubts] | None) -> dict[str, Any]:
    """Candidates, and where labels of a fold can be kept out of them, how; only then can accuracy be corrected for flips.

    What has leaked from held-out labels would be multiplied by the correction.
    """
    candidates = [plan(doubts) for plan in plans]
    if unseen is None:
        return {"candidates": candidates}
    return {
        "candidates": candidates,
        "unseen": lambda fold, number: unseen[fold].cure(plans[number]),
        "flips": doubts.flips,
    }


def _doubts(audit: AuditedRun, reviewed: Reviewed, trajectory: Trajectory | None) -> LabelDoubts:
    """What an audit, and people who have reviewed it, say against the given labels."""
    labels = audit.table["given_label"].to_numpy()
    posterior = reviewed.targets(target_probabilities(audit, labels, trajectory), labels)
    scores = np.empty(len(audit))
    scores[detrimental_order(audit, reviewed)] = np.arange(len(audit), 0, -1)
    predictions = evidence_of(audit).predictions
    pruned = (
        np.arange(0) if predictions is None else confident_learning(predictions.rows(np.arange(len(audit))), labels)
    )
    return LabelDoubts(labels, scores, posterior, pruned)


def _reason_against(audit: AuditedRun, train_fn: TrainFunction | None, frozen: bool) -> str | None:
    """Why there is nothing to choose with; ``None`` where there is."""
    if audit.kind != "class":
        return (
            "cures are compared for samples with one class each; name one yourself, how='drop' or how='relabel' (--how)"
        )
    if "prediction" not in audit.run.stored():
        return "the audit has no predictions, from which soft targets and new labels come"
    if train_fn is not None:
        return None
    if "features" not in audit.run.stored():
        return "the audit has no features to train heads on, so give your training, train_fn=... (--train)"
    if not frozen and audit.details.get("task") != OF_PREDICTIONS:
        return (
            "the audited model may have learnt these labels, and so its features: give your training, train_fn=... "
            "(--train my.training:train), say frozen=True (--frozen) where the body of the model was not trained on "
            "them, or name a cure, how='drop' (--how drop)"
        )
    return None
