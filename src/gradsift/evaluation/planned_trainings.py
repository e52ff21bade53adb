"""How many trainings :func:`gradsift.improve` does for evidence and choice, and on how many of the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradsift.errors import SettingError

FEWEST_FOLDS = 4
"""With fewer folds trainings without every pair of them would see too few samples."""


@dataclass(frozen=True)
class PlannedTrainings:
    """Trainings within a limit of what they cost.

    With four folds or more, evidence is that of trainings without every pair of folds, so that for each fold there is
    evidence which does not know its labels; a training on part of the samples costs this part. With fewer folds, and where
    features give the evidence, every training is counted whole.

    Example:
        >>> planned = PlannedTrainings(12, 4)
        >>> planned.held_out, planned.evidence, planned.choice
        (2, 6, 12)

    Args:
        limit: What evidence and choice may cost, in trainings on all samples.
        folds: Number of folds.
        of_features: Whether heads on features give the evidence.
        by_heads: Whether they make the choice, too.

    Raises:
        SettingError: The limit does not suffice to compare one cure with no change.
    """

    limit: int
    folds: int
    of_features: bool = False
    by_heads: bool = False

    def __post_init__(self) -> None:
        """Refuses a limit that is too low."""
        fewest = 2 * self.folds if self.held_out < 2 else (self.folds - 1) * (self.folds + 2) // 2
        if not self.by_heads and self.limit < fewest:
            raise SettingError(
                f"{self.limit} trainings are too few for {self.folds} folds and the choice: give at least {fewest}, or "
                "fewer folds"
            )

    @property
    def held_out(self) -> int:
        """How many folds each training for evidence holds out; 0 where there is none."""
        if self.of_features or self.by_heads:
            return 0
        return 2 if self.folds >= FEWEST_FOLDS else 1

    @property
    def share(self) -> float:
        """Share of the samples that a training for evidence sees; of the choice where there is none."""
        return 1 - max(1, self.held_out) / self.folds

    @property
    def cost(self) -> float:
        """What evidence and choice cost at most, in trainings on all samples."""
        return self.limit if self.held_out > 1 else self.limit * self.share

    @property
    def evidence(self) -> int:
        """Number of trainings for evidence."""
        return math.comb(self.folds, self.held_out) if self.held_out else 0

    @property
    def choice(self) -> int:
        """Most trainings for the choice, each on all folds but one; those without a cure among them, if not known."""
        if self.by_heads:
            return 0
        if self.held_out < 2:
            return self.limit - self.evidence
        return (self.limit * self.folds - self.evidence * (self.folds - 2)) // (self.folds - 1)

    def sentence(self, seeds: int, *, tested: bool) -> str:
        """What is planned, in words.

        Args:
            seeds: Seeds of the proof.
            tested: Whether there is a test set.

        Returns:
            The sentence.
        """
        if self.by_heads:
            first = "Heads on the features give evidence and choice"
        elif self.of_features:
            first = f"Heads on the features give the evidence, at most {self.limit} trainings the choice"
        elif self.held_out == 1:
            first = f"At most {self.limit} trainings for evidence ({self.folds} folds) and choice"
        else:
            first = (
                f"{self.evidence} trainings on {self.share:.0%} of the samples for evidence and at most {self.choice} on "
                f"{1 - 1 / self.folds:.0%} for the choice, which cost as much as {self.limit} on all"
            )
        proof = f"the proof, {seeds} seeds of 2 to 5 arms, up to {5 * seeds} trainings, if something is changed"
        return f"{first}; 1 for the final model; {proof if tested else 'no proof without a test set'}."
