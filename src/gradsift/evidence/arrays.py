"""Evidence from arrays of any framework: labels, probabilities or logits, features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from gradsift.data.labels import numbers_of_words
from gradsift.errors import DataError
from gradsift.evidence.hub import Evidence, Provenance, last_layer_residual
from gradsift.store import ArrayMatrix, FactoredMatrix

SMALLEST = 1e-15
"""Probability below which a loss does not grow further: single precision rounds such probabilities to zero."""
UNEVEN = 1e-3
"""Largest difference from 1 of the sum of a row of probabilities."""


def evidence_of_arrays(
    labels: Any,
    probabilities: Any = None,
    *,
    logits: Any = None,
    features: Any = None,
    folds: Any = None,
    class_names: Sequence[str] | None = None,
    provenance: Provenance = "unknown",
) -> Evidence:
    """Checks arrays and makes evidence of them.

    Example:
        >>> evidence = evidence_of_arrays(["cat", "dog", "cat"], [[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
        >>> evidence.labels.tolist(), evidence.losses.round(2).tolist()
        ([0, 1, 0], [0.11, 0.36, 1.61])

    Args:
        labels: Given labels, shape (n,): class numbers, or words.
        probabilities: Predicted probabilities, shape (n, K), or (n,) of the second of two classes.
        logits: Logits, shape (n, K), instead of probabilities.
        features: Features by which neighbours are found, shape (n, D). Where they are the inputs of a last linear layer,
            gradients follow from them and the probabilities.
        folds: The fold that held each sample out, shape (n,).
        class_names: Names of the classes in the order of the columns; words in alphabetical order where left out.
        provenance: Where probabilities come from.

    Returns:
        The evidence.

    Raises:
        DataError: An array has another shape, another number of rows, NaN, or values outside its range.
    """
    numbers, names = class_numbers(labels, class_names)
    size = len(numbers)
    known = Evidence(
        labels=numbers, kind="class", class_names=names, folds=None if folds is None else _array(folds, "folds")
    )
    if features is not None:
        known = known.with_(features=ArrayMatrix(_finite(features, "features", size)))
    if probabilities is None and logits is None:
        return known
    if probabilities is not None and logits is not None:
        raise DataError("give probabilities or logits, not both: probabilities are the softmax of the logits")
    if logits is not None:
        log_probabilities = log_softmax(_finite(logits, "logits", size).astype(np.float64), axis=1)
        predicted = np.exp(log_probabilities)
    else:
        predicted = _probabilities(probabilities, size)
        log_probabilities = np.log(np.maximum(predicted, SMALLEST))
    _check_labels(numbers, predicted.shape[1], names)
    known = known.with_(
        predictions=ArrayMatrix(predicted.astype(np.float32)),
        losses=-log_probabilities[np.arange(size), numbers],
        provenance={"predictions": provenance, "losses": provenance},
    )
    if features is not None and known.features is not None:
        gradients = FactoredMatrix(last_layer_residual(numbers, predicted), known.features.rows(np.arange(size)))
        known = known.with_(gradients=gradients, provenance={"gradients": provenance})
    return known


def class_numbers(labels: Any, class_names: Sequence[str] | None = None) -> tuple[np.ndarray, list[str] | None]:
    """Labels as class numbers.

    Args:
        labels: Shape (n,): whole numbers from 0, booleans, or words.
        class_names: Names of the classes by number.

    Returns:
        Shape (n,), int64, and the names where labels are words or names were given.

    Raises:
        DataError: They are not one label a sample, some are missing, or a word is no class.
    """
    values = _array(labels, "labels")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not len(values):
        raise DataError(f"labels must be one class a sample, shape (n,) with n >= 1; got shape {values.shape}")
    missing = np.flatnonzero([value is None or value != value for value in values.tolist()])
    if len(missing):
        raise DataError(f"{len(missing)} labels are missing, at positions {_first(missing)}: remove these samples")
    names = None if class_names is None else [str(name) for name in class_names]
    if values.dtype.kind in "fc" and (values == np.floor(values.real)).all():
        values = values.astype(np.int64)
    if values.dtype.kind in "biu":
        return values.astype(np.int64), names
    if values.dtype.kind == "f":
        raise DataError(f"labels are numbers such as {values[0]}: classes are whole numbers or words")
    words = [str(value) for value in values.tolist()]
    return numbers_of_words(words, names, f"are not among class_names {', '.join((names or [])[:10])}")


def _check_labels(labels: np.ndarray, classes: int, names: Sequence[str] | None) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        way_out = ""
        if labels.min() == 1 and labels.max() == classes:
            way_out = ". Labels that count from 1 become class numbers by subtracting 1"
        elif (labels[outside] == -1).all():
            way_out = ". Where -1 means that there is no label, remove these samples"
        raise DataError(
            f"{len(outside)} labels are outside 0 … {classes - 1}, at positions {_first(outside)}: the probabilities have "
            f"{classes} columns, one a class in the order of the class numbers{way_out}"
        )
    if names is not None and len(names) != classes:
        raise DataError(
            f"{len(names)} classes ({', '.join(names[:5])}, …) for {classes} columns of probabilities: give class_names in "
            "the order of the columns"
        )


def _probabilities(values: Any, size: int) -> np.ndarray:
    array = _finite(values, "probabilities", size, flat=True).astype(np.float64)
    if array.ndim == 1:
        array = np.stack([1 - array, array], axis=1)
    outside = np.flatnonzero((array < 0).any(axis=1) | (array > 1 + UNEVEN).any(axis=1))
    if len(outside):
        raise DataError(
            f"{len(outside)} rows of probabilities are outside 0 … 1, at positions {_first(outside)}: divide "
            "percentages by 100, and give logits as logits (logits=..., or the array logits of a file)"
        )
    uneven = np.flatnonzero(np.abs(array.sum(axis=1) - 1) > UNEVEN)
    if len(uneven):
        raise DataError(
            f"{len(uneven)} rows of probabilities do not sum to 1, at positions {_first(uneven)}: give the probabilities "
            "of all classes"
        )
    return array


def _finite(values: Any, what: str, size: int, *, flat: bool = False) -> np.ndarray:
    """A matrix of finite numbers with one row a sample."""
    array = _array(values, what)
    if array.dtype.kind not in "biuf" or array.ndim not in ((1, 2) if flat else (2,)) or not array.size:
        raise DataError(f"{what} must be numbers of shape (n, columns), got {array.dtype} of shape {array.shape}")
    if len(array) != size:
        raise DataError(f"{what} has {len(array)} rows for {size} labels: give both of the same samples, in one order")
    broken = np.flatnonzero(~np.isfinite(array.reshape(size, -1)).all(axis=1))
    if len(broken):
        raise DataError(f"{what} is NaN or infinite at positions {_first(broken)}: mend or remove these samples")
    return np.asarray(array, dtype=np.float32 if array.dtype.kind != "f" or array.dtype.itemsize > 4 else array.dtype)


def _array(values: Any, what: str) -> np.ndarray:
    """An array from what any framework holds."""
    for method in ("detach", "cpu", "to_numpy", "toarray"):  # torch, torch, pandas and polars, scipy
        if callable(getattr(values, method, None)):
            values = getattr(values, method)()
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} cannot be read as an array ({error}): give a numpy array") from error


def _first(positions: np.ndarray) -> str:
    return ", ".join(str(position) for position in positions[:10].tolist())
