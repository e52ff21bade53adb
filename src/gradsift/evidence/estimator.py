"""Evidence from a scikit-learn estimator: predictions that have not seen their sample, by cross-validation."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gradsift.errors import ModelError
from gradsift.evidence.arrays import class_numbers, evidence_of_arrays
from gradsift.evidence.folds import assign_folds
from gradsift.evidence.hub import Evidence

logger = logging.getLogger(__name__)


def is_estimator(model: object) -> bool:
    """Whether an object is a classifier of scikit-learn's kind, which is cloned and fitted anew.

    Args:
        model: Any object.

    Returns:
        True where it has ``fit``, ``get_params`` and ``predict_proba``.
    """
    return all(callable(getattr(model, name, None)) for name in ("fit", "get_params", "predict_proba"))


def evidence_of_estimator(
    estimator: Any, inputs: Any, labels: Any, *, folds: int = 5, groups: Any = None, seed: int = 0
) -> Evidence:
    """Cross-validated predictions of an estimator, and features by which neighbours are found.

    The estimator is cloned and fitted once for each fold; the one that is given is not changed. Features are what the
    steps of a pipeline before its last one make of the inputs, or the inputs themselves where they are numbers, each
    column standardised.

    Args:
        estimator: Any classifier with ``predict_proba``.
        inputs: What it is fitted on, such as an array or a data frame, n rows.
        labels: Given labels, shape (n,).
        folds: Number of folds, stratified by label; fewer where the smallest class has fewer samples.
        groups: Group of each sample, shape (n,); a group is never split over folds.
        seed: Seed of the folds.

    Returns:
        Evidence whose predictions are out of fold.

    Raises:
        DataError: A class has a single sample.
        ModelError: The estimator fails on the data, or gives no probabilities.
        SettingError: There are fewer than two folds.
    """
    numbers, names = class_numbers(labels)
    fewest = int(np.unique(numbers, return_counts=True)[1].min())
    if groups is None and 2 <= fewest < folds:
        logger.warning("the smallest class has %d samples: %d folds are used instead of %d", fewest, fewest, folds)
        folds = fewest
    fold_of = assign_folds(numbers, folds, groups=groups, seed=seed, names=names)
    splits = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)]
    values = np.unique(numbers)
    try:
        probabilities = cross_val_predict(estimator, inputs, numbers, cv=splits, method="predict_proba")
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"{type(estimator).__name__} cannot be cross-validated on this data: {error}") from error
    if len(values) != values[-1] + 1:  # columns are the classes that occur
        whole = np.zeros((len(numbers), int(values[-1]) + 1))
        whole[:, values] = probabilities
        probabilities = whole
    return evidence_of_arrays(
        numbers,
        probabilities,
        features=_features(estimator, inputs),
        folds=fold_of,
        class_names=names,
        provenance="out-of-fold",
    )


def _features(estimator: Any, inputs: Any) -> np.ndarray | None:
    """What the estimator's last step sees, standardised; ``None`` where it is no dense matrix of finite numbers."""
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        front = clone(estimator[:-1])
        inputs = front.fit_transform(inputs)
    matrix = np.asarray(inputs) if not hasattr(inputs, "toarray") else None
    if matrix is None or matrix.dtype.kind not in "biuf" or matrix.ndim != 2 or not np.isfinite(matrix).all():
        return None
    return StandardScaler().fit_transform(matrix).astype(np.float32)
