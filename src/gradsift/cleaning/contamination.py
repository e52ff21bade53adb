"""How many samples to flag, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from gradsift.detectors import Belief, WrongLabels
from gradsift.detectors.confident_learning import class_thresholds
from gradsift.detectors.surprise import log_chance, robust_z, shares
from gradsift.scratch import empty
from gradsift.store import ArrayMatrix, GradientMatrix

LARGEST = 0.5
ROBUST_Z = 3.5
"""Robust z-score above which a sample counts as an outlier (Iglewicz and Hoaglin, 1993)."""
FALSE_SHARE = 0.2
"""Expected share of false alarms among discoveries."""
STARTS = 40
"""So many numbers of samples are tried that may hide each other."""


@dataclass(frozen=True)
class Decision:
    """How many samples are flagged, and how that was decided.

    Attributes:
        count: Samples to flag.
        fraction: The same as a share of all samples, rounded as the count is.
        low: Lower end of what the share may be.
        high: Upper end.
        words: How it was decided and how sure it is.
    """

    count: int
    fraction: float
    low: float
    high: float
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def decide(
    scores: np.ndarray,
    contamination: float | Literal["auto"],
    *,
    kind: str | None = None,
    labels: np.ndarray | None = None,
    predictions: np.ndarray | GradientMatrix | Belief | None = None,
    wrong: WrongLabels | None = None,
    held: bool = False,
    wrong_probability: np.ndarray | None = None,
    cut: float | None = None,
    by_chance: np.ndarray | None = None,
) -> Decision:
    """Decides how many samples are flagged.

    A number is taken as it is. ``"auto"`` flags as many samples as have labels that are more probably wrong than right,
    where predictions that have not seen them tell it. Else it counts confident disagreements where there are classes
    (:func:`count_disagreements`), what a posterior of several labels or of values says where there is one, discoveries
    where the probability by chance is known (:func:`count_discoveries`), and outliers of the score elsewhere
    (:func:`count_outliers`). No test data is used.
    Where samples share the score at the cut, ``"auto"`` moves it to the nearer end of them, so that all or none are
    flagged; of a share that was given, they are drawn at random, and the words say so.

    Args:
        scores: Scores of the main detector, shape (n,); high = detrimental.
        contamination: Share of samples to flag, in (0, 0.5], or ``"auto"``.
        kind: The task's kind.
        labels: Given labels, shape (n,).
        predictions: Predicted probabilities, or the belief of a detector that has one, shape (n, K).
        wrong: How many labels are wrong, where predictions that have not seen them tell it.
        wrong_probability: What a posterior of several labels, or of values, says of every sample, shape (n,).
        cut: The probability from which on samples count as wrong; outliers of the probability count where left out.
        by_chance: How probable by chance each sample is in V ways, shape (n, V), from which the scores come.
        held: Whether every group loses the same share, so that there is no one cut.

    Returns:
        The decision.
    """
    automatic = contamination == "auto"
    if contamination != "auto":
        count = round(contamination * len(scores))
        words = "The share was given." if wrong is None else f"The share was given. {wrong.words(len(scores))}"
        decision = Decision(count, count / len(scores), contamination, contamination, words)
    elif by_chance is not None:
        decision = count_discoveries(by_chance)
    elif wrong is not None:
        decision = _more_probably_wrong(wrong, len(scores))
    elif wrong_probability is not None:
        decision = count_outliers(wrong_probability) if cut is None else _above(wrong_probability, cut)
    elif kind == "class" and labels is not None and predictions is not None:
        decision = count_disagreements(labels, predictions)
    else:
        decision = count_outliers(scores)
    return decision if held or not decision.count else _at_ties(decision, scores, automatic=automatic)


def _above(scores: np.ndarray, cut: float) -> Decision:
    """As many samples as have a probability above the cut, at most half of all."""
    size, above = len(scores), int((scores > cut).sum())
    count = min(above, int(LARGEST * size))
    expected = float(scores.mean())
    words = (
        f"{above:,} samples are wrong with a probability above {100 * cut:.0f} %; the probabilities of all add up to "
        f"{round(expected * size):,}. These are estimates: the true number may be twice as large or half as "
        "large."
    )
    return Decision(count, count / size, expected / 2, min(1.0, 2 * expected), words)


def _more_probably_wrong(wrong: WrongLabels, size: int) -> Decision:
    """As many samples as have labels that are more probably wrong than right, at most half of all."""
    count = round(min(wrong.likely, LARGEST) * size)
    words = (
        f"{wrong.words(size)} {round(wrong.likely * size):,} are more probably wrong than right, and "
        f"{'as many' if wrong.likely <= LARGEST else 'half of all'} samples are flagged: those with the highest scores."
    )
    return Decision(count, count / size, wrong.low, wrong.high, words)


def _at_ties(decision: Decision, scores: np.ndarray, *, automatic: bool) -> Decision:
    """The decision where it would part samples that share a score."""
    size, count = len(scores), decision.count
    cut = np.partition(scores, size - count)[size - count]
    above, tied = int((scores > cut).sum()), int((scores == cut).sum())
    if above + tied == count:
        return decision
    start = f"{decision.words} {tied:,} samples share the score at the cut"
    if not automatic:
        return replace(decision, words=f"{start}: {count - above:,} of them were drawn at random.")
    if above + tied - count < count - above and above + tied <= LARGEST * size:
        count, words = above + tied, f"{start}, so all of them are flagged."
    else:
        count, words = above, f"{start}, so none of them is flagged."
    return replace(decision, count=count, fraction=count / size, words=words)


def count_disagreements(labels: np.ndarray, predictions: np.ndarray | GradientMatrix | Belief) -> Decision:
    """Counts samples of which the model is confident that they belong to another class.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 2021): class k is confident for a sample if
    ``p_k >= t_k``, with t_k the mean probability of k among the samples given k; a sample counts if its most probable
    confident class is not the given one.

    The interval says how far the model's own mistakes may carry this, from the number of unsure disagreements (the model
    predicts another class, but not confidently). At least: as many of the confident ones are mistakes of the model. At
    most: all of the unsure ones are wrong labels, too.

    Args:
        labels: Given labels, shape (n,).
        predictions: Predicted probabilities or a belief, shape (n, K).

    Returns:
        The decision.
    """
    matrix = ArrayMatrix(predictions) if isinstance(predictions, np.ndarray) else predictions
    size, classes = matrix.shape
    given, likeliest = empty(size), empty(size, np.int64)
    for start, rows in matrix.chunks():
        part = slice(start, start + len(rows))
        given[part], likeliest[part] = rows[np.arange(len(rows)), labels[part]], rows.argmax(axis=1)
    thresholds = class_thresholds(given, labels, classes)
    against = np.empty(size, dtype=bool)
    for start, rows in matrix.chunks():
        part = slice(start, start + len(rows))
        confident = rows >= thresholds
        likely = np.where(confident, rows, -1.0).argmax(axis=1)
        against[part] = confident.any(axis=1) & (likely != labels[part])
    unsure = (likeliest != labels) & ~against
    count = min(int(against.sum()), int(LARGEST * size))
    low = max(0, count - int(unsure.sum())) / size
    high = min(size, int(against.sum()) + int(unsure.sum())) / size
    agreement = float((likeliest == labels).mean())
    words = (
        f"The model confidently disagrees with {int(against.sum()):,} given labels, and unsurely with "
        f"{int(unsure.sum()):,}; it agrees with {100 * agreement:.1f} %. Between {100 * low:.1f} % and {100 * high:.1f} % "
        "of the labels may be wrong"
    )
    words += ", so perhaps none is." if low == 0 else "."
    return Decision(count, count / size, low, high, words)


def count_outliers(scores: np.ndarray) -> Decision:
    """Counts scores far above the middle: robust z-scores above 3.5.

    Args:
        scores: Shape (n,); high = detrimental.

    Returns:
        The decision; its interval comes from thresholds of 4.5 and 3.
    """
    size, z_scores = len(scores), robust_z(scores)
    count, most, least = (int((z_scores > limit).sum()) for limit in (ROBUST_Z, 3.0, 4.5))
    words = (
        f"Their scores lie more than {ROBUST_Z} robust deviations above the median; between {least:,} (4.5 deviations) "
        f"and {most:,} (3) samples could be flagged. This is a rule of thumb about outliers, no estimate of wrong labels."
    )
    return Decision(count, count / size, least / size, most / size, words)


def count_discoveries(by_chance: np.ndarray) -> Decision:
    """Counts samples that chance does not explain, by the rule of Benjamini and Hochberg (1995).

    The m least probable samples are flagged, with m the largest number for which ``p_(m) <= FALSE_SHARE m / n``, and at
    most so many as the same rule finds where each way's probability is the share of the samples that are not flagged that
    lie as far out. Where many right samples lie apart in one way, as texts that end without a full stop, tails alone flag
    all of them.

    Args:
        by_chance: How probable by chance each sample is in V ways, shape (n, V).

    Returns:
        The decision; its interval comes from expected shares of 5 % and 50 %.
    """
    size = len(by_chance)
    count, least, most = (_discoveries(by_chance, share) for share in (FALSE_SHARE, 0.05, 0.5))
    words = (
        f"Chance alone would explain {100 * FALSE_SHARE:.0f} % of them (Benjamini-Hochberg); of {least:,} it would "
        f"explain 5 %, of {most:,} a half. Right but unusual samples are flagged, too, so the share of false alarms may be "
        "larger: read a few before any is dropped."
    )
    return Decision(count, count / size, least / size, most / size, words)


def _discoveries(by_chance: np.ndarray, share: float) -> int:
    """How many are found by tails, and by shares of those that are not found.

    Where nothing is found as long as all are counted, a few alike ones may hide each other, most of all in small sets: then
    the fewest are taken that are found once they are not counted.
    """
    tails = log_chance(by_chance)
    order, limit = np.argsort(tails, kind="stable"), _rejected(tails, share)

    def found(apart: int) -> int:
        return min(limit, _rejected(log_chance(shares(by_chance, order[apart:])), share))

    if not limit:
        return 0
    starts = [0, *np.unique(np.geomspace(1, limit, STARTS).astype(int)).tolist()]
    count = next((more for apart in starts if (more := found(apart)) >= max(1, apart)), 0)
    while (more := found(count)) > count:
        count = more
    return count


def _rejected(logarithms: np.ndarray, share: float) -> int:
    """The largest m for which ``p_(m) <= share m / n``, at most half of all, from logarithms to the base 10."""
    size, numbers = len(logarithms), np.arange(1, len(logarithms) + 1)
    passed = np.sort(logarithms) <= np.log10(share * numbers / size)
    return min(int(numbers[passed].max(initial=0)), int(LARGEST * size))
