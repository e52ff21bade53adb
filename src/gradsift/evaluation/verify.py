"""Retraining with controls: does a cure help more than a change that knows nothing of the labels?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gradsift.cleaning.reviewed import Reviewed
from gradsift.errors import SettingError
from gradsift.evaluation.arms import Asked, plan_arms
from gradsift.evaluation.trainings import Metric, Recipe, Trainings, TrialKeys
from gradsift.evaluation.trial_file import TrialFile
from gradsift.evaluation.verification import FORMER_NAMES, Trial, Verification
from gradsift.evidence import Predict, TrainFunction
from gradsift.evidence.predictions import predicted_probabilities
from gradsift.locations import Location
from gradsift.progress import progress
from gradsift.table import AuditedRun
from gradsift.tasks import Task, get_task
from gradsift.trajectory import Recorder, Trajectory, read_trajectory


def verify(
    train_fn: TrainFunction,
    train_set: Any,
    audit: AuditedRun,
    test_set: Any,
    metric: Metric,
    *,
    arms: Asked = ("drop",),
    controls: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    true_labels: Any = None,
    higher_is_better: bool = True,
    trajectory: Recorder | Trajectory | str | Location | None = None,
    task: str | Task = "classification",
    predict: Predict | None = None,
    output: str | Location | None = None,
    show_progress: bool = True,
) -> Verification:
    """Retrains on the data as it is, after each cure, after its controls and, if known, after removing all wrong labels.

    All arms share their seeds and their recipe, so differences are paired; the metric is that of the model ``train_fn``
    returns, the last epoch's. An arm that drops is judged by a random drop of its size, soft targets by the best of label
    smoothing and self-distillation, other cures by no change.

    Args:
        train_fn: Trains a model from scratch, ``train_fn(dataset, seed=seed)``. One that takes soft targets or weights
            says so: ``train_fn.accepts = {"soft", "weight"}``.
        train_set: The data set that was audited.
        audit: The audit.
        test_set: Handed to the metric. The audit has not seen it, and neither may the choice of the cut.
        metric: ``metric(model, test_set) -> float``.
        arms: What is in question: ``"drop"``, ``"relabel"`` (the flagged samples), ``"soft"``, ``"weight"``,
            ``"reviewed"`` (what people have decided, alone), a :class:`~gradsift.cleaning.cure.Cure`, or
            ``{name: cure}``. An audit in place of a cure, such as one whose table a person has edited, stands for dropping
            what it flags: ``{"reviewed": gradsift.Audit.open(run, table=file)}``.
        controls: Which of ``"random drop"``, ``"smoothing 0.3"``, ``"smoothing 0.1"`` and ``"self-distillation"`` may run;
            all that the arms need where left out. No change always runs.
        seeds: How many seeds (0, 1, ...), or which.
        true_labels: True label of every sample, shape (n,), where known: adds the oracles, which drop all wrong labels, and
            give them the true ones.
        higher_is_better: Whether a higher metric is better.
        trajectory: What was recorded along training, for soft targets of an audit that ranks by it.
        task: Reads the outputs of a torch module, for self-distillation.
        predict: ``predict(model, dataset) -> probabilities`` of shape (n, K), for self-distillation of other models.
        output: A file of finished trials, one JSON line each; trials that are in it, of the same cure, data, test set and
            names of ``train_fn`` and ``metric``, are not repeated. Delete it after a change inside these functions.
        show_progress: Whether to show a progress bar.

    Returns:
        Trials, intervals, paired differences and the honest sentence.

    Raises:
        DataError: The data set is not the one that was audited, or a cure changes nothing, or true labels do not fit.
        SettingError: There are no seeds, an arm is unknown, or ``train_fn`` does not take a cure.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not seeds:
        raise SettingError("verify needs at least one seed; five or more make an interval that means something")
    reviewed = Reviewed.of(audit, audit.samples_of(train_set))  # refuses a data set that is not the audited one
    planned = plan_arms(audit, arms, seeds, true_labels, controls, read_trajectory(trajectory), reviewed)
    job = get_task(task)
    predict = predict or (lambda model, dataset: predicted_probabilities(model, dataset, job))
    recipe = Recipe(train_fn, train_set, metric, test_set, predict)
    trainings, keys = Trainings(recipe, audit.class_names), TrialKeys(recipe, audit, true_labels)
    trainings.refuse_unaccepted(planned)
    trials = []
    with (
        TrialFile(output) as file,
        progress("retraining", len(planned) * len(seeds), unit="trainings", show=show_progress) as bar,
    ):
        done = _finished(file)
        for seed in seeds:
            for arm in planned:
                key = keys.of(arm, seed)
                trial = done.get((key, seed)) or done.get((keys.former(arm, seed), seed))
                if trial is None:
                    trial = trainings.trial(arm, seed)
                    file.append(key, trial)
                trials.append(replace(trial, arm=arm.name))
                bar.advance()
    return Verification(trials, [arm.judged for arm in planned if arm.judged is not None], higher_is_better)


def _finished(file: TrialFile) -> dict[tuple[str | None, int], Trial]:
    """Key and seed to trial; keys of gradsift 0.1 are the same for all arms, so the arm's name stands behind."""
    found: dict[tuple[str | None, int], Trial] = {}
    for row in file.rows():
        key = row.pop("key")
        found[f"{key} {row['arm']}" if row["arm"] in FORMER_NAMES else key, row["seed"]] = Trial(**row)
    return found
