"""The user's training after any cure, and what tells one such training from another."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradsift.cleaning.corrected import accepted, apply
from gradsift.cleaning.cure import Cure, soft
from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.arms import DISTILLED, Arm
from gradsift.evaluation.verification import FORMER_NAMES, Trial
from gradsift.evidence import Predict, TrainFunction, UserTraining
from gradsift.table import AuditedRun


class Metric(Protocol):
    """What is measured on the test set."""

    def __call__(self, model: Any, test_set: Any, /) -> float:
        """Measures a model.

        Args:
            model: A trained model, whatever ``train_fn`` returns.
            test_set: The test set.

        Returns:
            The metric.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """What all trainings of a verification share.

    Attributes:
        train_fn: The user's training.
        train_set: The data set as it is.
        metric: Measures a model.
        test_set: Handed to the metric.
        predict: Gives the probabilities that self-distillation learns from.
    """

    train_fn: TrainFunction
    train_set: Any
    metric: Metric
    test_set: Any
    predict: Predict


class Trainings:
    """Trains and measures.

    Args:
        recipe: What all trainings share.
        class_names: Names of the classes, where they are known.
    """

    def __init__(self, recipe: Recipe, class_names: Sequence[str] | None) -> None:
        self._recipe, self._class_names, self._training = recipe, class_names, UserTraining(recipe.train_fn)
        self._unchanged: tuple[int, Any] | None = None  # the latest seed and its model of no change

    def refuse_unaccepted(self, arms: Sequence[Arm]) -> None:
        """Refuses cures before anything is trained.

        Args:
            arms: The arms.

        Raises:
            SettingError: ``train_fn`` does not say that it takes them.
            DataError: The data set cannot hold them.
        """
        takes = accepted(self._recipe.train_fn)
        for arm in sorted(arms, key=lambda arm: arm.judged is None):  # the message names what the user has asked for
            if arm.how not in takes:
                raise SettingError(
                    f"the arm {arm.name!r} trains with {_IN_WORDS.get(arm.how, arm.how)}, and train_fn does not say that "
                    f"it takes them: set train_fn.accepts = {{{arm.how!r}}} if it does, or leave this arm out"
                )
            self._cured(next(iter(arm.cures.values())))

    def trial(self, arm: Arm, seed: int) -> Trial:
        """Trains and measures.

        Args:
            arm: The arm.
            seed: The seed.

        Returns:
            The trial.
        """
        started, cure = time.perf_counter(), arm.cures[seed]
        if arm.distils:
            cure = self._distilled(cure, seed)
        model = self._trained(cure, seed, arm.name)
        value = float(self._recipe.metric(model, self._recipe.test_set))
        removed, seconds = len(cure) - len(cure.kept), time.perf_counter() - started
        return Trial(arm.name, seed, value, seconds, removed, len(cure.changed) - removed)

    def _trained(self, cure: Cure, seed: int, arm: str) -> Any:
        model = self._training.model(self._cured(cure), f"in the arm {arm!r} with seed={seed}", seed=seed)
        if cure.how == "none":
            self._unchanged = seed, model
        return model

    def _cured(self, cure: Cure) -> Any:
        return apply(cure, self._recipe.train_set, class_names=self._class_names)

    def _distilled(self, teacher: Cure, seed: int) -> Cure:
        """Soft targets: what the model of no change, of the same seed, predicts of its own training set."""
        if self._unchanged is None or self._unchanged[0] != seed:  # an earlier call has finished its trial
            self._trained(teacher, seed, "self-distillation")
        _, model = self._unchanged or (seed, None)
        probabilities = np.asarray(self._recipe.predict(model, self._recipe.train_set), dtype=np.float32)
        if probabilities.ndim == 1:
            probabilities = np.stack([1 - probabilities, probabilities], axis=1)
        return soft(probabilities, teacher.given)


class TrialKeys:
    """What a finished training is found by in a file of trials.

    Args:
        recipe: What all trainings share.
        audit: The audit.
        true_labels: True labels, where they are known.
    """

    def __init__(self, recipe: Recipe, audit: AuditedRun, true_labels: Any) -> None:
        names = f"{_name(recipe.train_fn)} {_name(recipe.metric)} {_fingerprint(recipe.test_set)}"
        data = audit.details.get("data_fingerprint")
        self._audit = audit
        self._shared = f"{data or fingerprint_samples(Samples(recipe.train_set))[0]} {names}".encode()
        self._former = _digest(audit.flagged_positions.tobytes() + f"{data}{names}".encode())
        self._oracle = "" if true_labels is None else _digest(np.asarray(true_labels).tobytes())

    def of(self, arm: Arm, seed: int) -> str:
        """The key of a training.

        Args:
            arm: Its arm.
            seed: Its seed.

        Returns:
            The same for the same cure of the same data under the same recipe, whatever the arm is called.
        """
        distilled = DISTILLED.encode() if arm.distils else b""  # its cure is the one of its teacher
        return _digest(distilled + arm.cures[seed].digest + self._shared)

    def former(self, arm: Arm, seed: int) -> str | None:
        """The key under which gradsift 0.1 kept it.

        Args:
            arm: Its arm.
            seed: Its seed.

        Returns:
            The key with the arm's name of then; ``None`` for arms that there were not.
        """
        former = next((name for name, present in FORMER_NAMES.items() if present == arm.name), None)
        cure, kept = arm.cures[seed], self._audit.kept
        as_then = {"drop": np.array_equal(cure.kept, kept), "random drop": len(cure.kept) == len(kept)}
        if former is None or not as_then.get(arm.name, True):
            return None
        return f"{self._former}{self._oracle if arm.name == 'oracle drop' else ''} {former}"


_IN_WORDS = {"soft": "soft targets", "weight": "weights"}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _name(function: Any) -> str:
    """A function's import path; a change of its body cannot be seen, so finished trials of the same name are kept."""
    kind = type(function)
    return f"{getattr(function, '__module__', kind.__module__)}:{getattr(function, '__qualname__', kind.__qualname__)}"


def _fingerprint(test_set: Any) -> str:
    try:
        return fingerprint_samples(Samples(test_set))[0]
    except DataError:  # a test set of the user's own kind, which only the metric reads
        return type(test_set).__qualname__
