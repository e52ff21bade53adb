"""Why a sample is flagged: one of four kinds, and a sentence that says what the numbers say.

With classes, q is what is believed of the sample's true class before its given label y is looked at, and T[k, y] the
probability that class k is labelled y. Class k explains the label as a flip by ``q_k (K - 1) W[k, y]``, W where flips go:
for flips that go anywhere, by q_k. What speaks for the label is ``q_y - sum_{k != y} q_k T[k, y]``, for a model that was
trained on flips believes them that much. The kinds are then, and the first that fits is meant:

* ``duplicate``: another sample has the same input and another label;
* ``atypical``: nothing explains the label better than that it is right, or the input is far from its nearest neighbours;
* ``wrong_label``: a class explains it as a flip :data:`ODDS` times better than that it is right;
* ``atypical``: no class is believed in, the two likeliest hold less than half of q;
* ``ambiguous``: what is left, several classes share the belief.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import normalize

from gradsift.detectors import WrongLabelPosterior
from gradsift.store import GradientMatrix

MAGNITUDES = {
    "l1": "gradient (L1 norm)",
    "l2": "gradient (L2 norm)",
    "loss": "loss",
    "l1_along_training": "gradient (L1 norm), averaged along training,",
    "l2_along_training": "gradient (L2 norm), averaged along training,",
    "el2n_along_training": "error (EL2N), averaged along training,",
    "loss_along_training": "loss, averaged along training,",
}
"""Detectors whose score is a size that can be compared with the median one."""
PLACES = {
    "posterior": "the posterior of a wrong label",
    "posterior_along_training": "the posterior of a wrong label, averaged along training,",
}
"""Words for detectors whose score is told by its place among the others; their names stand for the rest."""
WRONG, AMBIGUOUS, ATYPICAL, DUPLICATE = "wrong_label", "ambiguous", "atypical", "duplicate"
KINDS = {
    WRONG: "likely wrong label",
    AMBIGUOUS: "ambiguous",
    ATYPICAL: "atypical input",
    DUPLICATE: "conflicting duplicate",
}
"""Code of a kind, as in the column ``reason_kind``, to the words that its sentences begin with."""
ODDS = 10.0
"""How many times better than its being right a flip must explain a label that is called wrong."""
FAR = 0.975
"""An input is far from its neighbours if this share of all samples is nearer to theirs."""
NEIGHBOUR, REFERENCES, COMPARED, CHUNK = 10, 10_000, 2_000, 1024
"""The distance to the 10th neighbour counts; neighbours are searched among at most 10,000 samples, and the distance is
compared with that of 2,000."""

SHOWN = 3
"""So many duplicates are named in a sentence."""


class Rows(Protocol):
    """A matrix that is read in pieces, such as a :class:`~gradsift.store.GradientMatrix`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some rows."""
        ...

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Position of the first row of a piece and the piece, in order."""
        ...


