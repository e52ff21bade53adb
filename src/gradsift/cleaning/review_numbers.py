"""What decisions say of the audit: how right it was, what is left, and how far its probabilities can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

from gradsift.cleaning.agreement import Agreement
from gradsift.cleaning.decision import Decision

RANDOM_SHARE = 0.05
"""Share of the samples, drawn at random, that people are asked about whatever the model says of them."""
WRONG = ("relabel", "drop", "ambiguous")
"""Decisions that say that the given label is not right."""
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Ends of the classes of probability in which the calibration is told."""


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson's).

    Attributes:
        hits: How many.
        size: Of how many.
        value: The share; NaN of none.
        low: Lower end of the interval.
        high: Upper end.
    """

    hits: int
    size: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, size: int) -> Share:
        """The share of some samples.

        Args:
            hits: How many.
            size: Of how many.

        Returns:
            The share; of no sample it may be anything.
        """
        if not size:
            return cls(0, 0, float("nan"), 0.0, 1.0)
        interval = binomtest(hits, size).proportion_ci(method="wilson")
        return cls(hits, size, hits / size, float(interval.low), float(interval.high))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, ``None`` for a share of nothing."""
        return asdict(self) | {"value": self.value if self.size else None}


@dataclass(frozen=True)
class Bin:
    """Decided samples of similar probability.

    Attributes:
        low: Lower end of the probabilities.
        high: Upper end.
        expected: Mean probability that the label is wrong.
        found: Share whose label was found wrong.
    """

    low: float
    high: float
    expected: float
    found: Share


