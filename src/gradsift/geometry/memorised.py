"""How much a network has memorised, from the features before its last layer alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gradsift.store import ArrayMatrix
from gradsift.store.gradient_matrix import CHUNK_BYTES


@dataclass(frozen=True)
class Memorised:
    """What the class means of the last features say of given labels and predictions.

    Attributes:
        fitted: Share of samples whose prediction is the given label.
        nearest_given: Share whose nearest class mean is that of the given label.
        nearest_predicted: Share whose nearest class mean is that of the prediction (NC4).
    """

    fitted: float
    nearest_given: float
    nearest_predicted: float

    @property
    def share(self) -> float:
        """Share of labels that are fitted against the geometry of the features, ``fitted - nearest_given``."""
        return self.fitted - self.nearest_given

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def memorised(features: ArrayMatrix, labels: np.ndarray, predicted: np.ndarray) -> Memorised:
    """Compares given labels and predictions with the nearest class mean, in two passes over stored features.

    A network first moves a class's samples to one place and only later learns single labels against that, so right and
    wrong predictions drift apart from the nearest mean while wrong labels are memorised. How this goes with what gradients
    can still find is measured by ``benchmarks/collapse_signal.py``.

    Args:
        features: Inputs of the last layer, shape (n, D).
        labels: Given labels, shape (n,).
        predicted: Predicted labels, shape (n,).

    Returns:
        The three shares.
    """
    classes, own = np.unique(labels, return_inverse=True)
    means = np.zeros((len(classes), features.shape[1]))
    for start, rows in features.chunks():
        np.add.at(means, own[start : start + len(rows)], rows.astype(np.float64))
    means /= np.bincount(own)[:, None]
    squares, together = (means**2).sum(axis=1), max(1, CHUNK_BYTES // (8 * len(classes)))
    size, nearest = len(labels), np.empty(len(labels), dtype=np.int64)
    for start, rows in features.chunks():
        for first in range(0, len(rows), together):
            some = rows[first : first + together].astype(np.float64)
            nearest[start + first : start + first + len(some)] = (squares - 2 * some @ means.T).argmin(axis=1)
    given, said = (int((classes[nearest] == stated).sum()) for stated in (labels, predicted))
    return Memorised(float((predicted == labels).mean()), given / size, said / size)
