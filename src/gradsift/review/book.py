"""The decisions of a run as a queue needs them: who has decided what about each sample, in arrays."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradsift.cleaning.decision import KINDS, Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.sample_content import SampleContent
from gradsift.errors import SettingError
from gradsift.table import AuditedRun

STATES = {
    "undecided": "not decided yet",
    "decided": "decided by me",
    "skipped": "skipped by me",
    "conflict": "reviewers differ",
    "any": "decided or not",
}
"""What a reviewer may ask for."""
CODES = {kind: number for number, kind in enumerate(KINDS, 1)}
SKIP = CODES["skip"]
_GOLDEN = 2654435761
"""Spreads positions over 32 bits (Knuth)."""


class Book:
    """Saves decisions, and keeps what stands in arrays; threads may share it.

    A sample that others have decided is not shown again, but for a share of them: that is a second reading, which is
    blind, for a reviewer sees only decisions of their own.

    Args:
        decisions: The decisions of the run, open for writing.
        audit: The audit.
        content: Hashes of its samples.
        second_reading: Share of decided samples that the other reviewers read, too, in [0, 1].
        reading: Held while a sample is read, for data sets that threads cannot share.
    """

    def __init__(
        self,
        decisions: Decisions,
        audit: AuditedRun,
        content: SampleContent,
        *,
        second_reading: float = 0.1,
        reading: threading.Lock | None = None,
    ) -> None:
        self.decisions, self._audit, self._content = decisions, audit, content
        self._reading = reading or threading.Lock()
        spread = (np.arange(len(audit), dtype=np.uint64) * np.uint64(_GOLDEN)) % np.uint64(2**32)
        self._read_twice = spread < second_reading * 2**32
        self._codes: dict[str, np.ndarray] = {}
        self._by = np.zeros(len(audit), dtype=np.int16)
        self._turn = threading.RLock()
        for reviewer in decisions.reviewers():
            for position, decision in decisions.current(reviewer).items():
                self._set(reviewer, position, CODES[decision.kind])

    def decide(
        self,
        reviewer: str,
        positions: Sequence[int],
        kind: str,
        label: Any = None,
        note: str = "",
        milliseconds: int = 0,
    ) -> int:
        """Saves one decision about some samples; on the disk when this returns.

        Args:
            reviewer: Who decides.
            positions: The samples.
            kind: One of :data:`~gradsift.cleaning.decision.KINDS`.
            label: The label that goes with it.
            note: Free text.
            milliseconds: Time that it took, which is shared among the samples.

        Returns:
            Number of the step.

        Raises:
            DataError: The decision cannot be meant.
            RunDirectoryError: It cannot be saved.
        """
        with self._turn:
            blind = all(self._others(reviewer, position) for position in positions)
        ids, each = self._audit.table["id"], round(milliseconds / max(len(positions), 1))
        with self._reading:
            hashes = [self._content.hash(position) for position in positions]
        decisions = [
            Decision(position, ids[position].as_py(), content, reviewer, kind, label, note, each, blind=blind)
            for position, content in zip(positions, hashes, strict=True)
        ]
        step = self.decisions.add(decisions)
        self._settle(positions)
        return step

    def turn_back(self, reviewer: str, action: str) -> list[int]:
        """Undoes or redoes one step of a reviewer.

        Args:
            reviewer: Who.
            action: ``"undo"`` or ``"redo"``.

        Returns:
            Positions of the samples whose decision changed.
        """
        changed = self.decisions.undo(reviewer) if action == "undo" else self.decisions.redo(reviewer)
        self._settle(changed)
        return changed

    def own(self, reviewer: str, position: int) -> Decision | None:
        """What a reviewer has decided about a sample.

        Args:
            reviewer: Who.
            position: The sample.

        Returns:
            The decision that stands.
        """
        own = [one for one in self.decisions.readings(position) if one.reviewer == reviewer]
        return own[-1] if own else None

    def kinds(self, reviewer: str) -> np.ndarray:
        """What a reviewer has decided, as numbers of :data:`CODES`.

        Args:
            reviewer: Who.

        Returns:
            Shape (n,), 0 where nothing.
        """
        return self._codes.get(reviewer, np.zeros(len(self._by), dtype=np.int8))

    def shows(self, reviewer: str, state: str) -> np.ndarray | None:
        """Which samples are in a state for a reviewer.

        Args:
            reviewer: Who asks.
            state: One of :data:`STATES`, or ``by:`` and the name of a reviewer.

        Returns:
            Shape (n,), boolean; ``None`` for all.

        Raises:
            SettingError: There is no such state.
        """
        own = self.kinds(reviewer)
        if state == "any":
            return None
        if state == "undecided":
            others = self._by - ((own != 0) & (own != SKIP))
            return (own == 0) & ((others == 0) | self._read_twice)
        if state == "decided":
            return (own != 0) & (own != SKIP)
        if state == "skipped":
            return own == SKIP
        if state == "conflict":
            found = np.zeros(len(own), dtype=bool)
            found[self.decisions.conflicts()] = True
            return found
        if state.startswith("by:"):
            return self.kinds(state.removeprefix("by:")) != 0
        raise SettingError(f"samples are {', '.join(STATES)}, or by:NAME; given {state!r}")

    def _settle(self, positions: Sequence[int]) -> None:
        """Brings the arrays up to date."""
        with self._turn:
            for position in positions:
                found = {one.reviewer: CODES[one.kind] for one in self.decisions.readings(position)}
                for reviewer in {*self._codes, *found}:
                    self._set(reviewer, position, found.get(reviewer, 0))

    def _set(self, reviewer: str, position: int, code: int) -> None:
        codes = self._codes.setdefault(reviewer, np.zeros(len(self._by), dtype=np.int8))
        self._by[position] += int(code not in (0, SKIP)) - int(codes[position] not in (0, SKIP))
        codes[position] = code

    def _others(self, reviewer: str, position: int) -> bool:
        """Whether somebody else has decided about a sample."""
        own = self.kinds(reviewer)[position]
        return bool(self._by[position] - (own not in (0, SKIP)) > 0)