@dataclass(frozen=True)
class ReviewNumbers:
    """What is known after some decisions.

    Attributes:
        decided: Number of samples about which somebody has decided.
        skipped: Number of samples that were only skipped.
        left: Number of flagged samples about which nobody has decided.
        precision: Share of the decided flagged samples whose label was wrong.
        remaining: Share of wrong labels among samples that are not flagged, by the random ones of them that were decided.
        unflagged: Number of samples that are not flagged and not decided.
        calibration: Probability and finding, by class of probability.
        seconds: Median seconds of a decision; NaN before the first.
        kappa: Cohen's kappa of first and blind second readings; NaN where there are too few.
        second_readings: How many samples were read twice.
        conflicts: Number of samples about which reviewers differ.
    """

    decided: int
    skipped: int
    left: int
    precision: Share
    remaining: Share
    unflagged: int
    calibration: list[Bin]
    seconds: float
    kappa: float
    second_readings: int
    conflicts: int

    @property
    def wrong_left(self) -> tuple[float, float, float]:
        """Wrong labels among samples that are neither flagged nor decided: estimate, lower and upper end (95 %)."""
        share = self.remaining
        return share.value * self.unflagged, share.low * self.unflagged, share.high * self.unflagged

    def sentences(self) -> list[str]:
        """What is known, in words."""
        sentences = [f"People have decided about {self.decided:,} samples; {self.left:,} flagged ones are left."]
        if self.precision.size:
            sentences.append(
                f"Of {self.precision.size:,} flagged samples {self.precision.hits:,} had a wrong label "
                f"({100 * self.precision.value:.0f} %)."
            )
        if self.remaining.size:
            value, low, high = self.wrong_left
            sentences.append(
                f"Of {self.remaining.size:,} random samples that are not flagged {self.remaining.hits:,} had a wrong "
                f"label: about {value:,.0f} wrong labels are left among {self.unflagged:,} "
                f"(95 %: {low:,.0f} to {high:,.0f})."
            )
        if self.second_readings and np.isfinite(self.kappa):
            sentences.append(f"Cohen's kappa of {self.second_readings:,} blind second readings is {self.kappa:.2f}.")
        if self.conflicts:
            sentences.append(f"Reviewers differ about {self.conflicts:,} samples.")
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, ``None`` for what is not known."""
        return {
            "decided": self.decided,
            "skipped": self.skipped,
            "left": self.left,
            "precision": self.precision.to_dict(),
            "remaining": self.remaining.to_dict(),
            "unflagged": self.unflagged,
            "wrong_left": [_known(value) for value in self.wrong_left],
            "calibration": [asdict(bin_) | {"found": bin_.found.to_dict()} for bin_ in self.calibration],
            "second_readings": self.second_readings,
            "conflicts": self.conflicts,
            "seconds": _known(self.seconds),
            "kappa": _known(self.kappa),
            "sentences": self.sentences(),
        }


@dataclass(frozen=True)
class Ahead:
    """What the next decisions will bring.

    Attributes:
        count: How many decisions.
        wrong: How many wrong labels are expected among them.
        minutes: How long they take at this speed; NaN before the first decision.
    """

    count: int
    wrong: float
    minutes: float

    def sentence(self) -> str:
        """In words, such as: about 240 wrong in the next 400, 35 minutes at your speed."""
        time = f", {max(1, round(self.minutes)):,} minutes at your speed" if np.isfinite(self.minutes) else ""
        return f"about {self.wrong:,.0f} wrong in the next {self.count:,}{time}"


def ahead(probabilities: np.ndarray, seconds: float, count: int = 400) -> Ahead:
    """What the next decisions will bring.

    Example:
        >>> ahead(np.array([0.9, 0.8, 0.1]), seconds=30.0, count=2).sentence()
        'about 2 wrong in the next 2, 1 minutes at your speed'

    Args:
        probabilities: Probability that each label is wrong, in the order of the queue.
        seconds: Median seconds of a decision.
        count: How many are looked at.

    Returns:
        The expectation.
    """
    coming = np.asarray(probabilities, dtype=np.float64)[:count]
    return Ahead(len(coming), float(np.nansum(coming)), len(coming) * seconds / 60)


@lru_cache(maxsize=4)
def random_slice(size: int, *, share: float = RANDOM_SHARE, seed: int = 0) -> np.ndarray:
    """The samples that are mixed into the queue whatever the model says of them.

    Args:
        size: Number of samples n.
        share: Share that is drawn.
        seed: Seed of the draw.

    Returns:
        Positions in random order, at least one; the same array in every call, which is for reading.
    """
    drawn = np.random.default_rng(seed).permutation(size)[: math.ceil(share * size)].copy()
    drawn.setflags(write=False)
    return drawn


@dataclass(frozen=True)
class Standing:
    """The decisions that stand, in arrays.

    Attributes:
        positions: Decided samples in rising order, shape (m,), without those that were only skipped.
        wrong: Whether their label was found wrong, shape (m,), boolean.
        skipped: Number of samples that were only skipped.
        seconds: Seconds of the decisions whose time is known, shape (k,).
    """

    positions: np.ndarray
    wrong: np.ndarray
    skipped: int
    seconds: np.ndarray

    @classmethod
    def of(cls, standing: Mapping[int, Decision]) -> Standing:
        """The arrays of some decisions.

        Args:
            standing: Position to the decision that stands.

        Returns:
            The arrays.
        """
        kinds = {position: decision.kind for position, decision in standing.items() if decision.kind != "skip"}
        positions = np.array(sorted(kinds), dtype=np.int64)
        wrong = np.array([kinds[position] in WRONG for position in positions.tolist()], dtype=bool)
        taken = np.array([decision.milliseconds / 1000 for decision in standing.values()])
        return cls(positions, wrong, len(standing) - len(positions), taken[taken > 0])


def review_numbers(
    standing: Standing,
    flagged: np.ndarray,
    probabilities: np.ndarray | None = None,
    *,
    agreement: Agreement | None = None,
    seed: int = 0,
) -> ReviewNumbers:
    """What decisions say of an audit.

    Args:
        standing: The decisions that stand.
        flagged: Which samples the audit flags, shape (n,), boolean.
        probabilities: Probability that each given label is wrong, shape (n,), as the audit said before any decision.
        agreement: Where reviewers agree, and where they differ; left out where one person reviews.
        seed: Seed of :func:`random_slice`.

    Returns:
        The numbers. What remains among samples that are not flagged is told by the decided ones of the random slice: they
        are a fair draw of it where people are asked about them in random order.
    """
    decided, wrong, agreement = standing.positions, standing.wrong, agreement or Agreement()
    in_slice = np.zeros(len(flagged), dtype=bool)
    in_slice[random_slice(len(flagged), seed=seed)] = True
    drawn = (in_slice & ~flagged)[decided]
    return ReviewNumbers(
        decided=len(decided),
        skipped=standing.skipped,
        left=int(flagged.sum() - flagged[decided].sum()),
        precision=Share.of(int(wrong[flagged[decided]].sum()), int(flagged[decided].sum())),
        remaining=Share.of(int(wrong[drawn].sum()), int(drawn.sum())),
        unflagged=int((~flagged).sum() - (~flagged[decided]).sum()),
        calibration=[] if probabilities is None else calibration(probabilities[decided], wrong),
        seconds=float(np.median(standing.seconds)) if len(standing.seconds) else float("nan"),
        kappa=agreement.kappa,
        second_readings=agreement.size,
        conflicts=len(agreement.conflicts),
    )


def calibration(probabilities: np.ndarray, wrong: np.ndarray) -> list[Bin]:
    """Whether what was said to be wrong with some probability was wrong that often.

    Samples may have been chosen by their probability: within a class of it the share is what it is.

    Args:
        probabilities: Of the decided samples, shape (m,).
        wrong: Whether their label was found wrong, shape (m,).

    Returns:
        The classes of probability that hold samples.
    """
    number = np.clip(np.searchsorted(BINS, probabilities, side="right") - 1, 0, len(BINS) - 2)
    sizes, hits, sums = (
        np.bincount(number, weights, minlength=len(BINS) - 1) for weights in (None, wrong, probabilities)
    )
    return [
        Bin(BINS[k], BINS[k + 1], float(sums[k] / sizes[k]), Share.of(int(hits[k]), int(sizes[k])))
        for k in np.flatnonzero(sizes).tolist()
    ]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
