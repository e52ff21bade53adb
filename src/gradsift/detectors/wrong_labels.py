"""How many given labels are wrong, from predictions that have not seen them.

Flips that the model is sure about are counted by the sum of P(wrong). A flip that goes where the model itself is unsure
looks like a hard sample, so the sum misses it. How many there are cannot be seen in one label a sample; but the flips
among the surest samples show where flips go. The more they go where the model's own confusions go, as people's mistakes do,
the more are missed; flips that go anywhere hide nowhere, and neither do they where the model is sharp.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import csr_array

from gradsift.detectors.belief import Belief
from gradsift.detectors.flip_pattern import flips, label_posterior, surest

ALIKE = (0.55, 0.8)
"""Correlation of flips and confusions from which on, and at which, as many flips as can be are taken to be missed."""
SOFT = (0.05, 0.25)
"""The same of the errors that the model expects among its surest samples, as a share of their rate of flips."""
MISSED = 0.6
"""Share of ``S (1 - S / D)`` that is missed then: S the sum of P(wrong), D the labels that are not the likeliest class."""
SPREAD = 0.33
"""Half of the interval as a share of ``S (1 - S / D)``."""
ROUGH = 0.015
"""Half of the interval at least: the model's own mistakes among the surest samples count as flips."""
DENSE = 1000
"""With more classes than this, no matrix over pairs of classes is formed, and flips are not compared with confusions."""


@dataclass(frozen=True)
class WrongLabels:
    """The share of given labels that are wrong.

    Attributes:
        share: The estimate.
        low: Lower end of its 95 % interval.
        high: Upper end.
        likely: The share that is wrong with a probability above one half, which it is proposed to change.
    """

    share: float
    low: float
    high: float
    likely: float = 0.0

    def words(self, size: int) -> str:
        """The estimate as a sentence.

        Args:
            size: Number of samples.

        Returns:
            A whole sentence.
        """
        return (
            f"Probably {round(self.share * size):,} of {size:,} given labels ({100 * self.share:.1f} %) are wrong; the "
            f"95 % interval goes from {100 * self.low:.1f} % to {100 * self.high:.1f} %."
        )

    def to_dict(self) -> dict[str, float]:
        """Plain values for the manifest."""
        return asdict(self)


def estimate_wrong_labels(belief: Belief, labels: np.ndarray) -> WrongLabels:
    """Estimates how many given labels are wrong.

    ``S + MISSED * c * S (1 - S / D)`` with S the mean of P(wrong), D the share of labels that are not the likeliest class,
    and c in [0, 1] how well flips can hide: how much they resemble the model's confusions (:func:`resemblance`), times how
    unsure the model is of its surest samples. With two classes, flips can go nowhere else, so nothing is told by where they
    go, and c is 0.

    Args:
        belief: Calibrated predictions of models that have not seen the sample, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        The estimate.
    """
    size, classes = belief.shape
    likeliest, sureness = belief.likeliest()
    rate, pattern = flips(likeliest, sureness, labels, classes)
    among_surest = np.zeros(size, dtype=bool)
    among_surest[surest(likeliest, sureness, classes)] = True
    total, confusions = 0.0, np.zeros((2, classes, classes)) if 2 < classes <= DENSE else None
    for start, rows in belief.chunks():
        piece = slice(start, start + len(rows))
        given = np.arange(len(rows)), labels[piece]
        total += float((1.0 - label_posterior(rows, labels[piece], rate, pattern)[given]).sum())
        if confusions is not None:
            for part, chosen in enumerate((~among_surest[piece], among_surest[piece])):
                confusions[part] += _by_class(likeliest[piece][chosen], rows[chosen], classes)
    disagreeing = float((likeliest != labels).mean())
    hidden = 0.0
    if confusions is not None:
        sure = np.flatnonzero(among_surest)
        pairs = likeliest[sure], labels[sure]
        counts = csr_array((np.ones(len(sure)), pairs), shape=(classes, classes)).toarray()
        expected = float(1.0 - sureness[sure].mean())
        alike = resemblance(counts - confusions[1], confusions[0])
        hidden = _ramp(alike, ALIKE) * _ramp(expected / rate, SOFT)
    return _interval(total / size, disagreeing, hidden, rate, int(among_surest.sum()))


def resemblance(flipped: np.ndarray, confusions: np.ndarray) -> float:
    """How much flips go where the model's own confusions go.

    Args:
        flipped: Labels of class j (column) among samples that are surely of class k (row) beyond those that the model
            expects, shape (K, K).
        confusions: Probability of class j, summed over the other samples whose likeliest class is k, shape (K, K).

    Returns:
        Correlation of the two, off the diagonal; 0 where one of them is constant.
    """
    elsewhere = ~np.eye(len(flipped), dtype=bool)
    pair = np.stack([np.maximum(flipped[elsewhere], 0.0), confusions[elsewhere]])
    return 0.0 if (np.ptp(pair, axis=1) == 0).any() else float(np.corrcoef(pair)[0, 1])


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """0 up to the first end, 1 from the second one on."""
    return float(np.clip((value - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0))


def _interval(certain: float, disagreeing: float, hidden: float, rate: float, looked_at: int) -> WrongLabels:
    """The estimate from S, D, c, and the rate of flips among so many sure samples."""
    room = certain * max(0.0, 1 - certain / disagreeing) if disagreeing else 0.0
    share = min(certain + MISSED * hidden * room, 1.0)
    chance = 1.96 * (rate * (1 - rate) / max(1, looked_at)) ** 0.5
    half = float(np.linalg.norm([SPREAD * room, chance, ROUGH]))
    return WrongLabels(share, max(0.0, share - half), min(1.0, share + half))


def _by_class(likeliest: np.ndarray, rows: np.ndarray, classes: int) -> np.ndarray:
    """Sums of rows over the samples of each likeliest class, shape (K, K)."""
    ones = np.ones(len(likeliest))
    return csr_array((ones, (likeliest, np.arange(len(likeliest)))), shape=(classes, len(likeliest))) @ rows
