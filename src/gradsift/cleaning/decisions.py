"""What people decided about the samples of a run: kept for good, undone and done again at any depth."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from gradsift.cleaning.agreement import Agreement
from gradsift.cleaning.decision import KINDS, Decision, Labels, Recorded, in_utc, now
from gradsift.cleaning.decision_file import DecisionFile, Row, Step
from gradsift.errors import DataError
from gradsift.locations import Location
from gradsift.table import AuditedRun

__all__ = ["KINDS", "Decision", "Decisions", "Recorded"]

Slot = tuple[str, bool]
"""Who read a sample, and whether blindly: each reading has a decision of its own."""


class Decisions:
    """The decisions of people about the samples of a run, in ``decisions.sqlite`` of the run directory.

    Those about a run in a store lie on this machine, below ``$XDG_DATA_HOME`` or ``~/.local/share``.

    Each step adds rows and changes none; all that stands is also held in memory (about 1 kB a decision). One process
    writes at a time, and a second one is refused: several people share one server, whose threads may call this object at
    once. Others read meanwhile (:meth:`read`), and see what stood when they opened it.

    Of several readings of one sample the latest stands; but a skip only where all skip, and a blind second reading only
    where there is no other: it is there to measure agreement.

    Example:
        >>> import numpy as np
        >>> from gradsift import audit_predictions
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.95, 0.05]])
        >>> _ = audit_predictions([0, 0, 1, 1], probabilities, output="run", show_progress=False)
        >>> with Decisions.open("run") as decisions:
        ...     step = decisions.add([Decision(3, "3", "table:ab12", "ann", "relabel", 0)])
        ...     (len(decisions), decisions.undo("ann"), len(decisions))
        (1, [3], 0)

    Attributes:
        labels: Which decisions the run allows.
        agreement: Where reviewers agree, and where they differ.
    """

    def __init__(self, file: DecisionFile, labels: Labels) -> None:
        self.labels, self._file, self._turn = labels, file, threading.RLock()
        self._slots: dict[int, dict[Slot, int]] = defaultdict(dict)
        self._rows: dict[int, Row] = {}
        self._of_step: dict[int, list[int]] = defaultdict(list)
        self._current: dict[int, Decision] = {}
        self.agreement = Agreement()
        self._counts: Counter[str] = Counter()
        self._done: dict[str, list[int]] = defaultdict(list)
        self._undone: dict[str, list[int]] = defaultdict(list)
        self._steps, self._last_row = 0, 0
        self._replay()

    @classmethod
    def open(cls, run_directory: str | Location, *, create: bool = True) -> Self:
        """Opens the decisions of a run for writing.

        Args:
            run_directory: The run directory.
            create: Whether a new file is made where there is none.

        Returns:
            The decisions; a context manager that closes them.

        Raises:
            RunDirectoryError: There is no whole run, or its decisions are damaged, of another run, held by another
                process, or cannot be written. Nothing of them is changed.
        """
        audit = AuditedRun.open(run_directory)
        return cls._replayed(DecisionFile.to_write(audit.run.path, _fingerprint(audit), create=create), audit)

    @classmethod
    def read(cls, run_directory: str | Location) -> Self | None:
        """Opens the decisions of a run for reading, also where the folder cannot be written or a server writes them.

        Args:
            run_directory: The run directory.

        Returns:
            The decisions; ``None`` where the run has none.

        Raises:
            RunDirectoryError: They are damaged, or of another run.
        """
        return cls.of(AuditedRun.open(run_directory))

    @classmethod
    def of(cls, audit: AuditedRun) -> Self | None:
        """The same of an audit that is open.

        Args:
            audit: The audit.

        Returns:
            The decisions; ``None`` where its run has none.
        """
        file = DecisionFile.to_read(audit.run.path, _fingerprint(audit))
        return None if file is None else cls._replayed(file, audit)

    @classmethod
    def _replayed(cls, file: DecisionFile, audit: AuditedRun) -> Self:
        try:
            return cls(file, Labels.of_audit(audit))
        except BaseException:
            file.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()

    def close(self) -> None:
        """Closes the file; other processes may write it then."""
        with self._turn:
            self._file.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def __len__(self) -> int:
        """Number of samples about which a decision stands."""
        return len(self._current)

    def add(self, decisions: Sequence[Decision], request: str = "") -> int:
        """Saves decisions of one reviewer as one step, which is undone at once; on the disk when this returns.

        What was undone before by the same reviewer can no longer be done again.

        Args:
            decisions: At least one, each about another sample. A time that is left out is now.
            request: Token of the request that asks for it; one that was sent again adds nothing.

        Returns:
            Number of the step.

        Raises:
            DataError: A decision cannot be meant for this run; none of them is saved.
            RunDirectoryError: They cannot be written; none of them is saved.
        """
        made = now()
        for decision in decisions:
            self.labels.refuse_unfit(decision)
        decisions = [replace(decision, at=in_utc(decision.at) if decision.at else made) for decision in decisions]
        if len({(decision.reviewer, decision.blind) for decision in decisions}) != 1:
            raise DataError(
                "a step holds at least one decision, all of one reviewer, all first readings or all second ones: split it"
            )
        if len({decision.position for decision in decisions}) < len(decisions):
            raise DataError("a step decides about each sample once: the same position was given twice")
        with self._turn:
            reviewer, first = decisions[0].reviewer, self._last_row + 1
            before = self._file.step_of(reviewer, request)
            if before is not None:
                return before
            step = Step(self._steps + 1, reviewer, "decide", None, made)
            rows = [
                Row(number, step.number, decision, self._standing_row(decision), number)
                for number, decision in enumerate(decisions, first)
            ]
            self._append(step, rows, request)
            return step.number

    def done_by(self, reviewer: str, request: str) -> list[int] | None:
        """What a request has already done.

        Args:
            reviewer: Whose request it is.
            request: Its token.

        Returns:
            Positions of the samples about which its step is; ``None`` where it made none.
        """
        with self._turn:
            step = self._file.step_of(reviewer, request)
            return None if step is None else [self._rows[number].decision.position for number in self._of_step[step]]

    def undo(self, reviewer: str, request: str = "") -> list[int]:
        """Takes back the last step of a reviewer that stands.

        Args:
            reviewer: Who.
            request: Token of the request that asks for it; one that was sent again takes nothing more back.

        Returns:
            Positions of the samples whose decision changed; none where nothing is left to undo.
        """
        return self._turn_back(reviewer, "undo", self._done, request)

    def redo(self, reviewer: str, request: str = "") -> list[int]:
        """Does again what a reviewer has undone last, unless they have decided since.

        Args:
            reviewer: Who.
            request: Token of the request that asks for it; one that was sent again does nothing more.

        Returns:
            Positions of the samples whose decision changed; none where nothing is left to do again.
        """
        return self._turn_back(reviewer, "redo", self._undone, request)

    def current(self, reviewer: str | None = None) -> dict[int, Decision]:
        """The decisions that stand.

        Args:
            reviewer: Those of one reviewer, who reads blindly or not; of all where left out.

        Returns:
            Position to decision.
        """
        with self._turn:
            if reviewer is None:
                return dict(self._current)
            own = {
                position: {slot: number for slot, number in slots.items() if slot[0] == reviewer}
                for position, slots in self._slots.items()
            }
            return {position: self._first_word(slots) for position, slots in own.items() if slots}

    def decision(self, position: int) -> Decision | None:
        """The decision that stands about one sample.

        Args:
            position: The sample.

        Returns:
            The decision, where there is one.
        """
        return self._current.get(position)

    def readings(self, position: int) -> list[Decision]:
        """What each reviewer has decided about a sample and stands, the earliest first.

        Args:
            position: The sample.

        Returns:
            One decision a reviewer, and one more of who has read it blindly, too.
        """
        with self._turn:
            return [self._rows[number].decision for number in sorted(self._slots.get(position, {}).values())]

    def reading(self, position: int, reviewer: str, blind: bool = False) -> Decision | None:
        """What one reviewer has decided about a sample and stands.

        Args:
            position: The sample.
            reviewer: Who.
            blind: Whether the blind second reading is meant.

        Returns:
            The decision, where there is one.
        """
        with self._turn:
            return self._decision_of(self._slots.get(position, {}).get((reviewer, blind)))

    def conflicts(self) -> list[int]:
        """Samples about which reviewers say different things; who skips says nothing.

        Returns:
            Positions in rising order.
        """
        with self._turn:
            return self.agreement.conflicts

    def history(self, position: int) -> list[Recorded]:
        """All that was ever decided about a sample, in order.

        Args:
            position: The sample.

        Returns:
            The entries; those that were undone, too.
        """
        with self._turn:
            actions = {step.number: step.action for step in self._file.steps()}
            return [
                Recorded(row.step, actions[row.step], row.decision, self._decision_of(row.stands))
                for row in self._file.rows(position)
            ]

    def counts(self) -> dict[str, int]:
        """Number of samples by what stands about them.

        Returns:
            Each of :data:`KINDS` to a number.
        """
        with self._turn:
            return {kind: self._counts[kind] for kind in KINDS}

    def reviewers(self) -> list[str]:
        """Who has ever decided.

        Returns:
            Names in order.
        """
        with self._turn:
            return sorted({*self._done, *self._undone})

    def _turn_back(self, reviewer: str, action: str, stack: dict[str, list[int]], request: str) -> list[int]:
        with self._turn:
            before = self.done_by(reviewer, request)
            if before is not None:
                return before
            if not stack.get(reviewer):
                return []
            of_step = stack[reviewer][-1]
            step, first = Step(self._steps + 1, reviewer, action, of_step, now()), self._last_row + 1
            rows = []
            for number, made in enumerate(self._of_step[of_step], first):
                row = self._rows[made]
                stands = row.previous if action == "undo" else made
                rows.append(Row(number, step.number, row.decision, self._standing_row(row.decision), stands))
            self._append(step, rows, request)
            return [row.decision.position for row in rows]

    def _append(self, step: Step, rows: Sequence[Row], request: str) -> None:
        self._file.append(step, rows, request)
        self._take(step, rows)
        for position in {row.decision.position for row in rows}:
            self._settle(position)

    def _replay(self) -> None:
        """Reads the whole file."""
        of_step: dict[int, list[Row]] = defaultdict(list)
        for row in self._file.rows():
            of_step[row.step].append(row)
        for step in self._file.steps():
            self._take(step, of_step[step.number])
        for position in self._slots:
            self._settle(position)

    def _take(self, step: Step, rows: Iterable[Row]) -> None:
        """Holds in memory what a step did."""
        self._steps = step.number
        for row in rows:
            self._rows[row.number], self._last_row = row, row.number
            self._of_step[step.number].append(row.number)
            slots, slot = self._slots[row.decision.position], (row.decision.reviewer, row.decision.blind)
            if row.stands is None:
                slots.pop(slot, None)
            else:
                slots[slot] = row.stands
        done, undone = self._done[step.reviewer], self._undone[step.reviewer]
        if step.action == "decide":
            done.append(step.number)
            undone.clear()
        elif step.action == "undo":
            undone.append(done.pop())
        else:
            done.append(undone.pop())

    def _settle(self, position: int) -> None:
        """Brings what stands about a sample up to date."""
        before = self._current.pop(position, None)
        if before is not None:
            self._counts[before.kind] -= 1
        slots = self._slots[position]
        if slots:
            now = self._current[position] = self._first_word(slots)
            self._counts[now.kind] += 1
        self.agreement.settle(position, self.readings(position))

    def _first_word(self, slots: dict[Slot, int]) -> Decision:
        """The decision that stands above the others."""

        def precedence(number: int) -> tuple[bool, bool, str, int]:
            decision = self._rows[number].decision
            return decision.kind != "skip", not decision.blind, decision.at, number

        return self._rows[max(slots.values(), key=precedence)].decision

    def _standing_row(self, decision: Decision) -> int | None:
        return self._slots.get(decision.position, {}).get((decision.reviewer, decision.blind))

    def _decision_of(self, number: int | None) -> Decision | None:
        return None if number is None else self._rows[number].decision


def _fingerprint(audit: AuditedRun) -> str:
    return str(audit.details.get("fingerprint"))
