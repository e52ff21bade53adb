"""All that the pages show: an audit, its queue, its cards, and what was decided."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.learned import Learner
from gradsift.cleaning.sample_content import SampleContent
from gradsift.errors import SettingError
from gradsift.report.highlights import read_highlights
from gradsift.report.page import class_name
from gradsift.review.book import Book
from gradsift.review.cards import Cards
from gradsift.review.header import header
from gradsift.review.keys import default_keys
from gradsift.review.labels import decision_words
from gradsift.review.neighbours import Beside
from gradsift.review.order import expected_worth
from gradsift.review.queue import Query, Queue
from gradsift.review.texts import texts_of
from gradsift.table import AuditedRun, evidence_of

TIMED = 10
"""Fewest decisions whose median time is believed."""


class Desk:
    """An audit that is open for review.

    Args:
        audit: The audit.
        decisions: The decisions of its run, open for writing.
        train_set: The data set that was audited, where it is at hand.
        keys: Action to keys.
        second_reading: Share of decided samples that the other reviewers read, too.
        groups: Name to what gives the group of each sample, by which the queue can be ordered.

    Attributes:
        samples: The data set by position, where it is at hand.
        reading: Held while samples are read, for data sets that threads cannot share.

    Raises:
        DataError: The data set is not the one that was audited.
    """

    def __init__(
        self,
        audit: AuditedRun,
        decisions: Decisions,
        train_set: Any = None,
        *,
        keys: dict[str, list[str]] | None = None,
        second_reading: float = 0.1,
        groups: dict[str, Callable[[], np.ndarray]] | None = None,
    ) -> None:
        samples = None if train_set is None else audit.samples_of(train_set)
        self.samples, self.reading = samples, threading.Lock()
        evidence = evidence_of(audit)
        self._kinds = np.asarray(audit.table["reason_kind"].to_pylist())
        beside = Beside(evidence, self._kinds, samples)
        self.audit, self.keys = audit, keys or default_keys()
        self.has_samples = samples is not None
        self.cards = Cards(audit, evidence, beside, samples, read_highlights(audit.run), self.reading)
        self.book = Book(
            decisions, audit, SampleContent(audit, samples), second_reading=second_reading, reading=self.reading
        )
        orders = dict(groups or {})
        if beside.searched:
            orders["near duplicates"] = lambda: beside.groups(audit.flagged_positions)
        self._learner = Learner(audit)
        self.probabilities = self._learned = self._learner.prior
        self.queue = Queue(audit.table, turns(self.probabilities), texts=lambda: texts_of(samples), groups=orders)

    def about(self) -> dict[str, Any]:
        """What the page is filled with."""
        return {
            "audit": self.audit,
            "name": self.audit.run.path.name,
            "classes": self.cards.classes,
            "orders": self.queue.orders,
            "reasons": self.queue.reasons,
            "findings": self.queue.findings,
            "has_samples": self.has_samples,
            "reviewers": self.book.decisions.reviewers(),
        }

    def has(self, position: Any) -> bool:
        """Whether something is the position of a sample.

        Args:
            position: Anything.

        Returns:
            True where it is.
        """
        return type(position) is int and 0 <= position < len(self.audit)

    def positions(self, reviewer: str, query: Query, state: str) -> np.ndarray:
        """The samples that a reviewer asks for.

        Args:
            reviewer: Who.
            query: Order and filters.
            state: Whether they are decided: one of :data:`~gradsift.review.book.STATES`.

        Returns:
            Positions in order.
        """
        positions, shown = self.queue.positions(query), self.book.shows(reviewer, state)
        return positions if shown is None else positions[shown[positions]]

    def rows(self, reviewer: str, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Rows of the page's table.

        Args:
            reviewer: Whose decisions are shown.
            positions: The samples.

        Returns:
            A row each.
        """
        columns = [
            "id",
            "given_label",
            "suggested_label",
            "predicted_label",
            "score",
            "flagged",
            "reason_kind",
            "reason",
        ]
        rows = self.audit.table.select(columns).take(pa.array(positions, pa.int64())).to_pylist()
        return [
            {
                "position": position,
                "id": row["id"],
                "given": "" if self.audit.kind == "token" else class_name(self.audit, row["given_label"]),
                "suggested": class_name(self.audit, row["suggested_label"])
                if row["suggested_label"] is not None
                else "",
                "score": f"{row['score']:.4g}",
                "flagged": row["flagged"],
                "kind": row["reason_kind"].replace("_", " "),
                "reason": row["reason"],
                "decision": self.words(reviewer, position),
            }
            for position, row in zip(positions, rows, strict=True)
        ]

    def card(self, reviewer: str, position: int) -> dict[str, Any]:
        """What is shown of a sample.

        Args:
            reviewer: Whose decisions are shown; those of others are not.
            position: The sample.

        Returns:
            The content of its card.
        """
        decision = self.book.own(reviewer, position)
        return {
            "card": self.cards.card(position),
            "decision": self.words(reviewer, position),
            "note": decision.note if decision is not None else "",
            "said": decision.label if decision is not None and decision.kind == "relabel" else None,
            "has_samples": self.has_samples,
            "classes": self.cards.classes,
            "drawn": not self.queue.flagged[position],
        }

    def meant(self, positions: Sequence[int], kind: str, label: Any = None) -> dict[int, tuple[str, Any]]:
        """What a decision about several samples says of each.

        Args:
            positions: The samples.
            kind: One of :data:`~gradsift.cleaning.decision.KINDS`; ``"suggested"``: each gets its own suggested label;
                ``"halves"``: each is half of its given and half of its suggested class, or ambiguous as a whole.
            label: The label that goes with it; one that a sample has already is kept.

        Returns:
            Position to kind and label.

        Raises:
            SettingError: A position stands twice, or a sample has no suggested label.
        """
        if len(set(positions)) < len(positions):
            raise SettingError(
                "a decision names each sample once: the same position was given twice; nothing was saved"
            )
        if kind == "suggested":
            found = {position: self.cards.labels(position)["suggested"] for position in positions}
            without = [position for position, suggested in found.items() if suggested is None]
            if without:
                raise SettingError(
                    f"{len(without):,} of {len(positions):,} samples have no suggested label (positions "
                    f"{', '.join(map(str, without[:10]))}): give them another decision first; nothing was saved"
                )
            return {position: ("relabel", suggested) for position, suggested in found.items()}
        if kind == "halves":
            return {position: ("ambiguous", self._halves(position)) for position in positions}
        if kind == "relabel":
            given = {position: self.cards.labels(position)["given"] for position in positions}
            return {place: ("keep", None) if label == own else (kind, label) for place, own in given.items()}
        return dict.fromkeys(positions, (kind, label))

    def _halves(self, position: int) -> list[float] | None:
        """Half of the given and half of the suggested class; ``None`` where a sample has no two classes."""
        labels = self.cards.labels(position)
        if self.audit.kind != "class" or None in (labels["given"], labels["suggested"]):
            return None
        return [0.5 * (number in (labels["given"], labels["suggested"])) for number in range(len(self.cards.classes))]

    def words(self, reviewer: str, position: int) -> str:
        """What a reviewer has decided about a sample.

        Args:
            reviewer: Who.
            position: The sample.

        Returns:
            Such as ``relabel to dog``; empty where nothing stands.
        """
        decision = self.book.own(reviewer, position)
        return "" if decision is None else self.say(decision)

    def say(self, decision: Decision) -> str:
        """A decision in words.

        Args:
            decision: The decision.

        Returns:
            Such as ``relabel to dog``.
        """
        return decision_words(self.audit, self.cards.classes, decision, self.cards.given_tokens(decision.position))

    def conflicts(self) -> list[dict[str, Any]]:
        """Samples about which reviewers differ, with what each has said."""
        return [
            self.cards.row(position)
            | {
                "words": [
                    (decision.reviewer, self.say(decision)) for decision in self.book.decisions.readings(position)
                ]
            }
            for position in self.book.decisions.conflicts()[:200]
        ]

    def progress(self, reviewer: str) -> dict[str, Any]:
        """What the header shows.

        Args:
            reviewer: For whom.

        Returns:
            Its numbers and sentences.
        """
        left = self.positions(reviewer, Query(), "undecided")
        return header(self.book, reviewer, self.queue.flagged, self.probabilities, self._learned, left)

    def relearn(self) -> int:
        """Learns from all decisions, and puts what is left into another order.

        Returns:
            Number of decisions that it was learnt from.
        """
        standing = self.book.decisions.current()
        learned = self._learner.learn(standing)
        self._learned = learned.wrong
        self.queue.set_worth(turns(learned.wrong, seconds_by_kind(standing, self._kinds)))
        return learned.decisions


