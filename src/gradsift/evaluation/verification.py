"""What retraining has shown."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from gradsift.cleaning.cure import How
from gradsift.evaluation.statistics import Estimate, estimate

UNCHANGED = "no change"
FORMER_NAMES = {
    "no trim": UNCHANGED,
    "random trim": "random drop",
    "this trim": "drop",
    "oracle trim": "oracle drop",
}
"""Names of arms up to gradsift 0.1, which stand in files of its verifications, and what they are called now."""


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        arm: What was done to the training set, such as ``"no change"``, ``"random drop"``, ``"soft"`` or ``"oracle drop"``.
        seed: Its seed.
        value: The metric on the test set, of the last epoch's model.
        seconds: Wall time.
        removed: Samples removed beforehand.
        changed: Samples that stayed and got another label; with soft targets, another likeliest class; with weights,
            those that counted less than half.
    """

    arm: str
    seed: int
    value: float
    seconds: float
    removed: int
    changed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """An arm whose gain is in question; the other arms are its controls and oracles.

    Attributes:
        arm: Its name.
        how: The kind of its cure.
        controls: Arms that show what a change that knows nothing of the labels would gain; it is judged by the best of
            them.
    """

    arm: str
    how: How
    controls: tuple[str, ...] = (UNCHANGED,)


