"""What people decided, done to a cure: a person's word stands above a model's.

* *keep*: the sample stays, with its given label and full weight;
* *relabel*: it stays with the new label, as a target of that class where targets are soft;
* *drop*: it goes, from soft targets and weights, too;
* *ambiguous*: where targets are soft it gets the distribution that was decided, or the model's where none was; where
  samples are weighted, the weight that this gives to its given label. A cure with hard labels drops it: a label that is
  no more than a guess teaches the guess, and one sample less costs little.
* *skip* says nothing.

Labels that are no classes (several yes-or-no labels, values, tokens) are written as the data set stores them; where it is
not at hand, a sample whose label is wrong goes, and an export holds the right one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradsift.cleaning.cure import Cure
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.part_labels import WORDS, PartLabels
from gradsift.cleaning.sample_content import SampleContent
from gradsift.data import Samples
from gradsift.table import AuditedRun
from gradsift.tasks import NUMBERED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reviewed:
    """The decisions that stand and fit the data set.

    Attributes:
        decisions: Position to decision, without those that skip.
        unmatched: Decisions about samples whose content is no longer what it was; they change nothing.
        of_classes: Whether labels are classes, or say which pairs are swapped.
        part_labels: Of labels that are no classes, what writes them as the data set stores them, where it is at hand.
    """

    decisions: Mapping[int, Decision]
    unmatched: tuple[Decision, ...] = ()
    of_classes: bool = True
    part_labels: PartLabels | None = None

    @classmethod
    def of(cls, audit: AuditedRun, samples: Samples | None = None, *, label: str | None = None) -> Reviewed:
        """The decisions about an audit's samples; none where nobody has reviewed it.

        Args:
            audit: The audit.
            samples: The data set that was audited, in which each decision's sample is looked up by its content; without it
                it is believed.
            label: Column of labels that are no classes, where it has no usual name.

        Returns:
            The decisions. What does not match is logged.
        """
        of_classes = audit.kind in NUMBERED
        part_labels = PartLabels(audit, samples, label) if audit.kind in WORDS and samples is not None else None
        stored = Decisions.of(audit)
        if stored is None:
            return cls({}, (), of_classes, part_labels)
        with stored:
            standing = {place: decision for place, decision in stored.current().items() if decision.kind != "skip"}
        content = SampleContent(audit, samples)
        fits = {place for place, decision in standing.items() if content.fits(place, decision.content)}
        unmatched = tuple(decision for place, decision in standing.items() if place not in fits)
        if unmatched:
            logger.warning(
                "%d decisions are about samples that are no longer what they were, and change nothing (positions %s)",
                *(len(unmatched), ", ".join(str(decision.position) for decision in unmatched[:10])),
            )
        return cls({place: standing[place] for place in sorted(fits)}, unmatched, of_classes, part_labels)

    def __len__(self) -> int:
        """Number of decisions that fit."""
        return len(self.decisions)

    def positions(self, *kinds: str) -> np.ndarray:
        """Samples of some decisions.

        Args:
            *kinds: Kinds of decisions.

        Returns:
            Positions in rising order.
        """
        return np.array([place for place, decision in self.decisions.items() if decision.kind in kinds], dtype=np.int64)

    @property
    def relabelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the samples that get another class, and these classes."""
        positions = self.positions("relabel") if self.of_classes else np.arange(0)
        return positions, np.array([self.decisions[place].label for place in positions.tolist()], dtype=np.int64)

    def leaves(self, flagged: np.ndarray) -> np.ndarray:
        """Which samples stay in the data set with their given label.

        Args:
            flagged: Samples that are to go, shape (n,), boolean.

        Returns:
            Shape (n,), boolean: what is kept stays; what is dropped, relabelled or ambiguous goes.
        """
        stays = ~flagged
        stays[self.positions("keep")] = True
        stays[self.positions("relabel", "drop", "ambiguous")] = False
        return stays

    def over(self, cure: Cure) -> Cure:
        """A cure in which people have the last word.

        Args:
            cure: What the model says of all samples; with ``"none"`` nothing but what people say is done.

        Returns:
            The cure; the same one where nothing was decided.
        """
        if not len(self):
            return cure
        by_numbers = cure.targets is not None or cure.weights is not None
        kept = np.zeros(len(cure), dtype=bool)
        kept[cure.kept] = True
        relabelled, classes = self.relabelled
        parts = self._parts(cure)
        untold = () if self.of_classes or parts is not None else ("relabel",)
        kept[self.positions("keep")] = True
        kept[relabelled] = True
        kept[list(parts or ())] = True
        kept[self.positions("drop", *untold, *(() if by_numbers else ("ambiguous",)))] = False
        lost = np.setdiff1d(cure.given, cure.given[kept])
        if self.of_classes and len(lost) and cure.pairs is None:
            logger.warning("no sample of the classes %s is left, as people decided", ", ".join(map(str, lost[:10])))
        return replace(
            cure,
            how="reviewed" if cure.how == "none" else cure.how,
            kept=np.flatnonzero(kept),
            labels=self._labels(cure, relabelled, classes),
            parts=parts or None,
            targets=None if cure.targets is None else self.targets(cure.targets, cure.given),
            weights=None if cure.weights is None else self._weights(cure.weights, cure.given),
        )

    def targets(self, targets: np.ndarray, given_labels: np.ndarray) -> np.ndarray:
        """Probabilities of the true class as people have decided.

        Args:
            targets: What the model believes, shape (n, K).
            given_labels: Given labels, shape (n,).

        Returns:
            Shape (n, K): certain where a label was kept or replaced, as decided where it is ambiguous.
        """
        new, certain = targets.copy(), np.eye(targets.shape[1], dtype=targets.dtype)
        kept, (relabelled, classes) = self.positions("keep"), self.relabelled
        new[kept], new[relabelled] = certain[given_labels[kept]], certain[classes]
        for place in self.positions("ambiguous").tolist():
            if self.decisions[place].label is not None:
                new[place] = self.decisions[place].label
        return new

    def _parts(self, cure: Cure) -> dict[int, Any] | None:
        """New labels that are no classes, of the cure and of people; ``None`` where these cannot be written."""
        decided = {place: one.label for place, one in self.decisions.items() if one.kind == "relabel"}
        if self.of_classes or (decided and self.part_labels is None):
            return None
        of_cure = {place: label for place, label in (cure.parts or {}).items() if place not in self.decisions}
        return of_cure | (self.part_labels.stored(decided) if self.part_labels is not None else {})

    def _labels(self, cure: Cure, relabelled: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
        if cure.targets is not None or (cure.labels is None and not len(relabelled)):
            return cure.labels
        labels = (cure.given if cure.labels is None else cure.labels).copy()
        gone = self.positions("keep", "drop", "ambiguous")
        labels[gone], labels[relabelled] = cure.given[gone], classes
        return labels

    def _weights(self, weights: np.ndarray, given: np.ndarray) -> np.ndarray:
        new = weights.copy()
        new[self.positions("keep", "relabel")] = 1
        for place in self.positions("ambiguous").tolist():
            distribution = self.decisions[place].label
            if distribution is not None:
                new[place] = distribution[given[place]]
        return new
