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
        told = [f"{len(self.added):,} decisions were added, {self.known:,} were there already."]
        if self.moved:
            told.append(f"{self.moved:,} of them are about samples that have another position now.")
        if self.unmatched:
            places = ", ".join(str(one.position) for one in self.unmatched[:10])
            told.append(
                f"{len(self.unmatched):,} match no sample of this run, whose content or label has changed, and were left "
                f"out (their positions were {places})."
            )
        return " ".join(told)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "added": len(self.added),
            "known": self.known,
            "moved": self.moved,
            "unmatched": [one.position for one in self.unmatched],
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
    for one in placed:
        decisions.labels.refuse_unfit(one.decision)
        slot, position = (one.decision.reviewer, one.decision.blind), one.decision.position
        rival = steps[slot][position].decision if position in steps[slot] else decisions.reading(position, *slot)
        if rival is None or _is_later(one.decision, rival):
            steps[slot][position] = one
    added = [one for step in steps.values() for one in step.values()]
    for step in filter(None, steps.values()):
        decisions.add([one.decision for one in step.values()])
    moved = sum(one.moved for one in added)
    return Merged([one.decision for one in added], len(placed) - len(added), moved, unmatched)


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
    here = [content.fits(one.position, one.content) for one in brought]
    placed = [_Placed(one) for one, fits in zip(brought, here, strict=True) if fits]
    lost = [one for one, fits in zip(brought, here, strict=True) if not fits]
    places = content.places(one.content for one in lost) if lost else {}
    former: dict[str, list[int]] = defaultdict(list)  # equal samples: the first of them then is the first of them now
    for one in lost:
        if one.position not in former[one.content]:
            former[one.content].append(one.position)
    unmatched = []
    for one in lost:
        there, rank = places.get(one.content, []), sorted(former[one.content]).index(one.position)
        if rank < len(there):
            placed.append(_Placed(replace(one, position=there[rank]), moved=True))
        else:
            unmatched.append(one)
    return placed, unmatched
