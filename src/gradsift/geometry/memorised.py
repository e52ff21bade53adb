"""How much a network has memorised, from the features before its last layer alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gradsift.store import ArrayMatrix
from gradsift.store.gradient_matrix import CHUNK_BYTES

SUSPECTED = 0.1
"""Share of labels that are fitted against the last features above which memorisation is suspected; see docs/geometry.md."""
FOLDS = 4
PIECE = 2**18
"""Labels that are looked at together."""
PROBED, PROBED_BYTES = 20_000, 128 * 2**20
"""A linear classifier is cross-validated on at most so many samples, and so many bytes of their features as float32."""


@dataclass(frozen=True)
class Memorised:
    """What the class means of the last features say of given labels and predictions.

    Attributes:
        fitted: Share of samples whose prediction is the given label.
        nearest_given: Share whose nearest class mean is that of the given label.
        nearest_predicted: Share whose nearest class mean is that of the prediction (NC4).
        decoded: Share whose given label a linear classifier of the features predicts that was fitted on other samples;
            ``None`` where ``nearest_given`` leaves no suspicion.
    """

    fitted: float
    nearest_given: float
    nearest_predicted: float
    decoded: float | None = None

    @property
    def share(self) -> float:
        """Share of labels that are fitted against the features, ``fitted - max(nearest_given, decoded)``."""
        return self.fitted - max(self.nearest_given, self.decoded or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def memorised(features: ArrayMatrix, labels: np.ndarray, predicted: np.ndarray) -> Memorised:
    """Compares given labels and predictions with the nearest class mean, in two passes over stored features.

    A network first moves a class's samples to one place and only later learns single labels against that, so right and
    wrong predictions drift apart from the nearest mean while wrong labels are memorised. How this goes with what gradients
    can still find is measured by ``benchmarks/collapse_signal.py``.

    Class means say little about features that were not trained on these labels (inputs, features of a frozen network):
    their directions differ in scale, and a linear layer fits far more of them without memorising anything. So a suspicion
    is held against a ridge classifier of the features, cross-validated in four folds.

    Args:
        features: Inputs of the last layer, shape (n, D).
        labels: Given labels, shape (n,).
        predicted: Predicted labels, shape (n,).

    Returns:
        The shares.
    """
    size = len(labels)
    pieces = (labels[start : start + PIECE] for start in range(0, size, PIECE))
    classes = reduce(np.union1d, pieces, labels[:0])  # sorting all labels at once takes five times their memory
    means, sizes = np.zeros((len(classes), features.shape[1])), np.zeros(len(classes))
    for start, rows in features.chunks():
        classes_of = np.searchsorted(classes, labels[start : start + len(rows)])
        np.add.at(means, classes_of, rows.astype(np.float64))
        np.add.at(sizes, classes_of, 1)
    means /= sizes[:, None]
    squares, at_once = (means**2).sum(axis=1), max(1, CHUNK_BYTES // (8 * len(classes)))
    at_given = at_predicted = 0
    for start, rows in features.chunks():
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once].astype(np.float64)
            nearest = classes[(squares - 2 * part @ means.T).argmin(axis=1)]
            own = slice(start + first, start + first + len(part))
            at_given += int((nearest == labels[own]).sum())
            at_predicted += int((nearest == predicted[own]).sum())
    shares = Memorised(float((predicted == labels).mean()), at_given / size, at_predicted / size)
    return replace(shares, decoded=_decoded(features, labels)) if shares.share > SUSPECTED and size > FOLDS else shares


def _decoded(features: ArrayMatrix, labels: np.ndarray, seed: int = 0) -> float:
    """Share of given labels that a linear classifier predicts which has not seen them."""
    size, most = len(labels), min(PROBED, max(10 * FOLDS, PROBED_BYTES // (4 * features.shape[1])))
    positions = np.arange(size)
    if size > most:
        positions = np.sort(np.random.default_rng(seed).choice(size, most, replace=False))
    classifier = make_pipeline(StandardScaler(), RidgeClassifier())
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(classifier, features.rows(positions), labels[positions], cv=folds)
    return float((predicted == labels[positions]).mean())
