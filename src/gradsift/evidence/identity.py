"""Whether a data set is the one that evidence is of: by its fingerprint, and by its labels where there is none."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gradsift.data import LABEL_KEYS, Samples, has_fingerprint, labels_of
from gradsift.errors import DataError

logger = logging.getLogger(__name__)

LOOKED_AT = 256
"""Samples whose labels are compared where a data set is not held as arrays."""


def refuse_other_data(
    samples: Samples, given: np.ndarray | None, class_names: Sequence[str] | None, fingerprint: str | None
) -> None:
    """Refuses a data set other than the one that is known, or the same one in another order.

    Args:
        samples: The data set.
        given: Given labels that are known, shape (n,), in the known order.
        class_names: Names of their classes.
        fingerprint: The known data set's fingerprint, where there is one; labels are compared otherwise.

    Raises:
        DataError: It is another data set.
    """
    if fingerprint is not None:
        if not has_fingerprint(samples, fingerprint):
            raise DataError(
                "the data set is not the one that the evidence is of (its fingerprint differs), so positions would point "
                "at other samples: pass the same data in the same order"
            )
        return
    if given is None or given.ndim != 1 or given.dtype.kind not in "iu":
        return
    positions = np.arange(len(samples))
    if samples.stored is None and len(samples) > LOOKED_AT:
        positions = np.sort(np.random.default_rng(0).choice(len(samples), LOOKED_AT, replace=False))
    own = _labels_at(samples, positions, class_names)
    if own is None:
        logger.warning(
            "the labels of the data set cannot be read, so it is not checked that its order is the known one"
        )
        return
    other = positions[own != given[positions]]
    if len(other):
        raise DataError(
            f"the data set has other labels than the evidence at {len(other)} of {len(positions)} positions, such as "
            f"{', '.join(map(str, other[:10]))}: pass the same data in the same order"
        )


def _labels_of_rows(samples: Samples, positions: np.ndarray) -> np.ndarray | None:
    """Labels of rows, read one by one; ``None`` where samples are no rows with a column of labels."""
    rows = [samples.sample(int(position)) for position in positions]
    names = (samples.label_column, *LABEL_KEYS)
    key = next((name for name in names if name in rows[0]), None) if isinstance(rows[0], dict) else None
    return None if key is None else np.asarray([row[key] for row in rows])


def _labels_at(samples: Samples, positions: np.ndarray, class_names: Sequence[str] | None) -> np.ndarray | None:
    """Labels as the numbers of the known classes, -1 for other words; ``None`` where they cannot be read."""
    pair = samples.inputs_and_labels
    labels: np.ndarray | None
    try:
        labels = (
            np.asarray(pair[1]).reshape(-1) if pair is not None else np.asarray(labels_of(samples.batch(positions)))
        )
    except DataError:  # such as rows with missing values, which make no batch
        labels = _labels_of_rows(samples, positions)
    if labels is None or len(labels) != len(positions) or labels.ndim != 1:
        return None
    own_names = samples.class_names
    if labels.dtype.kind in "iub" and own_names is not None and class_names is not None:
        labels = np.array([own_names[label] if 0 <= label < len(own_names) else "" for label in labels.astype(int)])
    if labels.dtype.kind in "OUS":
        places = {name: place for place, name in enumerate(class_names or sorted({str(label) for label in labels}))}
        return np.array([places.get(str(label), -1) for label in labels])
    return labels
