"""From a training function and its data to a better data set, the model of it, and the proof."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradsift.audit import audit
from gradsift.cleaning.corrected import accepted, apply
from gradsift.cleaning.cure import Cure
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.reviewed import Reviewed
from gradsift.data import Samples
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.errors import OutputError, SettingError
from gradsift.evaluation import Choice, Verification, accuracy, verify
from gradsift.evaluation.choose_cure import choose_by_heads, choose_by_training
from gradsift.evaluation.cured_training import CuredTraining
from gradsift.evaluation.label_doubts import (
    LabelDoubts,
    UnseenDoubts,
    WithoutFold,
    doubts_of,
    heads_without_fold,
    unseen_doubts,
)
from gradsift.evaluation.planned_trainings import PlannedTrainings
from gradsift.evaluation.timed import TimedTraining
from gradsift.evaluation.trainings import Metric
from gradsift.evidence import (
    Evidence,
    Predict,
    TrainFunction,
    UserTraining,
    evidence_of_arrays,
    stored_evidence,
    takes,
)
from gradsift.evidence.cross_fit import cross_fit_trainings
from gradsift.evidence.frozen_inputs import frozen_features
from gradsift.evidence.predictions import given_labels
from gradsift.improvement import Improvement
from gradsift.locations import Location, as_location, refuse_unwritable
from gradsift.proof_notices import ONLY_LAST_EPOCH, notices_of_seeds, notices_of_test_set
from gradsift.result import Audit
from gradsift.store import GradientMatrix
from gradsift.tasks import Task, get_task

logger = logging.getLogger(__name__)


def improve(
    train_fn: TrainFunction | None,
    train_set: Any,
    test_set: Any = None,
    *,
    features: Any = None,
    metric: Metric = accuracy,
    trainings: int = 12,
    folds: int = 4,
    seeds: int = 5,
    task: str | Task = "classification",
    predict: Predict | None = None,
    groups: Any = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    output: str | Location | None = None,
    tell: Callable[[str], None] = logger.info,
    show_progress: bool = True,
) -> Improvement:
    """Makes a training set better where held-out samples say that this helps, trains on it, and proves it.

    Cross-fitted predictions say which labels are wrong; cures (drop, relabel, soft targets, weights) are compared by
    samples that were held out, with the labels they were given; no change wins ties. No clean label is read before the
    proof. What people have decided about the audit in the folder (``gradsift review FOLDER/audit``) stands above the choice
    when the same call is made again.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> def train(dataset, *, seed):
        ...     return LogisticRegression().fit(*dataset)
        >>> generator = np.random.default_rng(0)
        >>> y = np.repeat([0, 1], 40)
        >>> X = y[:, None] + 0.1 * generator.standard_normal((80, 2))
        >>> result = improve(train, (X, y), show_progress=False)
        >>> result.choice.cure.how
        'none'

    Args:
        train_fn: Trains from scratch, ``train_fn(dataset, seed=seed)``. ``train_fn.accepts = {"soft", "weight"}`` says that
            it takes soft targets and weights. ``None`` with features: nothing is trained but heads on these.
        train_set: The training set, whatever an audit takes.
        test_set: Read by the proof alone; no proof where left out.
        features: Features of a frozen model, shape (n, D): small heads on them give the evidence, which needs no training
            of yours. The choice is by ``train_fn``; by heads, too, without one or with ``trainings=0``. Where left out,
            inputs that look like such features are taken (:mod:`gradsift.evidence.frozen_inputs`); ``False`` takes none.
        metric: ``metric(model, test_set) -> float``, higher is better, for the proof.
        trainings: What evidence and choice may cost, in trainings on all samples; see
            :class:`~gradsift.evaluation.planned_trainings.PlannedTrainings`.
        folds: Parts of the data. With four or more there is a training for evidence without every pair of them, so cures
            are compared on labels that they have not seen; with two or three, one without each, and cures have seen them.
        seeds: Seeds of the proof; each trains once for each arm.
        task: The task or its name; it must have classes.
        predict: ``predict(model, dataset) -> probabilities``; see :func:`~gradsift.cross_fit`.
        groups: Group of each sample, shape (n,); none is split over folds.
        class_names: Names of the classes in the order of their numbers, where the data set does not know them.
        seed: Seed of folds and trainings.
        output: Folder that keeps every finished training, the audit, ``result.json`` and ``report.html``: the same call
            goes on where a killed one stopped. Nothing is kept where left out.
        tell: Called with sentences about what is planned, and what it costs once the first training was timed.
        show_progress: Whether to show progress bars.

    Returns:
        The better data set, the model, the choice and the proof.

    Raises:
        DataError: A class has fewer samples than there are folds, or the test set is part of the training set.
        SettingError: There are too few trainings, or ``train_fn`` does not read its data.
        OutputError: The folder holds another job.
    """
    samples = Samples(train_set)
    features = frozen_features(features, samples, tell)
    by_heads = train_fn is None or (features is not None and trainings == 0)
    folder = _refuse_early(train_fn, features, output)
    planned = PlannedTrainings(trainings, folds, of_features=features is not None, by_heads=by_heads)
    notices = [ONLY_LAST_EPOCH] if features is None and not takes(train_fn, "after_epoch") else []
    notices += notices_of_test_set(samples, test_set, show_progress=show_progress)
    _warn(notices)
    tell(planned.sentence(seeds, tested=test_set is not None))
    timed = _timed(train_fn, planned, seeds if test_set is not None else 0, tell)
    evidence, without = _evidence(
        timed if planned.held_out else None, samples, features, predict, folder, planned,
        class_names=class_names, task=task, groups=groups, seed=seed, show_progress=show_progress,
    )  # fmt: skip
    audited = _audit(evidence, train_set, folder, seed, show_progress)
    reviewed = Reviewed.of(audited, audited.samples_of(train_set))
    doubts, unseen = _doubts(evidence, without, reviewed, seed, show_progress)
    del without  # and with it what each training has predicted after each epoch
    choice = _choose(
        None if by_heads else timed, train_set, evidence, doubts, unseen, planned,
        accepts={"soft", "weight"} if timed is None else accepted(timed), features=features, task=task, predict=predict,
        seed=seed, folder=folder,
    )  # fmt: skip
    choice = replace(choice, cure=reviewed.over(choice.cure))
    tell(choice.sentence())
    if len(reviewed):
        notices.append(f"{len(reviewed):,} samples are as people decided, whatever the choice says.")
        tell(notices[-1])
    better = train_set if choice.cure.how == "none" else apply(choice.cure, train_set, class_names=evidence.class_names)
    model = None if timed is None else UserTraining(timed).model(better, "on the data set as it came out", seed=seed)
    proof = _proof(
        timed, train_set, audited, test_set, metric, choice.cure, _inside(folder, "proof.jsonl"),
        seeds=seeds, task=task, predict=predict, show_progress=show_progress,
    )  # fmt: skip
    notices += _warn([] if proof is None else notices_of_seeds(proof))
    counted = {
        "cross-fit": planned.evidence, "choice": 0 if by_heads else choice.trainings,
        "final": int(timed is not None), "proof": 0 if proof is None else len(proof.trials),
    }  # fmt: skip
    result = Improvement(better, model, choice, audited, proof, notices, counted)
    if folder is not None:
        result.save(folder)
    return result


def _refuse_early(train_fn: TrainFunction | None, features: Any, output: str | Location | None) -> Location | None:
    """Refuses what cannot work before anything is trained; gives the folder."""
    if train_fn is None and features is None:
        raise SettingError("improve needs a training function (--train), or features of a frozen model (--features)")
    if output is None:
        return None
    folder = as_location(output)
    refuse_unwritable(folder)
    if (folder / "manifest.json").exists():
        raise OutputError(f"{folder} is the run directory of an audit: choose a folder of its own")
    return folder


def _doubts(
    evidence: Evidence, without: WithoutFold | None, reviewed: Reviewed, seed: int, show_progress: bool
) -> tuple[LabelDoubts, list[UnseenDoubts] | None]:
    """Doubts about labels, and those without the labels of each fold; people's decisions stand above them."""
    labels, fold_of = evidence.labels, evidence.folds
    if labels is None or fold_of is None or evidence.predictions is None:
        raise SettingError("the choice needs labels, and predictions that have not seen their sample")
    last_epoch = None if evidence.by_epoch is None else np.asarray(evidence.by_epoch[-1])
    doubts = doubts_of(evidence, labels, reviewed, last_epoch=last_epoch, seed=seed)
    if without is None:
        return doubts, None
    return doubts, unseen_doubts(without, fold_of, doubts, reviewed, seed=seed, show_progress=show_progress)


