"""Cross-fitting: predictions of models that have not seen the sample they predict, from the user's own training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError, OutputError, SettingError
from gradsift.evidence.arrays import class_numbers, evidence_of_arrays
from gradsift.evidence.calibration import choose_window, tempered
from gradsift.evidence.early import early_mean, learned_fold
from gradsift.evidence.folds import assign_folds
from gradsift.evidence.hub import Evidence
from gradsift.evidence.predictions import given_labels, predicted_probabilities
from gradsift.evidence.training import Predict, TrainFunction, UserTraining, takes
from gradsift.locations import Location, as_location, local_copy
from gradsift.progress import progress
from gradsift.tasks import Task, get_task
from gradsift.writing import new_file

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
    job = get_task(task)
    samples = Samples(train_set)
    labels, names = class_numbers(given_labels(job, samples))
    names = samples.class_names or names
    fold_of = assign_folds(labels, folds, groups=groups, seed=seed)
    data = fingerprint_samples(samples)[0]
    finished = FinishedFolds(output, fingerprint_folds(train_fn, data, fold_of, seed))
    compared = samples.evenly_spaced(COMPARED)
    fitted = Fold(
        train_fn, samples, predict or (lambda model, dataset: predicted_probabilities(model, dataset, job)), seed
    )
    places, by_fold = [np.flatnonzero(fold_of == fold) for fold in range(folds)], []
    with progress("cross-fitting", folds, unit="trainings", show=show_progress) as bar:
        for fold in range(folds):
            predicted = finished.read(fold, learned=takes(train_fn, "after_epoch"))
            if predicted is None:
                kept = samples.keep(np.flatnonzero(fold_of != fold))
                in_turn = [places[learned_fold(fold, epoch, folds)] for epoch in range(folds - 1)]
                predicted = fitted.train(kept, places[fold], compared, in_turn)
                finished.write(fold, predicted)
            by_fold.append(predicted)
            bar.advance()
    _refuse_same_models([fold.compared for fold in by_fold])
    by_epoch = _put_together([fold.held_out for fold in by_fold], fold_of)
    evidence_of_arrays(labels, by_epoch[-1], class_names=names)  # refuses what is no probability of these classes
    window = choose_window(by_epoch, labels)
    mean = by_epoch[window.start : window.stop].mean(axis=0)
    predictions = tempered(mean, window.temperature).astype(np.float32)
    evidence = evidence_of_arrays(labels, predictions, folds=fold_of, class_names=names, provenance="out-of-fold")
    early = early_mean([fold.learned for fold in by_fold], fold_of)
    where = {"by_epoch": "out-of-fold", "early_predictions": "along training"}
    return evidence.with_(by_epoch=by_epoch, early_predictions=early, provenance=where, data_fingerprint=data)


class Predicted(NamedTuple):
    """What the training of one fold has predicted, as probabilities.

    Attributes:
        held_out: Of the samples that were held out, shape (epochs, m, K).
        compared: Of those that every fold's last model predicts, shape (c, K).
        learned: Of samples that were learned from, other ones after each epoch, one below the other; empty where the
            training tells nothing of its epochs.
    """

    held_out: np.ndarray
    compared: np.ndarray
    learned: np.ndarray


class Fold:
    """One training of a cross-fit.

    Args:
        train_fn: The training.
        samples: The whole data set.
        predict: Gives probabilities.
        seed: Seed of the training.
        last_epoch: Whether predictions of the last epoch are enough.
    """

    def __init__(
        self, train_fn: TrainFunction, samples: Samples, predict: Predict, seed: int, *, last_epoch: bool = False
    ) -> None:
        self._training, self._samples, self._predict, self._seed = UserTraining(train_fn), samples, predict, seed
        self._by_epoch, self._last_epoch = takes(train_fn, "after_epoch"), last_epoch

    def train(
        self, kept: Any, held_out: np.ndarray, compared: np.ndarray, learned: Sequence[np.ndarray] = ()
    ) -> Predicted:
        """Trains on some samples and predicts the others.

        Args:
            kept: The data set to train on.
            held_out: Positions to predict.
            compared: Positions that every fold's last model predicts.
            learned: Positions among those trained on; after each epoch one of these arrays is predicted, in turn.

        Returns:
            The predictions.
        """
        unseen = self._samples.keep(held_out)
        epochs: list[np.ndarray] = []
        early: list[np.ndarray] = []

        def predict(model: Any) -> None:
            epochs.append(self._probabilities(model, unseen, len(held_out)))
            if learned and self._by_epoch:
                places = learned[len(early) % len(learned)]
                early.append(self._probabilities(model, self._samples.keep(places), len(places)))

        after_epoch = (lambda model: None) if self._last_epoch else predict
        left_out = f"{len(held_out)} of {len(self._samples)} samples"
        model = self._training.model(
            kept, f"in cross-fitting, on the data set without {left_out}",
            seed=self._seed, **({"after_epoch": after_epoch} if self._by_epoch else {}),
        )  # fmt: skip
        if not epochs:
            predict(model)
        common = (
            self._probabilities(model, self._samples.keep(compared), len(compared)) if len(compared) else np.empty(0)
        )
        held = np.stack(epochs)
        return Predicted(held, common, np.concatenate(early) if early else held[0, :0])

    def _probabilities(self, model: Any, dataset: Any, size: int) -> np.ndarray:
        probabilities = np.asarray(self._predict(model, dataset), dtype=np.float32)
        if probabilities.ndim == 1:
            probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        if probabilities.ndim != 2 or len(probabilities) != size or not np.isfinite(probabilities).all():
            raise DataError(
                f"predict(model, dataset) gave shape {probabilities.shape} for {size} samples: it must give finite "
                "probabilities of shape (n, K)"
            )
        return probabilities


class FinishedFolds:
    """The folds of a cross-fit that are done, in a folder.

    Args:
        folder: The folder; nothing is kept where ``None``.
        fingerprint: Of training, data, folds and seed.

    Raises:
        OutputError: The folder is the run directory of an audit.
    """

    def __init__(self, folder: str | Location | None, fingerprint: str) -> None:
        self._folder, self._fingerprint = None if folder is None else as_location(folder), fingerprint
        if self._folder is not None and (self._folder / "manifest.json").exists():
            raise OutputError(f"{folder} is the run directory of an audit: choose a folder of its own for the folds")

    def read(self, fold: int, *, learned: bool = False) -> Predicted | None:
        """The predictions of a fold.

        Args:
            fold: Its number.
            learned: Whether those of samples that were learned from are needed, which earlier versions did not keep.

        Returns:
            What :meth:`Fold.train` gave; ``None`` where it is not done, or done by a version that kept less.

        Raises:
            OutputError: It is of another data set or another training.
        """
        path = self._path(fold)
        if path is None or not path.is_file():
            return None
        with np.load(local_copy(path), allow_pickle=False) as archive:
            if str(archive["fingerprint"]) != self._fingerprint:
                raise OutputError(
                    f"{path} is of another data set, training, seed or number of folds: choose another folder, or remove it"
                )
            held_out, compared = archive["held_out"], archive["compared"]
            if "learned" in archive.files:
                return Predicted(held_out, compared, archive["learned"])
        if learned:
            logger.warning("%s was written by an earlier version, which kept less: the fold is trained again", path)
        return None if learned else Predicted(held_out, compared, held_out[0, :0])

    def write(self, fold: int, predicted: Predicted) -> None:
        """Keeps the predictions of a fold.

        Args:
            fold: Its number.
            predicted: The predictions.
        """
        path = self._path(fold)
        if path is not None:
            with new_file(path, replaces=self._is_older) as aside:
                np.savez(aside, **predicted._asdict(), fingerprint=self._fingerprint)

    def _is_older(self, path: Location) -> bool:
        """Whether a file holds a fold of this cross-fit, as earlier versions kept it."""
        with np.load(local_copy(path), allow_pickle=False) as archive:
            return "learned" not in archive.files and str(archive.get("fingerprint")) == self._fingerprint

    def _path(self, fold: int) -> Location | None:
        return None if self._folder is None else self._folder / f"fold-{fold:02d}.npz"


def fingerprint_folds(train_fn: Any, data: str, fold_of: np.ndarray, seed: int) -> str:
    """What tells the trainings of one cross-fit from those of another one.

    Args:
        train_fn: The training; a change inside of it cannot be seen.
        data: Fingerprint of the data set.
        fold_of: The fold that holds each sample out, shape (n,).
        seed: Seed of the trainings.

    Returns:
        SHA-256 in hexadecimal.
    """
    name = getattr(train_fn, "__qualname__", type(train_fn).__qualname__)
    parts = f"{getattr(train_fn, '__module__', '')}:{name} {data} {seed} ".encode()
    return hashlib.sha256(parts + fold_of.tobytes()).hexdigest()


def _refuse_same_models(common: list[np.ndarray]) -> None:
    """Notices a training that does not read its data: models of other data agree to the last digit."""
    if all(np.array_equal(common[0], other) for other in common[1:]):
        raise SettingError(
            f"train_fn gave models with equal predictions for {len(common)} different training sets: it must train on the "
            "data set that it is called with, and from scratch"
        )


def _put_together(held_out: list[np.ndarray], fold_of: np.ndarray) -> np.ndarray:
    """Every sample's predictions by the model that has not seen it, shape (epochs, n, K)."""
    epochs = {len(part) for part in held_out}
    if len(epochs) > 1:
        logger.warning("the folds were trained for %s epochs: the last %d are kept", sorted(epochs), min(epochs))
    widths = {part.shape[2] for part in held_out}
    if len(widths) > 1:
        raise DataError(f"models of different folds predict {sorted(widths)} classes: train each for all classes")
    last = min(epochs)
    whole = np.empty((last, len(fold_of), widths.pop()), dtype=np.float32)
    for fold, part in enumerate(held_out):
        whole[:, fold_of == fold] = part[-last:]
    return whole