@dataclass(frozen=True)
class Beliefs:
    """What is believed of the true class of every sample, and how labels are flipped.

    Attributes:
        belief: Distribution over the true class before the given label is looked at, shape (n, K).
        pattern: Where flipped labels go, shape (K, K): row k is a distribution over classes other than k.
        rate: Share of flipped labels, in [0, 1].
    """

    belief: Rows
    pattern: np.ndarray
    rate: float

    @classmethod
    def of(cls, detector: WrongLabelPosterior) -> Beliefs:
        """What a fitted detector believes.

        Args:
            detector: The detector.

        Returns:
            The beliefs.
        """
        return cls(detector.belief_, detector.pattern_, detector.rate_)

    @classmethod
    def of_predictions(cls, predictions: Rows) -> Beliefs:
        """Takes predictions for beliefs, and flips for rare and even.

        Args:
            predictions: Predicted probabilities, shape (n, K).

        Returns:
            The beliefs.
        """
        classes = predictions.shape[1]
        return cls(predictions, (1 - np.eye(classes)) / max(1, classes - 1), 0.0)

    def explain(self, belief: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How well a flip explains each label, and how well its being right does; only their ratio means anything.

        Args:
            belief: Beliefs about some samples, shape (m, K).
            labels: Their given labels, shape (m,).

        Returns:
            ``q_k (K - 1) W[k, y]``, shape (m, K), zero for the given label; ``q_y - sum_{k != y} q_k T[k, y]``, or 0 where
            that is negative, shape (m,).
        """
        flips = belief * self.pattern[:, labels].T
        own = belief[np.arange(len(labels)), labels]
        return flips * (belief.shape[1] - 1), np.maximum(own - self.rate * flips.sum(axis=1), 0.0)

    def suggested(
        self, labels: np.ndarray, flagged: np.ndarray, duplicates: Mapping[int, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The other class that explains each given label best, and where it is to be suggested.

        It is where the belief is in another class than the given one; of a flagged sample also where a flip merely
        explains its label better than its being right. A sample with duplicates is given one of their labels.

        Args:
            labels: Given labels, shape (n,).
            flagged: Which samples are flagged, shape (n,), boolean.
            duplicates: Position to the positions of samples with the same input and other labels.

        Returns:
            Class numbers, shape (n,), int64, and where they are suggested, shape (n,), boolean.
        """
        suggestion, meant = np.empty(len(labels), dtype=np.int64), np.empty(len(labels), dtype=bool)
        for start, belief in self.belief.chunks():
            piece = slice(start, start + len(belief))
            flips, right = self.explain(belief, labels[piece])
            suggestion[piece] = flips.argmax(axis=1)
            meant[piece] = (belief.argmax(axis=1) != labels[piece]) | (flagged[piece] & (flips.max(axis=1) > right))
        for position, twins in duplicates.items():
            own = np.array([position])
            flips, right = self.explain(self.belief.rows(own), labels[own])
            theirs = labels[twins]
            suggestion[position] = theirs[flips[0, theirs].argmax()]
            meant[position] = flips[0, suggestion[position]] > right[0]
        return suggestion, meant


@dataclass(frozen=True)
class Known:
    """What is known of flagged samples where there are classes; ``m`` of them, in the order of their positions.

    Attributes:
        labels: Given labels of all samples, shape (n,).
        beliefs: What is believed of all samples.
        nearer: Share of the samples that are nearer to their neighbours than each of these, shape (m,); where features are.
        duplicates: Position to the positions of samples with the same input and other labels.
    """

    labels: np.ndarray
    beliefs: Beliefs
    nearer: np.ndarray | None
    duplicates: Mapping[int, np.ndarray]


def remoteness(features: GradientMatrix, positions: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """How far some samples are from their neighbours, compared with other samples.

    Distances are Euclidean between last-layer features of length one, to the 10th nearest neighbour.

    Args:
        features: Inputs of the last layer, shape (n, D).
        positions: Which samples.
        seed: Seed of the draw of samples among which neighbours are searched, and of those that are compared with.

    Returns:
        Share of the samples that are nearer to their neighbours, shape (len(positions),), in [0, 1].
    """
    generator, size = np.random.default_rng(seed), len(features)
    drawn = np.sort(generator.choice(size, min(size, REFERENCES), replace=False))
    usual = generator.choice(size, min(size, COMPARED), replace=False)
    references, count = _unit(features.rows(drawn)), min(NEIGHBOUR, len(drawn) - 1)
    if count < 1:
        return np.zeros(len(positions))

    def distances(own: np.ndarray) -> np.ndarray:
        found = np.empty(len(own))
        for start in range(0, len(own), CHUNK):
            piece = own[start : start + CHUNK]
            likeness = _unit(features.rows(piece)) @ references.T
            likeness[torch.from_numpy(piece[:, None] == drawn)] = -torch.inf  # a sample is no neighbour of its own
            found[start : start + CHUNK] = 1 - likeness.topk(count, dim=1).values[:, -1].numpy()
        return found

    return np.searchsorted(np.sort(distances(usual)), distances(positions), side="left") / len(usual)


def kinds(positions: np.ndarray, known: Known) -> np.ndarray:
    """The kind of each flagged sample of a task with classes, by the rules of this module.

    Args:
        positions: Which samples, shape (m,).
        known: What is known of them.

    Returns:
        Codes of :data:`KINDS`, shape (m,).
    """
    labels, belief = known.labels[positions], known.beliefs.belief.rows(positions)
    flips, right = known.beliefs.explain(belief, labels)
    best, two = flips.max(axis=1), np.sort(belief, axis=1)[:, -2:].sum(axis=1)
    twin = np.array([position in known.duplicates for position in positions.tolist()], dtype=bool)
    far = np.zeros(len(positions), dtype=bool) if known.nearer is None else known.nearer >= FAR
    rules = [(twin, DUPLICATE), ((best <= right) | far, ATYPICAL), (best >= ODDS * right, WRONG), (two < 0.5, ATYPICAL)]
    return np.select([rule for rule, _ in rules], [kind for _, kind in rules], AMBIGUOUS)


def class_reasons(
    positions: np.ndarray, kinds_of: np.ndarray, known: Known, names: Sequence[str] | None
) -> dict[int, str]:
    """Says in words what makes flagged samples what they are, but for the score.

    Args:
        positions: Which samples, shape (m,).
        kinds_of: Their kinds.
        known: What is known of them.
        names: Names of the classes.

    Returns:
        Position to the beginning of a sentence.
    """
    name, found = _namer(names), {}
    beliefs = known.beliefs.belief.rows(positions)
    flips, right = known.beliefs.explain(beliefs, known.labels[positions])
    for row, position in enumerate(positions.tolist()):
        given, belief, kind = int(known.labels[position]), beliefs[row], str(kinds_of[row])
        other, likely = int(flips[row].argmax()), int(belief.argmax())
        says = (
            f"given {name(given)}, but the model says {name(other)} with {100 * belief[other]:.0f} % "
            f"({100 * belief[given]:.2g} % for the given label)"
        )
        if flips[row, other] <= right[row]:
            says = f"the model agrees with the label {name(given)} ({100 * belief[given]:.0f} %)"
        elif other != likely:
            says += f", whose labels often turn into {name(given)}"
        if kind == DUPLICATE:
            twins = known.duplicates[position]
            shown = [f"{twin} (given {name(int(known.labels[twin]))})" for twin in twins[:SHOWN]]
            more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
            says = f"the same input as position {', '.join(shown)}{more}; {says}"
        elif kind == ATYPICAL and known.nearer is not None and known.nearer[row] >= FAR:
            says = (
                f"farther from its neighbours than {100 * min(known.nearer[row], 0.999):.1f} % of the samples; {says}"
            )
        elif kind == ATYPICAL and flips[row, other] <= right[row]:
            says += ": an unusual sample rather than a wrong label"
        elif kind == ATYPICAL:
            says = f"no class is believed in; {says}"
        elif kind == AMBIGUOUS and likely == other:
            second = int(np.argsort(-belief, kind="stable")[1])
            says += f", or {name(second)} with {100 * belief[second]:.0f} %" if second != given else ""
        found[position] = f"{KINDS[kind]}: {says}; "
    return found


def other_reasons(
    positions: np.ndarray,
    kind: str | None,
    labels: np.ndarray | None,
    predictions: np.ndarray | None,
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
        Position to the beginning of a sentence.
    """
    name, found = _namer(names), dict.fromkeys(positions.tolist(), "")
    if labels is None or predictions is None or kind not in ("multilabel", "value"):
        return found
    for row, position in enumerate(positions.tolist()):
        given, predicted = labels[row], predictions[row]
        if kind == "value":
            found[position] = f"given {_numbers(given)}, the model predicts {_numbers(predicted)}; "
        else:
            worst = int(np.abs(given - predicted).argmax())
            found[position] = (
                f"label {name(worst)} is given as {int(given[worst])}, the model says {100 * predicted[worst]:.0f} %; "
            )
    return found


def sizes(positions: np.ndarray, scores: np.ndarray, detector: str) -> dict[int, str]:
    """Says how far out scores are.

    Args:
        positions: Which samples.
        scores: Scores of all samples, shape (n,); high = detrimental.
        detector: Name of the detector they come from.

    Returns:
        Position to the end of a sentence.
    """
    middle, order, found = float(np.median(scores)), np.sort(scores), {}
    for position in positions.tolist():
        if detector in MAGNITUDES and middle > 0:
            found[position] = f"its {MAGNITUDES[detector]} is {scores[position] / middle:,.1f} times the median"
        else:
            above = 100 * (1 - np.searchsorted(order, scores[position], side="left") / len(scores))
            found[position] = f"{PLACES.get(detector, detector)} places it among the top {max(above, 0.1):.1f} %"
    return found


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return lambda label: repr(names[label]) if names is not None and label < len(names) else str(label)


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in np.atleast_1d(values))


def _unit(rows: np.ndarray) -> torch.Tensor:
    """Rows of length one, float32; what has no length stays zero."""
    return normalize(torch.from_numpy(rows.astype(np.float32)), dim=1, eps=1e-12)
