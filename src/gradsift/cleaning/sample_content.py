"""Hashes by which a decision is matched with its sample, whatever has happened to the data set meanwhile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from gradsift.data import Samples
from gradsift.data.fingerprint import update_digest
from gradsift.table import AuditedRun

OF_DATA, OF_TABLE = "data:", "table:"
"""What hashes begin with: those of a sample as it is stored, and those of its id and label where no data is at hand."""
LENGTH = 32
"""Hexadecimal digits of a hash."""


class SampleContent:
    """Hashes of samples of an audited data set.

    Where the data set is at hand, a sample's inputs and given label are hashed as they are stored, so a sample whose
    content or label has changed is another one, and one that has moved is the same. Where it is not, its id (its position,
    if it has no id) and given label in the table are all that is known.

    Example:
        >>> import numpy as np
        >>> from gradsift import audit_predictions
        >>> X, y = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 0])
        >>> audit = audit_predictions(y, np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]), data=(X, y))
        >>> content = SampleContent(audit, Samples((X, y)))
        >>> content.hash(0) == content.hash(1), content.hash(2) == content.hash(3)
        (True, False)

    Args:
        audit: The audit.
        samples: The data set that was audited, as :meth:`~gradsift.table.AuditedRun.samples_of` gives it; ``None`` where
            it is not at hand.
    """

    def __init__(self, audit: AuditedRun, samples: Samples | None = None) -> None:
        self._audit, self._samples = audit, None if samples is None else samples.raw

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._audit)

    def hash(self, position: int) -> str:
        """Hash of a sample, as new decisions carry it.

        Args:
            position: Its position.

        Returns:
            The kind of the hash and 32 hexadecimal digits.
        """
        return self._of_table(position) if self._samples is None else self._of_data(self._samples, position)

    def fits(self, position: int, known: str) -> bool:
        """Whether a sample is the one that a decision was made about.

        Args:
            position: Its position; outside of the data set it is none.
            known: The hash that the decision carries.

        Returns:
            True where it is, as far as can be told: without the data set, hashes of it are believed.
        """
        if not 0 <= position < len(self):
            return False
        if known.startswith(OF_DATA):
            return self._samples is None or self._of_data(self._samples, position) == known
        return self._of_table(position) == known

    def places(self, hashes: Iterable[str]) -> dict[str, list[int]]:
        """Where samples of some content stand; reads the whole data set.

        Args:
            hashes: The hashes that are looked for.

        Returns:
            Hash to positions in rising order, of those that are found.
        """
        wanted, places = set(hashes), dict[str, list[int]]()
        for kind in {known.split(":")[0] + ":" for known in wanted}:
            if kind == OF_DATA and self._samples is None:
                continue
            for position in range(len(self)):
                own = self._of_table(position) if self._samples is None or kind == OF_TABLE else self.hash(position)
                if own in wanted:
                    places.setdefault(own, []).append(position)
        return places

    def _of_table(self, position: int) -> str:
        row = self._audit.table.slice(position, 1).select(["id", "given_label"]).to_pylist()[0]
        return OF_TABLE + _short(hashlib.sha256(json.dumps([row["id"], row["given_label"]]).encode()))

    @staticmethod
    def _of_data(samples: Samples, position: int) -> str:
        digest = hashlib.sha256()
        update_digest(digest, samples.sample(position))
        return OF_DATA + _short(digest)


def _short(digest: Any) -> str:
    return str(digest.hexdigest()[:LENGTH])
