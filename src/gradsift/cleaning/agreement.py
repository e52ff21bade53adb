"""Where people agree about the same samples, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import cohen_kappa_score

from gradsift.cleaning.decision import Decision


class Agreement:
    """Conflicts and second readings, brought up to date sample by sample.

    Example:
        >>> agreement = Agreement()
        >>> agreement.settle(3, [Decision(3, "3", "", "ann", "keep"), Decision(3, "3", "", "ben", "drop", blind=True)])
        >>> agreement.conflicts, len(agreement.second_readings)
        ([3], 1)
    """

    def __init__(self) -> None:
        self._in_conflict: set[int] = set()
        self._pairs: dict[int, list[tuple[Decision, Decision]]] = {}

    def settle(self, position: int, readings: Sequence[Decision]) -> None:
        """Takes what stands about a sample.

        Args:
            position: The sample.
            readings: What each reviewer has decided about it, the earliest first; who skips says nothing.
        """
        said = [decision for decision in readings if decision.kind != "skip"]
        latest = {decision.reviewer: decision.word for decision in said}  # nobody differs with themselves
        first = next((decision for decision in said if not decision.blind), None)
        pairs = [] if first is None else [(first, decision) for decision in said if decision.blind]
        self._in_conflict.discard(position)
        self._pairs.pop(position, None)
        if len(set(latest.values())) > 1:
            self._in_conflict.add(position)
        if pairs:
            self._pairs[position] = pairs

    @property
    def conflicts(self) -> list[int]:
        """Positions about which reviewers say different things, in rising order."""
        return sorted(self._in_conflict)

    @property
    def second_readings(self) -> list[tuple[Decision, Decision]]:
        """What stood first and the blind reading, of each sample that was read blindly, by rising position."""
        return [pair for position in sorted(self._pairs) for pair in self._pairs[position]]


def cohen_kappa(pairs: Sequence[tuple[Decision, Decision]]) -> float:
    """Cohen's kappa of two readings of the same samples.

    Args:
        pairs: The readings.

    Returns:
        1 for full agreement, 0 for that of chance; NaN where all say the same thing, or there are no pairs.
    """
    numbers: dict[tuple[str, str], int] = {}
    codes = np.array([[numbers.setdefault(decision.word, len(numbers)) for decision in pair] for pair in pairs])
    return float(cohen_kappa_score(codes[:, 0], codes[:, 1])) if len(numbers) > 1 else float("nan")