def _choose(
    timed: TimedTraining | None,
    train_set: Any,
    evidence: Evidence,
    doubts: LabelDoubts,
    unseen: list[UnseenDoubts] | None,
    planned: PlannedTrainings,
    *,
    accepts: Collection[str],
    features: Any,
    task: str | Task,
    predict: Predict | None,
    seed: int,
    folder: Location | None,
) -> Choice:
    """Compares cures by the training, and by heads on the features without one."""
    fold_of = np.asarray(evidence.folds)
    if timed is None:
        return choose_by_heads(np.asarray(features), doubts, fold_of, accepts=accepts, unseen=unseen, seed=seed)
    training = CuredTraining(
        timed, train_set, fold_of, task=task, predict=predict, seed=seed, class_names=evidence.class_names,
        output=_inside(folder, "choice"),
    )  # fmt: skip
    by_epoch = evidence.by_epoch if planned.held_out == 1 else None
    return choose_by_training(
        training, doubts, fold_of, accepts=accepts, trainings=planned.choice, unseen=unseen,
        unchanged=None if by_epoch is None else np.asarray(by_epoch[-1]),
    )  # fmt: skip


def _evidence(
    timed: TimedTraining | None, samples: Samples, features: Any, predict: Predict | None, folder: Location | None,
    planned: PlannedTrainings, *, class_names: Sequence[str] | None, task: str | Task, **options: Any,
) -> tuple[Evidence, WithoutFold | None]:  # fmt: skip
    """Predictions that have not seen their sample, and, where there are any, those that have not seen a fold either.

    They are of the training, or of heads on features where there is none.
    """
    without: WithoutFold | None = None
    if timed is not None:
        fitted = cross_fit_trainings(
            timed, samples.source, held_out=planned.held_out, folds=planned.folds, predict=predict, task=task,
            output=_inside(folder, "folds" if planned.held_out == 1 else "pairs"), **options,
        )  # fmt: skip
        evidence = fitted.evidence()
        if planned.held_out > 1:
            without = fitted.evidence_without
    else:
        labels = given_labels(get_task(task), samples)
        known = evidence_of_arrays(labels, features=features, class_names=samples.class_names)
        evidence = evidence_of_features(known, folds=planned.folds, **options)
        classes = evidence.predictions.shape[1]
        without = heads_without_fold(evidence, classes, groups=options["groups"], seed=options["seed"])
    return evidence if class_names is None else evidence.with_(class_names=list(class_names)), without


