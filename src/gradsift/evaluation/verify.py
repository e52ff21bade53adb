"""Retraining with controls: does removing the flagged samples help more than removing as many at random?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gradsift.cleaning.trim import trim
from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.trial_file import TrialFile
from gradsift.evaluation.verification import Trial, Verification
from gradsift.evidence import TrainFunction
from gradsift.progress import progress
from gradsift.table import Audit


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


def verify(
    train_fn: TrainFunction,
    train_set: Any,
    audit: Audit,
    test_set: Any,
    metric: Metric,
    *,
    seeds: int | Sequence[int] = 5,
    true_labels: Any = None,
    higher_is_better: bool = True,
    output: str | Path | None = None,
    show_progress: bool = True,
) -> Verification:
    """Retrains on the data as it is, randomly trimmed, trimmed by the audit and, if known, trimmed of all wrong labels.

    All arms share their seeds and their recipe; each seed draws its own random trim of the audit's size. The metric is
    that of the model ``train_fn`` returns, the last epoch's.

    Args:
        train_fn: Trains a model from scratch, ``train_fn(dataset, seed=seed)``.
        train_set: The data set that was audited.
        audit: The audit.
        test_set: Handed to the metric. The audit has not seen it, and neither may the choice of the cut.
        metric: ``metric(model, test_set) -> float``.
        seeds: How many seeds (0, 1, ...), or which.
        true_labels: True label of every sample, shape (n,), where known: adds the oracle trim.
        higher_is_better: Whether a higher metric is better.
        output: A file of finished trials, one JSON line each; trials that are in it, of the same audit, test set and names
            of ``train_fn`` and ``metric``, are not repeated. Delete it after a change inside these functions.
        show_progress: Whether to show a progress bar.

    Returns:
        Trials, intervals, paired differences and the honest sentence.

    Raises:
        DataError: The data set is not the one that was audited, or nothing is flagged, or true labels do not fit.
        SettingError: There are no seeds.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not seeds:
        raise SettingError("verify needs at least one seed; five or more make an interval that means something")
    removed = len(audit.flagged)
    if removed == 0:
        raise DataError("the audit flags no sample, so there is nothing to verify")
    arms = _arms(train_set, audit, true_labels, seeds)
    recipe = f"{_name(train_fn)} {_name(metric)} {_fingerprint(test_set)}"
    key = hashlib.sha256(
        audit.flagged.tobytes() + str(audit.details.get("data_fingerprint")).encode() + recipe.encode()
    ).hexdigest()[:16]
    oracle = hashlib.sha256(np.asarray(true_labels).tobytes()).hexdigest()[:16] if true_labels is not None else ""
    trials = []
    with (
        TrialFile(output) as file,
        progress("retraining", len(arms) * len(seeds), unit="trainings", show=show_progress) as bar,
    ):
        done = _finished(file, key, oracle)
        for seed in seeds:
            for arm, by_seed in arms.items():
                trial = done.get((arm, seed))
                if trial is None:
                    started = time.perf_counter()
                    try:
                        model = train_fn(_kept(train_set, by_seed[seed]), seed=seed)
                    except Exception as error:
                        error.add_note(f"raised by train_fn, in the arm {arm!r} with seed={seed}")
                        raise
                    if model is None:
                        raise SettingError("train_fn returned None, it must return the trained model")
                    value = float(metric(model, test_set))
                    trial = Trial(
                        arm, seed, value, time.perf_counter() - started, removed_of(by_seed[seed], len(audit))
                    )
                    file.append(key + (oracle if arm == "oracle trim" else ""), trial)
                trials.append(trial)
                bar.advance()
    return Verification(trials, removed, higher_is_better)


def removed_of(kept: np.ndarray | None, size: int) -> int:
    """How many samples an arm removes.

    Args:
        kept: Positions kept, or ``None`` for all.
        size: Samples in all.

    Returns:
        The number.
    """
    return 0 if kept is None else size - len(kept)


def _arms(
    train_set: Any, audit: Audit, true_labels: Any, seeds: Sequence[int]
) -> dict[str, Mapping[int, np.ndarray | None]]:
    """Arm to positions kept, by seed."""
    trim(train_set, audit)  # refuses a data set that is not the audited one
    size, removed = len(audit), len(audit.flagged)
    arms: dict[str, Mapping[int, np.ndarray | None]] = {
        "no trim": dict.fromkeys(seeds),
        "random trim": {
            seed: np.sort(np.random.default_rng([seed, 20]).choice(size, size - removed, replace=False))
            for seed in seeds
        },
        "this trim": dict.fromkeys(seeds, audit.kept),
    }
    if true_labels is not None:
        true, given = np.asarray(true_labels), audit.table["given_label"].to_numpy()
        if audit.table["given_label"].null_count:
            raise DataError("the audit's task knows no given labels, so true_labels cannot tell which are wrong")
        if true.dtype.kind in "OUS" and given.dtype.kind in "iu":
            raise DataError(f"true_labels are {true.dtype}, the given labels are class numbers: number them alike")
        if true.shape != given.shape:
            raise DataError(f"true_labels has shape {true.shape}, the audit {given.shape} given labels")
        arms["oracle trim"] = dict.fromkeys(seeds, np.flatnonzero(true == given))
    return arms


def _name(function: Any) -> str:
    """A function's import path; a change of its body cannot be seen, so finished trials of the same name are kept."""
    kind = type(function)
    return f"{getattr(function, '__module__', kind.__module__)}:{getattr(function, '__qualname__', kind.__qualname__)}"


def _fingerprint(test_set: Any) -> str:
    try:
        return fingerprint_samples(Samples(test_set))[0]
    except DataError:  # a test set of the user's own kind, which only the metric reads
        return type(test_set).__qualname__


def _kept(train_set: Any, positions: np.ndarray | None) -> Any:
    return train_set if positions is None else Samples(train_set).keep(positions)


def _finished(file: TrialFile, key: str, oracle: str) -> dict[tuple[str, int], Trial]:
    found = {}
    for row in file.rows():
        if row.pop("key") == key + (oracle if row["arm"] == "oracle trim" else ""):
            found[row["arm"], row["seed"]] = Trial(**row)
    return found
