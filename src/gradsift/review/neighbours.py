"""What stands beside a sample: its nearest neighbours with their labels, and samples with the same input."""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np

from gradsift.data import Samples
from gradsift.detectors.neighbours import Nearest, drawn
from gradsift.evidence import Evidence
from gradsift.table.duplicates import conflicting_duplicates
from gradsift.table.kinds import DUPLICATE

SHOWN = 8
"""So many neighbours are shown."""
REFERENCES = 50_000
"""At most so many samples are searched for neighbours, drawn at random."""
ALIKE = 0.95
"""Cosine of two samples' features, less the mean, from which they are near duplicates."""
COMPARED = 20_000
"""At most so many flagged samples are compared for near duplicates, the highest scores first."""


class Beside:
    """Finds what belongs to a sample.

    Args:
        evidence: What is known of the samples; neighbours go by its features.
        reason_kinds: Kind of the reason of each sample, shape (n,).
        samples: The data set, where it is at hand.
    """

    def __init__(self, evidence: Evidence, reason_kinds: np.ndarray, samples: Samples | None) -> None:
        self._evidence, self._kinds, self._samples = evidence, reason_kinds, samples
        self._turn = threading.Lock()

    @property
    def searched(self) -> int:
        """Number of samples that are searched for neighbours; 0 where the run has stored no features."""
        return 0 if self._evidence.features is None else min(REFERENCES, len(self._evidence))

    def nearest(self, position: int) -> list[tuple[int, float]]:
        """The nearest neighbours of a sample.

        Args:
            position: The sample.

        Returns:
            Positions and cosines, the nearest first; empty where the run has stored no features.
        """
        if self.searched < 2:
            return []
        with self._turn:
            near, cosines = self._nearest.of(np.array([position]))
        return list(zip(self._references[near[0]].tolist(), cosines[0].tolist(), strict=True))

    def duplicates(self, position: int) -> list[int]:
        """Samples with the same input and another label.

        Args:
            position: The sample.

        Returns:
            Their positions; of samples whose reason is another one, none are looked for.
        """
        if self._kinds[position] != DUPLICATE:
            return []
        with self._turn:
            return self._duplicates.get(position, np.zeros(0, dtype=np.int64)).tolist()

    def groups(self, positions: np.ndarray) -> np.ndarray:
        """Near duplicates among some samples.

        Args:
            positions: The samples, those that matter most first.

        Returns:
            Number of the group of each sample of the data set, shape (n,): groups of several first, samples alone last.
        """
        number = np.full(len(self._evidence), len(self._evidence))
        positions = positions[:COMPARED]
        if self._evidence.features is None or len(positions) < 2:
            return number
        rows = self._evidence.features.rows(positions).astype(np.float32)
        rows -= rows.mean(axis=0)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        group = np.arange(len(positions))
        for first in range(len(positions)):  # the earliest of a group names it
            if group[first] == first:
                alike = np.flatnonzero(rows[first:] @ rows[first] >= ALIKE) + first
                group[alike] = np.minimum(group[alike], first)
        several = np.flatnonzero(np.bincount(group, minlength=len(group))[group] > 1)
        number[positions[several]] = group[several]
        return number

    @cached_property
    def _references(self) -> np.ndarray:
        return drawn(len(self._evidence), REFERENCES, 0)

    @cached_property
    def _nearest(self) -> Nearest:
        count = min(SHOWN, len(self._references) - 1)
        return Nearest(self._evidence.features, self._references, count)

    @cached_property
    def _duplicates(self) -> dict[int, np.ndarray]:
        evidence, chosen = self._evidence, np.flatnonzero(self._kinds == DUPLICATE)
        inputs = evidence.features if evidence.features is not None else evidence.predictions
        if self._samples is None or inputs is None or evidence.labels is None:
            return {}
        return conflicting_duplicates(chosen, evidence.labels, inputs, self._samples)
