"""The choice of a cure without clean labels: by held-out samples with the labels that they were given.

Each cure is done to the samples outside of a fold, a model is trained, and predicts the fold. Its samples keep their
given labels, wrong ones included: these still tell which model is better (Chen et al., AAAI 2021, show it for
class-conditional noise). A cure that was made with these labels gains on them by that alone, so where it can be made
without the labels of a fold, it is; accuracy is then also corrected for how often each class is flipped. Every sample is
compared with the prediction of a training without any cure, so differences are paired, and a cure is taken only where both
of its measures say that it helps.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from scipy.stats import norm

from gradsift.cleaning.cure import Cure, none
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.comparison import Comparison, Tried, can_be_corrected, worth_of
from gradsift.evaluation.noisy_likelihood import noisy_likelihood
from gradsift.evaluation.statistics import Estimate

logger = logging.getLogger(__name__)

Verdict = Literal["helps", "no help", "cannot tell"]
"""Whether a cure was chosen; or none helps; or the held-out samples are too few to see a gain of :data:`WORTH`."""

ERROR = 0.05
"""Probability that any of the intervals of all cures fails to cover (Bonferroni: each one's is a part of it)."""
WORTH = 1.0
"""A gain that is worth seeing, in points of held-out accuracy: where intervals reach beyond it, nobody can tell."""


REPEATS = 8
"""Most repeats of the best cure: by then what is left of its interval is the samples' chance, not the trainings'."""


class Trainer(Protocol):
    """What trains with cures and predicts held-out samples."""

    def held_out(self, cures: Sequence[Cure], fold: int, repeat: int = 0, /) -> list[np.ndarray]:
        """Trains with each cure on all samples outside of a fold and predicts the fold.

        Args:
            cures: The cures, of all n samples.
            fold: The fold.
            repeat: How many times this was done before; each time with another seed.

        Returns:
            Probabilities of shape (m, K) for each cure.
        """
        ...


@dataclass(frozen=True)
class Choice:
    """What held-out samples say about cures.

    Attributes:
        cure: What to do: a cure that helps, or no change.
        verdict: Whether it helps, no cure does, or the held-out samples are too few to tell.
        comparisons: Every cure that was tried, the best first.
        trainings: How many trainings the choice took.
        corrected: Whether accuracy is corrected for flips, and so tells of right labels.
        unseen: Whether cures were compared on labels that they were made without.
    """

    cure: Cure
    verdict: Verdict
    comparisons: list[Comparison]
    trainings: int
    corrected: bool = False
    unseen: bool = False

    @property
    def best(self) -> Comparison | None:
        """What was chosen, or came closest; ``None`` where nothing was tried."""
        return self.comparisons[0] if self.comparisons else None

    @property
    def expected_gain(self) -> Estimate | None:
        """Gain in accuracy that is expected of the chosen cure, in points; ``None`` of no change.

        Where it is corrected, and flips depend on the class alone, it is the gain on right labels. Else it is the gain on
        given labels, as it was measured, to which the cure's knowledge of these labels may add where they are not unseen.
        """
        return self.best.accuracy if self.verdict == "helps" and self.best is not None else None

    def sentence(self) -> str:
        """What may honestly be said."""
        if self.best is None:
            return "No cure was tried, so the data stay as they are."
        gain, name = self.best.accuracy, self.best.cure.name
        measured = (
            f"{gain.mean:+.2f} ± {gain.half_width:.2f} points (95 % over all cures, {gain.count:,} held-out samples)"
        )
        if self.verdict == "helps":
            given = " on their given labels" + ("" if self.unseen else ", of which the cure knows,")
            of = ", corrected for flipped labels," if self.corrected else given
            return f"Held-out samples say that this helps: {name}. Accuracy{of} changes by {measured}."
        count = len(self.comparisons)
        which = f"The best of {count} cures, {name}" if count > 1 else f"The one cure that was tried, {name}"
        tried = f"{which}, changes held-out accuracy by {measured}"
        if self.verdict == "cannot tell":
            return f"Cannot tell whether a cure helps. {tried}. The data stay as they are; more samples would tell."
        return f"No cure helps. {tried}. The data stay as they are."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        expected = self.expected_gain
        return {
            "cure": self.cure.name,
            "how": self.cure.how,
            "verdict": self.verdict,
            "sentence": self.sentence(),
            "expected_gain": None if expected is None else [expected.mean, expected.half_width],
            "trainings": self.trainings,
            "corrected": self.corrected,
            "unseen": self.unseen,
            "comparisons": [
                {
                    "cure": comparison.cure.name,
                    "how": comparison.cure.how,
                    "changed": len(comparison.cure.changed),
                    "folds": comparison.folds,
                    "accuracy": [comparison.accuracy.mean, comparison.accuracy.half_width],
                    "likelihood": [comparison.likelihood.mean, comparison.likelihood.half_width],
                }
                for comparison in self.comparisons
            ],
        }


def choose(
    trainer: Trainer,
    candidates: Sequence[Cure],
    labels: np.ndarray,
    fold_of: np.ndarray,
    *,
    unseen: Callable[[int, int], Cure] | None = None,
    flips: np.ndarray | None = None,
    unchanged: np.ndarray | None = None,
    trainings: int | None = None,
    on_training: Callable[[int], None] | None = None,
) -> Choice:
    """Chooses among cures by held-out samples with their given labels; no change wins ties.

    All candidates are tried on the first fold, the better half of them on the next one, and so on (successive halving);
    without a limit all are tried on all folds. Where trainings are left, the best cure and no change are trained again with
    other seeds on all folds, and the means are compared, so that chance in trainings widens the interval less. A cure helps
    where held-out accuracy rises beyond its interval, which holds for all cures at once with 95 %, and the likelihood of
    the given labels does not fall; of those whose accuracy is within one standard error of the best the likeliest is taken.

    Args:
        trainer: Trains and predicts.
        candidates: Cures, the most promising first: where trainings are few, the last ones are left out.
        labels: Given labels as class numbers, shape (n,).
        fold_of: The fold that holds each sample out, shape (n,).
        unseen: From a fold and the number of a candidate to the same cure, made without the labels of this fold; without it
            the candidates themselves are compared, to which held-out labels have contributed.
        flips: How often labels of each class are given as each other one, T of shape (K, K), by which accuracy is
            corrected (Natarajan et al., NeurIPS 2013); accuracy on given labels without it.
        unchanged: Held-out probabilities of the same training without a cure, shape (n, K), where they are known, such as
            from :func:`~gradsift.cross_fit` with the same folds and seed; trained here where left out.
        trainings: Most trainings; no limit where left out.
        on_training: Called with the number of trainings that were done.

    Returns:
        The choice.

    Raises:
        DataError: A fold holds samples of a single class, or a label has no column of the predictions.
        SettingError: There are too few trainings to try one cure on all folds.
    """
    folds = int(fold_of.max()) + 1
    _refuse_single_class(labels, fold_of, folds)
    told = on_training or (lambda _number: None)
    spent = 0
    if unchanged is None:
        unchanged, spent = _without_a_cure(trainer, labels, fold_of, folds), folds
        told(folds)
    survivors = _survivors(len(candidates), folds, None if trainings is None else trainings - spent)
    confidence = 1 - ERROR / max(1, survivors[0])
    if unchanged.shape[1] <= labels.max():
        raise DataError(
            f"predictions have {unchanged.shape[1]} columns and labels go up to {labels.max()}: number the classes from 0 "
            "without gaps"
        )
    if flips is not None and not can_be_corrected(flips, unchanged, labels):
        flips = None
    worth = worth_of(flips, unchanged.shape[1])
    tried = [Tried(number, cure, confidence, worth) for number, cure in enumerate(candidates[: survivors[0]])]
    alive = tried
    for fold, number in enumerate(survivors):
        alive = _best(alive, number)
        seen = np.concatenate([np.flatnonzero(fold_of == earlier) for earlier in range(fold + 1)])
        likely = noisy_likelihood(unchanged[seen], labels[seen])
        cures = [one.cure if unseen is None else unseen(fold, one.number) for one in alive]
        held_out = trainer.held_out(cures, fold)
        for candidate, predicted in zip(alive, held_out, strict=True):
            if predicted.shape[1] == unchanged.shape[1]:
                candidate.compare(predicted, unchanged[seen], likely, labels[seen])
            else:  # an estimator predicts only the classes that it has seen
                logger.warning(
                    "%s leaves a class without training samples on fold %d: left out", candidate.cure.name, fold
                )
                candidate.give_up()
        alive = [candidate for candidate in alive if not candidate.given_up]
        spent += number
        told(number)
    if trainings is not None and alive:
        best = _best(alive, 1)[0]
        cures = [best.cure if unseen is None else unseen(fold, best.number) for fold in range(folds)]
        repeats = min((trainings - spent) // (2 * folds), REPEATS)
        for repeat in range(1, repeats + 1):
            _again(trainer, best, cures, labels[seen], repeat)
            told(2 * folds)
        spent += 2 * folds * repeats
    comparisons = [candidate.comparison for candidate in tried if candidate.comparison is not None]
    return replace(_decided(comparisons, labels, spent), corrected=flips is not None, unseen=unseen is not None)


def _without_a_cure(trainer: Trainer, labels: np.ndarray, fold_of: np.ndarray, folds: int) -> np.ndarray:
    """Held-out probabilities of trainings without a cure, shape (n, K)."""
    parts = [trainer.held_out([none(labels)], fold)[0] for fold in range(folds)]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise DataError(f"models of different folds predict {sorted(widths)} classes: train each for all classes")
    unchanged = np.empty((len(labels), widths.pop()), dtype=np.float32)
    for fold, part in enumerate(parts):
        unchanged[fold_of == fold] = part
    return unchanged


def _again(trainer: Trainer, best: Tried, cures: Sequence[Cure], labels: np.ndarray, repeat: int) -> None:
    """Compares the best cure with no change on all folds once more, with another seed."""
    parts = [trainer.held_out([cure, none(cure.given)], fold, repeat) for fold, cure in enumerate(cures)]
    if len({part.shape[1] for both in parts for part in both}) == 1:  # an estimator may not have seen a class
        cured, unchanged = (np.concatenate(of_all) for of_all in zip(*parts, strict=True))
        best.repeat(cured, unchanged, labels)


def _best(tried: Sequence[Tried], number: int) -> list[Tried]:
    """The cures with the largest gains in accuracy and likelihood, each in units of the widest interval of all, added.

    Units of each cure's own interval would favour those that change little.
    """
    comparisons = [candidate.comparison for candidate in tried if candidate.comparison is not None]
    if not comparisons:  # before the first fold
        return list(tried[:number])
    accuracy = max(comparison.accuracy.half_width for comparison in comparisons) or 1.0
    likelihood = max(comparison.likelihood.half_width for comparison in comparisons) or 1.0
    merits = [
        comparison.accuracy.mean / accuracy + comparison.likelihood.mean / likelihood for comparison in comparisons
    ]
    return [tried[place] for place in np.argsort(-np.array(merits), kind="stable")[:number]]


def _survivors(candidates: int, folds: int, trainings: int | None) -> list[int]:
    """How many cures are tried on each fold."""
    if trainings is None or not candidates:
        return [candidates] * folds
    if trainings < folds:
        raise SettingError(
            f"{trainings} trainings are too few to compare a cure with no change on {folds} folds: give at least {folds}"
        )
    for first in range(candidates, 0, -1):
        numbers = [max(1, math.ceil(first / 2**fold)) for fold in range(folds)]
        if sum(numbers) <= trainings:
            return numbers
    return [1] * folds


def _decided(tried: Sequence[Comparison], labels: np.ndarray, trainings: int) -> Choice:
    """The cure that the comparisons speak for."""
    compared = sorted(tried, key=lambda comparison: (-comparison.folds, -comparison.accuracy.mean))
    last = [comparison for comparison in compared if comparison.folds == compared[0].folds]
    helping = [comparison for comparison in last if comparison.helps]
    if helping:
        error = helping[0].accuracy.half_width / float(norm.ppf(1 - ERROR / len(tried) / 2))
        close = [comparison for comparison in helping if comparison.accuracy.mean >= helping[0].accuracy.mean - error]
        best = max(close, key=lambda comparison: comparison.likelihood.mean)
        rest = [comparison for comparison in compared if comparison is not best]
        return Choice(best.cure, "helps", [best, *rest], trainings)
    possible = 0.0 if not last else last[0].accuracy.mean + last[0].accuracy.half_width  # of the best, which is named
    return Choice(none(labels), "cannot tell" if possible > WORTH else "no help", compared, trainings)


def _refuse_single_class(labels: np.ndarray, fold_of: np.ndarray, folds: int) -> None:
    for fold in range(folds):
        classes = np.unique(labels[fold_of == fold])
        if len(classes) < 2:
            raise DataError(
                f"fold {fold} holds {(fold_of == fold).sum()} samples of class {', '.join(map(str, classes)) or 'none'} "
                "alone, which cannot tell cures apart: use fewer folds, or smaller groups"
            )
