"""Where people agree about the same samples, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sklearn.metrics import cohen_kappa_score

from gradsift.cleaning.decision import Decision

Word = tuple[str, str]
"""What was decided: kind and label."""


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
        self._counts: Counter[tuple[Word, Word]] = Counter()

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
        for before, after in self._pairs.pop(position, ()):
            self._count(before, after, -1)
        if len(set(latest.values())) > 1:
            self._in_conflict.add(position)
        if pairs:
            self._pairs[position] = pairs
        for before, after in pairs:
            self._count(before, after, 1)

    def _count(self, first: Decision, second: Decision, change: int) -> None:
        pair = first.word, second.word
        self._counts[pair] += change
        if not self._counts[pair]:
            del self._counts[pair]

    @property
    def conflicts(self) -> list[int]:
        """Positions about which reviewers say different things, in rising order."""
        return sorted(self._in_conflict)

    @property
    def second_readings(self) -> list[tuple[Decision, Decision]]:
        """What stood first and the blind reading, of each sample that was read blindly, by rising position."""
        return [pair for position in sorted(self._pairs) for pair in self._pairs[position]]

    @property
    def size(self) -> int:
        """Number of blind second readings."""
        return self._counts.total()

    @property
    def kappa(self) -> float:
        """Cohen's kappa of first and blind readings: 1 for full agreement, 0 for that of chance.

        NaN where all say the same thing, or nothing was read twice.
        """
        counts = list(self._counts.items())
        words = {word for pair, _ in counts for word in pair}
        if len(words) < 2:
            return float("nan")
        number = {word: place for place, word in enumerate(sorted(words))}
        first, second = ([number[pair[reading]] for pair, _ in counts] for reading in (0, 1))
        return float(cohen_kappa_score(first, second, sample_weight=[count for _, count in counts]))
