"""The user's own training with cures, on the folds of a cross-fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradsift.cleaning.corrected import apply
from gradsift.cleaning.cure import Cure
from gradsift.data import Samples, fingerprint_samples
from gradsift.evidence import Predict, TrainFunction
from gradsift.evidence.fold_training import FinishedFolds, Fold, fingerprint_folds
from gradsift.evidence.predictions import predicted_probabilities
from gradsift.locations import Location, as_location
from gradsift.tasks import Task, get_task

NOTHING_COMPARED = np.empty(0, dtype=np.int64)


class CuredTraining:
    """Trains with a cure on the samples outside of a fold and predicts the fold, one cure after the other.

    Args:
        train_fn: The training, ``train_fn(dataset, seed=seed)``.
        train_set: The whole training set.
        fold_of: The fold that holds each sample out, shape (n,).
        task: The task or its name.
        predict: ``predict(model, dataset) -> probabilities``; see :func:`~gradsift.cross_fit`.
        seed: Seed of the trainings, that of the cross-fit, so that differences are paired.
        class_names: Names of the classes in the order of their numbers.
        output: Folder of finished trainings; those that are there are not repeated.
    """

    def __init__(
        self,
        train_fn: TrainFunction,
        train_set: Any,
        fold_of: np.ndarray,
        *,
        task: str | Task = "classification",
        predict: Predict | None = None,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        output: str | Location | None = None,
    ) -> None:
        job, samples = get_task(task), Samples(train_set)
        reads = predict or (lambda model, dataset: predicted_probabilities(model, dataset, job))
        self._train_set, self._fold_of, self._class_names = train_set, fold_of, class_names
        self._fitted = Fold(train_fn, samples, reads, seed, last_epoch=True)
        self._output = None if output is None else as_location(output)
        self._fingerprint = fingerprint_folds(train_fn, fingerprint_samples(samples)[0], fold_of, seed)

    def held_out(self, cures: Sequence[Cure], fold: int, repeat: int = 0) -> list[np.ndarray]:
        """Trains with each cure on all samples outside of a fold and predicts the fold.

        Args:
            cures: The cures, of all n samples.
            fold: The fold.
            repeat: How many times this was done before; each time with another seed.

        Returns:
            Probabilities of shape (m, K) for each cure.
        """
        return [self._predicted(cure, fold, repeat) for cure in cures]

    def _predicted(self, cure: Cure, fold: int, repeat: int) -> np.ndarray:
        name = f"{cure.how}-{cure.digest.hex()[:12]}" + (f"-{repeat}" if repeat else "")
        folder = None if self._output is None else self._output / name
        finished = FinishedFolds(folder, self._fingerprint)
        found = finished.read(fold)
        if found is None:
            outside, unseen = np.flatnonzero(self._fold_of != fold), np.flatnonzero(self._fold_of == fold)
            dataset = apply(cure, self._train_set, positions=outside, class_names=self._class_names)
            found = self._fitted.train(dataset, unseen, NOTHING_COMPARED, repeat=repeat)
            finished.write(fold, found)
        return found.held_out[-1]
