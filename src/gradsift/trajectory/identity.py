"""Which data set a trajectory was recorded on, so that its numbers never go to the samples of another one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from gradsift.data import Samples
from gradsift.data.batch import labels_of
from gradsift.data.fingerprint import fingerprint_samples, update_digest
from gradsift.data.randomness import generators_kept
from gradsift.errors import DataError

logger = logging.getLogger(__name__)

READ_TWICE = 8
"""Samples that are read twice to see whether the data set draws them anew (random augmentation)."""
LABELS = 256
"""Labels that identify a data set whose inputs differ from one read to the next."""


@dataclass(frozen=True)
class DataIdentity:
    """What a data set can be recognised by.

    Attributes:
        size: Number of samples n.
        fingerprint: SHA-256 of its samples in order; ``None`` where two reads of a sample differ (random augmentation).
        labels: SHA-256 of the labels of up to 256 evenly spaced samples, where there is no fingerprint.
    """

    size: int
    fingerprint: str | None = None
    labels: str | None = None

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Reads a data set.

        Args:
            samples: The data set.

        Returns:
            Its identity.
        """
        with generators_kept():  # reading augmented samples leaves the training as it was
            if _is_drawn_anew(samples):
                return cls(len(samples), labels=_labels(samples))
            return cls(len(samples), fingerprint_samples(samples)[0])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self | None:
        """The opposite of :meth:`to_dict`.

        Args:
            values: Its plain values; ``None`` in what was written before identities were kept.

        Returns:
            The identity, or ``None``.
        """
        return None if values is None else cls(int(values["size"]), values.get("fingerprint"), values.get("labels"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def check(self, samples: Samples, fingerprint: str | None, what: str) -> None:
        """Refuses another data set, or the same one in another order.

        Args:
            samples: The data set at hand.
            fingerprint: Its fingerprint; ``None`` where two reads of a sample differ.
            what: What carries this identity, for the message.

        Raises:
            DataError: It is another one.
        """
        if self.size != len(samples):
            raise DataError(f"{what} holds {self.size} samples, the data set {len(samples)}: {_WAY_OUT}")
        if self.fingerprint is not None:
            if self.fingerprint != fingerprint:
                raise DataError(
                    f"{what} is of another data set, or of the same one in another order or with other values: the "
                    f"fingerprints of the samples differ. {_WAY_OUT[0].upper()}{_WAY_OUT[1:]}"
                )
            return
        if self.labels is None:
            logger.warning("%s has no fingerprint of its data set: the order of the samples is not checked", what)
        elif self.labels != _labels(samples):
            raise DataError(f"{what} is of a data set with other labels, or in another order: {_WAY_OUT}")
        else:
            logger.warning(
                "%s is of a data set with random augmentation: the order of the samples is checked by labels alone. Give "
                "the Recorder the data set that you audit, and indexed(...) the augmented one",
                what,
            )


_WAY_OUT = "give the data set that was given to the Recorder, in the same order (with the same transform)"


def _is_drawn_anew(samples: Samples) -> bool:
    samples = samples.raw
    if samples.stored is not None:
        return False
    positions = samples.evenly_spaced(READ_TWICE)
    return any(len({_digest(samples.sample(int(position))) for _ in range(2)}) > 1 for position in positions)


def _labels(samples: Samples) -> str | None:
    positions = samples.evenly_spaced(LABELS)
    try:
        return _digest([np.asarray(labels_of(samples.sample(int(position)))).tolist() for position in positions])
    except DataError:  # samples without a label
        return None


def _digest(tree: Any) -> str:
    digest = hashlib.sha256()
    update_digest(digest, tree)
    return digest.hexdigest()
