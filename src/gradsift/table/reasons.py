"""Why a sample is flagged, in a few words; what they mean stands in the glossary.

==============  ==============================================================================================
wrong label     ``probably 'cat': model 94 %, neighbours 41 of 50``
ambiguous       ``'ant' or 'cat': model 50 % and 42 %, neighbours 20 and 18 of 50``
atypical        ``unusual input: farther from its neighbours than 99.0 % of the samples``, or ``no class above 20 %``, or
                ``model agrees with 'ant' (60 %), loss 4.5 times the median``
duplicate       ``same input, other label: position 7 'cat', 9 'dog' and 2 more``
several labels  ``label 'red' given as 1: model 10 %``
values          ``given 5: model 5.5``
nothing known   ``loss 4.5 times the median``, or ``forest: top 0.5 %``
==============  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradsift.table.kinds import AMBIGUOUS, ATYPICAL, DUPLICATE, FAR, Known

MAGNITUDES = {
    "l1": "gradient (L1 norm)",
    "l2": "gradient (L2 norm)",
    "loss": "loss",
    "l1_along_training": "gradient (L1 norm) along training",
    "l2_along_training": "gradient (L2 norm) along training",
    "el2n_along_training": "error (EL2N) along training",
    "loss_along_training": "loss along training",
}
"""Detectors whose score is a size that can be compared with the median one."""
SHOWN = 3
"""So many duplicates are named."""


@dataclass(frozen=True)
class Sample:
    """What is known of one flagged sample.

    Attributes:
        position: Its position.
        given: Its given label.
        belief: Distribution over its true class before the given label is looked at, shape (K,).
        flips: How well a flip from each class explains the given label, shape (K,).
        right: How well its being right does.
        nearer: Share of the samples that are nearer to their neighbours.
        model: What the model alone predicts, shape (K,).
        neighbours: The most probable class of each neighbour; empty where they are not known.
    """

    position: int
    given: int
    belief: np.ndarray
    flips: np.ndarray
    right: float
    nearer: float
    model: np.ndarray
    neighbours: np.ndarray

    def told(self, *classes: int) -> str:
        """What model and neighbours say of some classes.

        Args:
            *classes: Which ones.

        Returns:
            Such as ``model 94 %, neighbours 41 of 50``.
        """
        words = "model " + " and ".join(f"{100 * self.model[k]:.0f} %" for k in classes)
        if not len(self.neighbours):
            return words
        counts = " and ".join(str(int((self.neighbours == k).sum())) for k in classes)
        return f"{words}, neighbours {counts} of {len(self.neighbours)}"


def class_reasons(
    positions: np.ndarray, kinds_of: np.ndarray, known: Known, names: Sequence[str] | None, sizes: dict[int, str]
) -> dict[int, str]:
    """Says what makes flagged samples of a task with classes what they are.

    Args:
        positions: Which samples, shape (m,).
        kinds_of: Their kinds.
        known: What is known of them.
        names: Names of the classes.
        sizes: Position to how far out its score is.

    Returns:
        Position to words.
    """
    reasons, name = {}, _namer(names)
    for part, belief, flips, right in known.explained(positions):
        model, neighbours = known.beliefs.told_by(positions[part])
        given_labels = known.labels[positions[part]].tolist()
        far = np.zeros(len(given_labels)) if known.nearer is None else known.nearer[part]
        each = zip(positions[part].tolist(), given_labels, belief, flips, right, far, model, neighbours, strict=True)
        for kind, sample in zip(kinds_of[part].tolist(), (Sample(*values) for values in each), strict=True):
            reasons[sample.position] = _reason(kind, sample, known, name, sizes[sample.position])
    return reasons


def _reason(kind: str, sample: Sample, known: Known, name: Callable[[int], str], size: str) -> str:
    """Why one sample is of its kind."""
    likeliest, suggested = int(sample.belief.argmax()), int(sample.flips.argmax())
    if kind == DUPLICATE:
        twins = known.duplicates[sample.position]
        shown = ", ".join(f"{twin} {name(int(known.labels[twin]))}" for twin in twins[:SHOWN])
        more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
        return f"same input, other label: position {shown}{more}"
    if kind == ATYPICAL:
        if sample.nearer >= FAR:
            return f"unusual input: farther from its neighbours than {100 * min(sample.nearer, 0.999):.1f} % of the samples"
        if sample.flips[suggested] <= sample.right:
            agreement = 100 * sample.model[sample.given]
            return f"unusual input: model agrees with {name(sample.given)} ({agreement:.0f} %), {size}"
        return f"unusual input: no class above {100 * sample.belief[likeliest]:.0f} %"
    if kind == AMBIGUOUS and likeliest == suggested:
        second = int(np.where(np.arange(len(sample.belief)) == likeliest, -1.0, sample.belief).argmax())
        return f"{name(likeliest)} or {name(second)}: {sample.told(likeliest, second)}"
    often = "" if likeliest == suggested else f", often labelled {name(sample.given)}"
    return f"{'perhaps' if kind == AMBIGUOUS else 'probably'} {name(suggested)}: {sample.told(suggested)}{often}"


def other_reasons(
    positions: np.ndarray,
    kind: str | None,
    labels: np.ndarray,
    predictions: np.ndarray,
    names: Sequence[str] | None,
) -> dict[int, str]:
    """The same for tasks without classes: what is given and what the model says.

    Args:
        positions: Which samples, shape (m,).
        kind: The task's kind: ``"multilabel"``, ``"value"``, or anything else, of which nothing is said.
        labels: Given labels of these samples.
        predictions: Predicted probabilities or values of these samples.
        names: Names of the labels.

    Returns:
        Position to words; without those of which nothing is known.
    """
    name, reasons = _namer(names), dict[int, str]()
    if kind not in ("multilabel", "value"):
        return reasons
    for position, label, predicted in zip(positions.tolist(), labels, predictions, strict=True):
        if kind == "value":
            reasons[position] = f"given {_numbers(label)}: model {_numbers(predicted)}"
        elif not np.isnan(gaps := np.abs(label - predicted)).all():
            worst = int(np.nanargmax(gaps))
            reasons[position] = (
                f"label {name(worst)} given as {int(label[worst])}: model {100 * predicted[worst]:.0f} %"
            )
    return reasons


def score_sizes(positions: np.ndarray, scores: np.ndarray, order: np.ndarray, detector: str) -> dict[int, str]:
    """Says how far out scores are.

    Args:
        positions: Which samples.
        scores: Scores of all samples, shape (n,); high = detrimental.
        order: The same, sorted.
        detector: Name of the detector they come from.

    Returns:
        Position to words.
    """
    middle = float(order[(len(order) - 1) // 2 : len(order) // 2 + 1].mean())
    if detector in MAGNITUDES and middle > 0:
        return {
            position: f"{MAGNITUDES[detector]} {scores[position] / middle:,.1f} times the median"
            for position in positions.tolist()
        }
    above = 100 * (1 - np.searchsorted(order, scores[positions], side="left") / len(scores))
    name = detector.replace("_", " ")
    return {p: f"{name}: top {max(share, 0.1):.1f} %" for p, share in zip(positions.tolist(), above, strict=True)}


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return lambda label: repr(names[label]) if names is not None and label < len(names) else str(label)


def _numbers(values: np.ndarray) -> str:
    return ", ".join("not known" if np.isnan(value) else f"{value:.4g}" for value in np.atleast_1d(values))
