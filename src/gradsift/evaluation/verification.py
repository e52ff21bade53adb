"""What retraining has shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from gradsift.evaluation.statistics import Estimate, estimate


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        arm: ``"no trim"``, ``"random trim"``, ``"this trim"`` or ``"oracle trim"``.
        seed: Its seed.
        value: The metric on the test set, of the last epoch's model.
        seconds: Wall time.
        removed: Samples removed beforehand.
    """

    arm: str
    seed: int
    value: float
    seconds: float
    removed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Verification:
    """The arms, their intervals, and the paired difference to the random trim.

    Args:
        trials: All trainings.
        removed: Samples that the audit removes.
        higher_is_better: Whether a higher metric is better.
    """

    def __init__(self, trials: Sequence[Trial], removed: int, higher_is_better: bool = True) -> None:
        self.trials, self.removed, self.higher_is_better = list(trials), removed, higher_is_better

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order they were run."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def table(self) -> pa.Table:
        """One row a training."""
        return pa.Table.from_pylist([trial.to_dict() for trial in self.trials])

    def values(self, arm: str) -> dict[int, float]:
        """The metric of one arm.

        Args:
            arm: Its name.

        Returns:
            Seed to metric.
        """
        return {trial.seed: trial.value for trial in self.trials if trial.arm == arm}

    def estimate(self, arm: str) -> Estimate:
        """Mean and interval of one arm.

        Args:
            arm: Its name.

        Returns:
            The estimate.
        """
        return estimate(list(self.values(arm).values()))

    def difference(self, arm: str, control: str = "random trim") -> Estimate:
        """The paired difference of two arms over the seeds that they share.

        Args:
            arm: The arm.
            control: What it is compared with.

        Returns:
            The estimate of arm - control.
        """
        first, second = self.values(arm), self.values(control)
        return estimate([first[seed] - second[seed] for seed in first if seed in second])

    def sentence(self) -> str:
        """What may honestly be said, in one sentence."""
        gain = self.difference("this trim")
        better = gain.sign if self.higher_is_better else -gain.sign
        samples, seeds = f"{self.removed:,} samples", f"{gain.count} seeds, 95 % interval"
        if math.isnan(gain.mean):
            return f"The metric is no number for some trainings, so nothing can be said about removing {samples}."
        if math.isnan(gain.half_width):
            return f"One seed says nothing: removing {samples} changed the metric by {gain.mean:+.2f} against random."
        if better == 0:
            return (
                f"No evidence that it helps: removing {samples} changes the metric by {gain.mean:+.2f} ± "
                f"{gain.half_width:.2f} over removing as many at random ({seeds})."
            )
        verb, unit = ("gains" if better > 0 else "costs"), (" points" if self.higher_is_better else "")
        return (
            f"Removing {samples} {verb} {abs(gain.mean):.2f} ± {gain.half_width:.2f}{unit} over removing as many at "
            f"random ({seeds})."
        )

    def oracle_sentence(self) -> str | None:
        """What removing all wrong labels would have done: the most that a trim can hope for, where it was run."""
        if "oracle trim" not in self.arms:
            return None
        gain = self.difference("oracle trim", "no trim")
        removed = max(trial.removed for trial in self.trials if trial.arm == "oracle trim")
        words = f"The oracle, which removes all {removed:,} wrong labels, changes it by {gain} over no trim"
        return words + (": there is nothing to gain that could be seen." if gain.sign == 0 else ".")

    def rows(self) -> list[dict[str, str]]:
        """The result as words, one row an arm, for tables in the terminal and the report."""
        return [
            {
                "arm": arm,
                "removed": f"{max(trial.removed for trial in self.trials if trial.arm == arm):,}",
                "metric": str(self.estimate(arm)),
                "against random trim": "" if arm == "random trim" else f"{self.difference(arm)}",
                "against no trim": "" if arm == "no trim" else f"{self.difference(arm, 'no trim')}",
            }
            for arm in self.arms
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "sentence": self.sentence(),
            "oracle": self.oracle_sentence(),
            "removed": self.removed,
            "higher_is_better": self.higher_is_better,
            "arms": self.rows(),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verification:
        """The reverse of :meth:`to_dict`.

        Args:
            values: What ``to_dict`` gave.

        Returns:
            The verification.
        """
        trials = [Trial(**trial) for trial in values["trials"]]
        return cls(trials, values["removed"], values["higher_is_better"])

    def __repr__(self) -> str:
        """The sentence."""
        return f"<Verification: {self.sentence()}>"