def _audit(evidence: Evidence, train_set: Any, folder: Location | None, seed: int, show_progress: bool) -> Audit:
    """The audit of the evidence; a finished one of the same evidence is opened."""
    place, other = _inside(folder, "audit"), False
    if place is not None and (place / "scores.parquet").is_file():
        finished = Audit.open(place, train_set)
        finished.samples_of(train_set)  # refuses another data set
        other = not _same_predictions(finished, evidence)
        if not other:
            return finished
        _refuse_decided(finished, place)
    return audit(
        evidence=evidence, data=train_set, output=place, seed=seed, overwrite=other, show_progress=show_progress
    )


def _refuse_decided(finished: Audit, place: Location) -> None:
    """Keeps what people decided about an audit of other predictions from being lost."""
    decisions = Decisions.of(finished)
    if decisions is not None:
        decisions.close()
        raise OutputError(
            f"people have decided about {place}, an audit of other predictions: move it away, call again, bring the "
            f"decisions over with gradsift import-decisions {place} MOVED, and call once more; no training is repeated"
        )


def _same_predictions(finished: Audit, evidence: Evidence) -> bool:
    """Whether an audit was made of these predictions, to the last digit."""
    stored = stored_evidence(finished.run, finished.kind)
    pairs = (stored.predictions, evidence.predictions), (stored.early_predictions, evidence.early_predictions)
    return all(_same_rows(*pair) for pair in pairs)


def _same_rows(stored: GradientMatrix | None, known: GradientMatrix | None) -> bool:
    """Whether two matrices hold the same numbers in single precision, or neither is there."""
    if stored is None or known is None or stored.shape != known.shape:
        return stored is known
    return all(
        np.array_equal(rows, known.rows(np.arange(start, start + len(rows))).astype(np.float32))
        for start, rows in stored.chunks()
    )


def _warn(notices: list[str]) -> list[str]:
    """Logs them as warnings; the same notices."""
    for notice in notices:
        logger.warning(notice)
    return notices


def _timed(
    train_fn: TrainFunction | None, planned: PlannedTrainings, seeds: int, tell: Callable[[str], None]
) -> TimedTraining | None:
    """The training, which says after its first call what all that are planned will take."""
    if train_fn is None:
        return None
    if planned.by_heads:
        return TimedTraining(train_fn, tell, {"final model": 1, "proof": 5 * seeds})
    stages = {"evidence, choice and final model": 1 + planned.cost, "proof": 5 * seeds}
    return TimedTraining(train_fn, tell, stages, planned.share)


def _proof(
    timed: TimedTraining | None, train_set: Any, audited: Audit, test_set: Any, metric: Metric, cure: Cure,
    output: Location | None, **options: Any,
) -> Verification | None:  # fmt: skip
    """Retrains with the cure and its controls, where something is changed and there is a test set."""
    if timed is None or test_set is None or cure.how == "none":
        return None
    return verify(timed, train_set, audited, test_set, metric, arms={cure.name: cure}, output=output, **options)


def _inside(folder: Location | None, name: str) -> Location | None:
    return None if folder is None else folder / name
