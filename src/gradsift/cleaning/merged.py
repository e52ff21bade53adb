"""Decisions that were made apart, put together: of a copy of the run, of an export, of another audit of the same data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gradsift.cleaning.decision import Decision, in_utc
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.sample_content import SampleContent


@dataclass(frozen=True)
class Merged:
    """What became of decisions that were brought in.

    Attributes:
        added: Those that were saved.
        known: How many were there already, or were followed by a later one of the same reviewer.
        moved: How many of those added are about a sample that stood at another position then.
        unmatched: Those whose sample is not in the data set as it was; none of them was saved.
    """

    added: list[Decision]
    known: int
    moved: int
    unmatched: list[Decision]

    def words(self) -> str:
        """What became of them, as sentences."""
        sentences = [f"{len(self.added):,} decisions were added, {self.known:,} were there already."]
        if self.moved:
            sentences.append(f"{self.moved:,} of them are about samples that have another position now.")
        if self.unmatched:
            places = ", ".join(str(decision.position) for decision in self.unmatched[:10])
            sentences.append(
                f"{len(self.unmatched):,} match no sample of this run, whose content or label has changed, and were left "
                f"out (their positions were {places})."
            )
        return " ".join(sentences)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "added": len(self.added),
            "known": self.known,
            "moved": self.moved,
            "unmatched": [decision.position for decision in self.unmatched],
        }


def merge(decisions: Decisions, brought: Iterable[Decision], content: SampleContent) -> Merged:
    """Adds decisions that were made elsewhere, one step for each reviewer; doing it again adds nothing.

    A decision whose content fits at its position stays there. One whose content stands elsewhere in the data set moves
    there; of several equal samples each takes one. Of one reviewer and sample the latest stands.

    Args:
        decisions: The run's decisions, open for writing.
        brought: What is added.
        content: Hashes of the run's samples.

    Returns:
        What became of them.

    Raises:
        DataError: A decision cannot be meant for this run; none is saved.
    """
    placed, unmatched = _placed(list(brought), content)
    steps: dict[tuple[str, bool], dict[int, _Placed]] = defaultdict(dict)
    for placement in placed:
        decision = placement.decision
        decisions.labels.refuse_unfit(decision)
        slot, position = (decision.reviewer, decision.blind), decision.position
        rival = steps[slot][position].decision if position in steps[slot] else decisions.reading(position, *slot)
        if rival is None or _is_later(decision, rival):
            steps[slot][position] = placement
    added = [placement for step in steps.values() for placement in step.values()]
    for step in filter(None, steps.values()):
        decisions.add([placement.decision for placement in step.values()])
    moved = sum(placement.moved for placement in added)
    return Merged([placement.decision for placement in added], len(placed) - len(added), moved, unmatched)


def with_content(brought: Iterable[Decision], content: SampleContent) -> list[Decision]:
    """Decisions as other programs write them, with the hash of the sample at their position where they have none.

    Args:
        brought: The decisions.
        content: Hashes of the run's samples.

    Returns:
        The decisions, each with a hash, unless its position is outside of the data set.
    """
    return [
        replace(decision, content=content.hash(decision.position))
        if not decision.content and 0 <= decision.position < len(content)
        else decision
        for decision in brought
    ]


@dataclass(frozen=True)
class _Placed:
    """A decision at the position where its sample stands now, and whether it stood elsewhere."""

    decision: Decision
    moved: bool = False


def _is_later(decision: Decision, rival: Decision) -> bool:
    """Whether a decision says something else than another one of the same reading, and was made after it."""
    return in_utc(decision.at) > rival.at and (decision.word, decision.note) != (rival.word, rival.note)


def _placed(brought: list[Decision], content: SampleContent) -> tuple[list[_Placed], list[Decision]]:
    """Decisions at the positions where their samples stand now, and those whose sample is not there."""
    placed, lost = [], []
    for decision in brought:
        if content.fits(decision.position, decision.content):
            placed.append(_Placed(decision))
        else:
            lost.append(decision)
    places = content.places(decision.content for decision in lost) if lost else {}
    former: dict[str, list[int]] = defaultdict(list)  # equal samples: the first of them then is the first of them now
    for decision in lost:
        if decision.position not in former[decision.content]:
            former[decision.content].append(decision.position)
    unmatched = []
    for decision in lost:
        there, rank = places.get(decision.content, []), sorted(former[decision.content]).index(decision.position)
        if rank < len(there):
            placed.append(_Placed(replace(decision, position=there[rank]), moved=True))
        else:
            unmatched.append(decision)
    return placed, unmatched