def turns(probabilities: np.ndarray, seconds: np.ndarray | float = 1.0) -> np.ndarray:
    """Which samples come first: by expected corrections a second.

    Args:
        probabilities: Probability that each given label is wrong, shape (n,).
        seconds: Seconds that a decision takes: one number, or shape (n,).

    Returns:
        Shape (n,): the higher, the earlier.
    """
    worth = np.empty(len(probabilities))
    worth[expected_worth(probabilities, seconds)] = np.arange(len(probabilities), 0, -1)
    return worth


def seconds_by_kind(standing: Mapping[int, Decision], kinds: np.ndarray) -> np.ndarray:
    """Seconds that a decision about each sample is expected to take: an ambiguous one may take twice as long.

    Args:
        standing: Position to decision.
        kinds: Kind of the reason of each sample, shape (n,).

    Returns:
        Shape (n,): the median of decided samples of the same kind, or of all where fewer than :data:`TIMED` were decided.
    """
    timed = [
        (position, decision.milliseconds / 1000) for position, decision in standing.items() if decision.milliseconds > 0
    ]
    if len(timed) < TIMED:
        return np.ones(len(kinds))
    places, taken = np.array([position for position, _ in timed]), np.array([seconds for _, seconds in timed])
    seconds = np.full(len(kinds), np.median(taken))
    for kind in np.unique(kinds[places]):
        own = taken[kinds[places] == kind]
        if len(own) >= TIMED:
            seconds[kinds == kind] = np.median(own)
    return seconds
