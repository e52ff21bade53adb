"""Cross-fitting: predictions of models that have not seen the sample they predict, from the user's own training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError, SettingError
from gradsift.evidence.arrays import class_numbers, evidence_of_arrays
from gradsift.evidence.calibration import choose_window, tempered
from gradsift.evidence.early import early_mean, learned_in_turn
from gradsift.evidence.fold_training import FinishedFolds, Fold, Predicted, fingerprint_folds
from gradsift.evidence.folds import assign_folds
from gradsift.evidence.hub import Evidence
from gradsift.evidence.predictions import given_labels, predicted_probabilities
from gradsift.evidence.training import Predict, TrainFunction, takes
from gradsift.locations import Location
from gradsift.progress import progress
from gradsift.tasks import Task, get_task

logger = logging.getLogger(__name__)

COMPARED = 64
"""Samples on which the models of two folds are compared, to notice a training that does not read its data."""


def cross_fit(
    train_fn: TrainFunction,
    train_set: Any,
    *,
    folds: int = 4,
    task: str | Task = "classification",
    predict: Predict | None = None,
    groups: Any = None,
    seed: int = 0,
    output: str | Location | None = None,
    show_progress: bool = True,
) -> Evidence:
    """Trains once for each fold and predicts the samples that were held out.

    A model that has memorised its labels says nothing about them; one that has not seen a sample does. A ``train_fn`` that
    accepts ``after_epoch`` calls ``after_epoch(model)`` after each epoch, so that every epoch's predictions are kept;
    otherwise only those of the last epoch are. Which epochs are averaged, and with which temperature, is what makes the
    given labels likeliest (:func:`~gradsift.evidence.calibration.choose_window`). Each epoch's model predicts some of the
    samples that it learns from, too, which costs one more forward pass over the data an epoch
    (:mod:`~gradsift.evidence.early`).

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> inputs = np.array([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]], dtype=np.float32)
        >>> def train(dataset, *, seed):
        ...     return LogisticRegression(C=100.0).fit(*dataset)
        >>> evidence = cross_fit(train, (inputs, np.array([0, 0, 0, 1, 1, 1])), folds=3)
        >>> evidence.comes_from("predictions"), evidence.predictions.shape
        ('out-of-fold', (6, 2))

    Args:
        train_fn: Trains a model from scratch, ``train_fn(dataset, seed=seed)``.
        train_set: The training set.
        folds: Number of trainings. Each holds one of so many parts of the data out.
        task: The task or its name; it must have classes.
        predict: ``predict(model, dataset) -> probabilities`` of shape (n, K). Where left out, the task reads a torch
            module's outputs, and ``predict_proba`` any other model's.
        groups: Group of each sample, shape (n,), such as the patient it comes from; no group is split over folds.
        seed: Seed of folds and trainings.
        output: Folder of finished folds: the same call goes on after the last one that is there.
        show_progress: Whether to show a progress bar.

    Returns:
        Evidence with calibrated ``predictions``, those of every epoch in ``by_epoch``, shape (epochs, n, K),
        ``early_predictions`` where there are at least four epochs, labels, losses and folds.

    Raises:
        DataError: A class has fewer samples than there are folds, or predictions are no probabilities.
        SettingError: The task has no classes, or ``train_fn`` gives the same model whatever its data.
        OutputError: The folder holds folds of another data set or another training.
    """
    fitted = cross_fit_trainings(
        train_fn, train_set, held_out=1, folds=folds, task=task, predict=predict, groups=groups, seed=seed, output=output,
        show_progress=show_progress,
    )  # fmt: skip
    return fitted.evidence()


@dataclass(frozen=True)
class CrossFitted:
    """What the trainings of a cross-fit have predicted.

    Attributes:
        labels: Given labels as class numbers, shape (n,).
        class_names: Names of the classes.
        data_fingerprint: Fingerprint of the data set.
        fold_of: The fold of each sample, shape (n,).
        held_out: The folds that each training has held out.
        predicted: What each training has predicted.
    """

    labels: np.ndarray
    class_names: Sequence[str] | None
    data_fingerprint: str
    fold_of: np.ndarray
    held_out: Sequence[tuple[int, ...]]
    predicted: Sequence[Predicted]

    def evidence(self) -> Evidence:
        """About all samples, the mean over the trainings that have not seen a sample, as :func:`cross_fit` gives it."""
        found = self._evidence(np.arange(len(self.labels)), range(len(self.held_out)))
        return found.with_(data_fingerprint=self.data_fingerprint)

    def evidence_without(self, fold: int, outside: np.ndarray) -> Evidence:
        """About the samples outside of a fold, by trainings that have not seen this fold either.

        Args:
            fold: The fold.
            outside: Positions of the samples outside of it.

        Returns:
            Evidence. There is none where each training holds out one fold alone.
        """
        return self._evidence(outside, [number for number, folds in enumerate(self.held_out) if fold in folds])

    def _evidence(self, rows: np.ndarray, used: Sequence[int]) -> Evidence:
        labels, by_epoch = self.labels[rows], self._by_epoch(used)[:, rows]
        evidence_of_arrays(labels, by_epoch[-1], class_names=self.class_names)  # refuses what is no probability
        window = choose_window(by_epoch, labels)
        mean = by_epoch[window.start : window.stop].mean(axis=0)
        predictions = tempered(mean, window.temperature).astype(np.float32)
        evidence = evidence_of_arrays(
            labels, predictions, folds=self.fold_of[rows], class_names=self.class_names, provenance="out-of-fold"
        )
        early = self._early(used)
        where = {"by_epoch": "out-of-fold", "early_predictions": "along training"}
        return evidence.with_(
            by_epoch=by_epoch, early_predictions=None if early is None else early[rows], provenance=where
        )

    def _by_epoch(self, used: Sequence[int]) -> np.ndarray:
        """The mean prediction of each epoch by the trainings that have not seen the sample, shape (epochs, n, K)."""
        held_out = [self.predicted[number].held_out for number in used]
        last = min(len(part) for part in held_out)
        whole = np.zeros((last, len(self.fold_of), held_out[0].shape[2]), dtype=np.float32)
        count = np.zeros((len(self.fold_of), 1), dtype=np.float32)
        for number, part in zip(used, held_out, strict=True):
            places = np.flatnonzero(np.isin(self.fold_of, self.held_out[number]))
            whole[:, places] += part[-last:]
            count[places] += 1
        return whole / np.maximum(count, 1)

    def _early(self, used: Sequence[int]) -> np.ndarray | None:
        """What is said early of the samples that are learned from, shape (n, K)."""
        parts, folds = [self.predicted[number] for number in used], int(self.fold_of.max()) + 1
        turns = [learned_in_turn(self.held_out[number], folds) for number in used]
        epochs = min(len(part.held_out) if len(part.learned) else 0 for part in parts)
        return early_mean([part.learned for part in parts], turns, epochs, self.fold_of)


def cross_fit_trainings(
    train_fn: TrainFunction,
    train_set: Any,
    *,
    held_out: int,
    folds: int = 4,
    task: str | Task = "classification",
    predict: Predict | None = None,
    groups: Any = None,
    seed: int = 0,
    output: str | Location | None = None,
    show_progress: bool = True,
) -> CrossFitted:
    """Trains without every fold, or without every pair of folds, and predicts what was held out.

    Without every pair of four folds there are six trainings on half of the samples, which cost as much as four on three
    quarters. For each fold there is then evidence about all others by models that have not seen its labels.

    Args:
        train_fn: As for :func:`cross_fit`, like all that is not named here.
        train_set: The training set.
        held_out: How many folds each training holds out.
        folds: Number of folds.
        task: The task.
        predict: Gives probabilities.
        groups: Group of each sample.
        seed: Seed of folds and trainings.
        output: Folder of finished trainings.
        show_progress: Whether to show a progress bar.

    Returns:
        What each training has predicted.

    Raises:
        DataError: As for :func:`cross_fit`.
        SettingError: As for :func:`cross_fit`.
        OutputError: As for :func:`cross_fit`.
    """
    job = get_task(task)
    samples = Samples(train_set)
    labels, names = class_numbers(given_labels(job, samples))
    names = samples.class_names or names
    fold_of = assign_folds(labels, folds, groups=groups, seed=seed, names=names)
    data = fingerprint_samples(samples)[0]
    finished = FinishedFolds(output, fingerprint_folds(train_fn, data, fold_of, seed, held_out))
    compared = samples.evenly_spaced(COMPARED)
    fitted = Fold(
        train_fn, samples, predict or (lambda model, dataset: predicted_probabilities(model, dataset, job)), seed
    )
    sets, predicted = list(combinations(range(folds), held_out)), []
    with progress("cross-fitting", len(sets), unit="trainings", show=show_progress) as bar:
        for number, without in enumerate(sets):
            one = finished.read(number, learned=takes(train_fn, "after_epoch"))
            if one is None:
                outside = np.isin(fold_of, without)
                turns = learned_in_turn(without, folds)
                in_turn = [np.flatnonzero(np.isin(fold_of, own)) for own in turns]
                one = fitted.train(samples.keep(np.flatnonzero(~outside)), np.flatnonzero(outside), compared, in_turn)
                finished.write(number, one)
            predicted.append(one)
            bar.advance()
    _refuse_unusable(predicted)
    return CrossFitted(labels, names, data, fold_of, sets, predicted)


def _refuse_unusable(predicted: Sequence[Predicted]) -> None:
    """Notices a training that does not read its data, whose models agree to the last digit, and unlike shapes."""
    common = [one.compared for one in predicted]
    if all(np.array_equal(common[0], other) for other in common[1:]):
        raise SettingError(
            f"train_fn gave models with equal predictions for {len(common)} different training sets: it must train on the "
            "data set that it is called with, and from scratch"
        )
    widths = {one.held_out.shape[2] for one in predicted}
    if len(widths) > 1:
        raise DataError(f"models of different folds predict {sorted(widths)} classes: train each for all classes")
    epochs = {len(one.held_out) for one in predicted}
    if len(epochs) > 1:
        logger.warning("the folds were trained for %s epochs: the last %d are kept", sorted(epochs), min(epochs))
