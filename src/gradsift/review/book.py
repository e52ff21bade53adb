"""The decisions of a run as a queue needs them: who has decided what about each sample, in arrays."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradsift.cleaning.decision import KINDS, Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.merged import Merged, merge, with_content
from gradsift.cleaning.review_numbers import WRONG, Standing
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
        self._seconds: dict[str, np.ndarray] = {}
        self._by = np.zeros(len(audit), dtype=np.int16)
        self._standing, self._taken = np.zeros(len(audit), dtype=np.int8), np.zeros(len(audit), dtype=np.float32)
        self._turn = threading.RLock()
        self._settle(decisions.current())

    def decide(
        self,
        reviewer: str,
        said: Mapping[int, tuple[str, Any]],
        note: str = "",
        milliseconds: int = 0,
        request: str = "",
    ) -> int:
        """Saves what was decided about some samples as one step; on the disk when this returns.

        Args:
            reviewer: Who decides.
            said: Position to one of :data:`~gradsift.cleaning.decision.KINDS` and the label that goes with it.
            note: Free text.
            milliseconds: Time that it took, which is shared among the samples.
            request: Token of the request that asks for it; one that was sent again saves nothing.

        Returns:
            Number of the step.

        Raises:
            DataError: The decision cannot be meant.
            RunDirectoryError: It cannot be saved.
        """
        positions = list(said)
        with self._turn:
            blind = all(self._reads_blindly(reviewer, position) for position in positions)
        ids, each = self._audit.table["id"], round(milliseconds / max(len(positions), 1))
        with self._reading:
            hashes = [self._content.hash(position) for position in positions]
        decisions = [
            Decision(position, ids[position].as_py(), content, reviewer, *said[position], note, each, blind=blind)
            for position, content in zip(positions, hashes, strict=True)
        ]
        step = self.decisions.add(decisions, request)
        self._settle(positions)
        return step

    def bring(self, brought: Iterable[Decision]) -> Merged:
        """Adds decisions that were made elsewhere; doing it again adds nothing.

        Args:
            brought: What is added; one without a hash of its content is matched by its position.

        Returns:
            What became of them.

        Raises:
            DataError: A decision cannot be meant for this run; none is saved.
            RunDirectoryError: They cannot be saved.
        """
        with self._reading:
            merged = merge(self.decisions, with_content(brought, self._content), self._content)
        self._settle(sorted({decision.position for decision in merged.added}))
        return merged

    def turn_back(self, reviewer: str, action: str, request: str = "") -> list[int]:
        """Undoes or redoes one step of a reviewer.

        Args:
            reviewer: Who.
            action: ``"undo"`` or ``"redo"``.
            request: Token of the request that asks for it; one that was sent again changes nothing.

        Returns:
            Positions of the samples whose decision changed.
        """
        change = self.decisions.undo if action == "undo" else self.decisions.redo
        changed = change(reviewer, request)
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
        own = [decision for decision in self.decisions.readings(position) if decision.reviewer == reviewer]
        return own[-1] if own else None

    def kinds(self, reviewer: str) -> np.ndarray:
        """What a reviewer has decided, as numbers of :data:`CODES`.

        Args:
            reviewer: Who.

        Returns:
            Shape (n,), 0 where nothing.
        """
        return self._codes.get(reviewer, np.zeros(len(self._by), dtype=np.int8))

    def seconds(self, reviewer: str) -> float:
        """How fast a reviewer decides.

        Args:
            reviewer: Who.

        Returns:
            Median seconds of a decision; NaN before the first one whose time is known.
        """
        with self._turn:
            taken = self._seconds.get(reviewer, np.zeros(0))
            taken = taken[taken > 0]
        return float(np.median(taken)) if len(taken) else float("nan")

    def standing(self) -> Standing:
        """The decisions that stand, of all reviewers, in arrays."""
        with self._turn:
            positions = np.flatnonzero((self._standing != 0) & (self._standing != SKIP))
            wrong = np.isin(self._standing[positions], [CODES[kind] for kind in WRONG])
            skipped = int((self._standing == SKIP).sum())
            return Standing(positions, wrong, skipped, self._taken[self._taken > 0])

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
            in_conflict = np.zeros(len(own), dtype=bool)
            in_conflict[self.decisions.conflicts()] = True
            return in_conflict
        if state.startswith("by:"):
            return self.kinds(state.removeprefix("by:")) != 0
        raise SettingError(f"samples are {', '.join(STATES)}, or by:NAME; given {state!r}")

    def _settle(self, positions: Iterable[int]) -> None:
        """Brings the arrays up to date."""
        with self._turn:
            for position in positions:
                latest = {decision.reviewer: decision for decision in self.decisions.readings(position)}
                for reviewer in {*self._codes, *latest}:
                    self._set(reviewer, position, latest.get(reviewer))
                stands = self.decisions.decision(position)
                self._standing[position], self._taken[position] = _code(stands), _seconds(stands)

    def _set(self, reviewer: str, position: int, decision: Decision | None) -> None:
        if reviewer not in self._codes:
            self._codes[reviewer] = np.zeros(len(self._by), dtype=np.int8)
            self._seconds[reviewer] = np.zeros(len(self._by), dtype=np.float32)
        codes, code = self._codes[reviewer], _code(decision)
        self._by[position] += int(code not in (0, SKIP)) - int(codes[position] not in (0, SKIP))
        codes[position], self._seconds[reviewer][position] = code, _seconds(decision)

    def _reads_blindly(self, reviewer: str, position: int) -> bool:
        """Whether a decision is a second reading: somebody else's stands, and it changes no first one of the reviewer."""
        own = self.kinds(reviewer)[position]
        others = bool(self._by[position] - (own not in (0, SKIP)) > 0)
        first = self.decisions.reading(position, reviewer)
        return others and (first is None or first.kind == "skip")


def _code(decision: Decision | None) -> int:
    return 0 if decision is None else CODES[decision.kind]


def _seconds(decision: Decision | None) -> float:
    return 0.0 if decision is None else decision.milliseconds / 1000