class Verification:
    """The arms, their intervals, and the paired differences to their controls.

    Args:
        trials: All trainings.
        judged: The arms whose gain is in question.
        higher_is_better: Whether a higher metric is better.
    """

    def __init__(self, trials: Sequence[Trial], judged: Sequence[Judged], higher_is_better: bool = True) -> None:
        self.trials, self.judged, self.higher_is_better = list(trials), list(judged), higher_is_better

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order they were run."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def removed(self) -> int:
        """Samples that the first arm in question removes."""
        return max(trial.removed for trial in self.trials if trial.arm == self.judged[0].arm)

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
        arm = _present_name(arm)
        return {trial.seed: trial.value for trial in self.trials if trial.arm == arm}

    def estimate(self, arm: str) -> Estimate:
        """Mean and interval of one arm.

        Args:
            arm: Its name.

        Returns:
            The estimate.
        """
        return estimate(list(self.values(arm).values()))

    def control_of(self, arm: str) -> str:
        """The control that an arm is judged by: the one of its controls with the best mean; ``no change`` by itself.

        Args:
            arm: Its name.

        Returns:
            Name of the control.
        """
        controls = next((judged.controls for judged in self.judged if judged.arm == _present_name(arm)), ())
        means = {control: self.estimate(control).mean for control in controls if control in self.arms}
        sign = 1 if self.higher_is_better else -1
        # A mean that is NaN comes first, so that it shows.
        return max(
            means, key=lambda name: math.inf if math.isnan(means[name]) else sign * means[name], default=UNCHANGED
        )

    def difference(self, arm: str, control: str | None = None) -> Estimate:
        """The paired difference of two arms over the seeds that they share.

        Args:
            arm: The arm.
            control: What it is compared with; the control that it is judged by where left out.

        Returns:
            The estimate of arm - control.
        """
        first, second = self.values(arm), self.values(self.control_of(arm) if control is None else control)
        return estimate([first[seed] - second[seed] for seed in first if seed in second])

    def sentence(self, arm: str | None = None) -> str:
        """What may honestly be said: of one arm in one sentence.

        Args:
            arm: Its name; all arms in question where left out.

        Returns:
            The sentence, or one for each arm.
        """
        if arm is None:
            return " ".join(self.sentence(judged.arm) for judged in self.judged)
        judged = next(judged for judged in self.judged if judged.arm == _present_name(arm))
        control = self.control_of(judged.arm)
        gain, done, instead = self.difference(arm, control), self._doing(judged), _instead(control, judged)
        seeds = f"{gain.count} seeds, 95 % interval"
        if math.isnan(gain.mean):
            return f"The metric is no number for some trainings, so nothing can be said about {done}."
        if gain.count < 3:
            few = "One seed says nothing" if gain.count == 1 else "Two seeds cannot decide"
            return f"{few}: {done} changed the metric by {gain.mean:+.2f} against {instead}."
        if gain.sign == 0:
            return (
                f"No evidence that it helps: {done} changes the metric by {gain.mean:+.2f} ± "
                f"{gain.half_width:.2f} over {instead} ({seeds})."
            )
        better = (gain.sign > 0) == self.higher_is_better
        words = f"{done[0].upper()}{done[1:]} {'gains' if better else 'costs'} {self._points(gain)} over {instead}"
        return f"{words}{self._over_no_change(judged.arm) if better and control != UNCHANGED else ''} ({seeds})."

    def oracle_sentence(self) -> str | None:
        """What removing, or mending, all wrong labels would have done, where that was run: a bound for an arm's gain."""
        if "oracle drop" not in self.arms:
            return None
        gains = [self.difference("oracle drop", UNCHANGED)]
        removed = self._most("oracle drop")[0]
        words = f"The oracle, which removes all {removed:,} wrong labels, changes it by {gains[0]} over no change"
        if "oracle relabel" in self.arms:
            gains.append(self.difference("oracle relabel", UNCHANGED))
            words += f", and with the true labels in their place by {gains[1]}"
        nothing = all(gain.sign == 0 for gain in gains)
        return words + (": there is nothing to gain that could be seen." if nothing else ".")

    def rows(self) -> list[dict[str, str]]:
        """The result as words, one row an arm, for tables in the terminal and the report."""
        judged = {judged.arm for judged in self.judged}
        rows = []
        for arm in self.arms:
            removed, changed = self._most(arm)
            control = self.control_of(arm)
            rows.append({
                "arm": arm,
                "removed": f"{removed:,}",
                "changed": f"{changed:,}",
                "metric": str(self.estimate(arm)),
                "against no change": "" if arm == UNCHANGED else str(self.difference(arm, UNCHANGED)),
                "against its control": f"{self.difference(arm)} ({control})" if arm in judged else "",
            })  # fmt: skip
        return rows

    def comparisons(self) -> list[dict[str, Any]]:
        """Every arm in question against no change and against each of its controls, as plain numbers."""
        found = []
        for judged in self.judged:
            controls = dict.fromkeys((UNCHANGED, *judged.controls))
            for control in (name for name in controls if name in self.arms):
                difference = asdict(self.difference(judged.arm, control))
                judges = control == self.control_of(judged.arm)
                found.append({"arm": judged.arm, "control": control, "judged_by_it": judges} | difference)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "sentence": self.sentence(),
            "oracle": self.oracle_sentence(),
            "removed": self.removed,
            "higher_is_better": self.higher_is_better,
            "judged": [asdict(judged) for judged in self.judged],
            "arms": self.rows(),
            "comparisons": self.comparisons(),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verification:
        """The reverse of :meth:`to_dict`; reads what earlier versions wrote, too.

        Args:
            values: What ``to_dict`` gave.

        Returns:
            The verification.
        """
        trials = [Trial(**trial) for trial in values["trials"]]
        trials = [replace(trial, arm=FORMER_NAMES.get(trial.arm, trial.arm)) for trial in trials]
        judged = values.get("judged", [{"arm": "drop", "how": "drop", "controls": ["random drop"]}])
        return cls(
            trials,
            [Judged(one["arm"], one["how"], tuple(one["controls"])) for one in judged],
            values["higher_is_better"],
        )

    def __repr__(self) -> str:
        """The sentence."""
        return f"<Verification: {self.sentence()}>"

    def _most(self, arm: str) -> tuple[int, int]:
        """Most samples that an arm removes and changes."""
        trials = [trial for trial in self.trials if trial.arm == arm]
        return max(trial.removed for trial in trials), max(trial.changed for trial in trials)

    def _doing(self, judged: Judged) -> str:
        """What an arm does, in words."""
        removed, changed = self._most(judged.arm)
        words = {
            "none": "no change",
            "drop": f"removing {removed:,} samples",
            "relabel": f"relabelling {changed:,} samples",
            "soft": "training on soft targets",
            "weight": "weighting the samples",
            "reviewed": f"removing {removed:,} and relabelling {changed:,} samples as people decided",
        }[judged.how]
        return words if judged.arm == judged.how else f"{words} ({judged.arm})"

    def _over_no_change(self, arm: str) -> str:
        """What a gain over a control is against no change, which is what counts for the user."""
        gain = self.difference(arm, UNCHANGED)
        if gain.sign and (gain.sign > 0) == self.higher_is_better:
            return f" and {self._points(gain)} over no change"
        return f", but shows no gain over no change: {gain.mean:+.2f} ± {gain.half_width:.2f}"

    def _points(self, gain: Estimate) -> str:
        return f"{abs(gain.mean):.2f} ± {gain.half_width:.2f}{' points' if self.higher_is_better else ''}"


def _instead(control: str, judged: Judged) -> str:
    """A control in words."""
    if control.startswith("random drop"):
        return "removing as many at random"
    several = ", the best of its controls" if len(judged.controls) > 1 else ""
    words = f"label {control}" if control.startswith("smoothing") else control
    return f"{words}{several}"


def _present_name(arm: str) -> str:
    """What an arm is called now."""
    if arm in FORMER_NAMES:
        warnings.warn(f"the arm {arm!r} is called {FORMER_NAMES[arm]!r} now", DeprecationWarning, stacklevel=3)
    return FORMER_NAMES.get(arm, arm)
