"""What a person decided about a sample, and whether it can be meant for a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.errors import DataError, RunDirectoryError
from gradsift.table import AuditedRun
from gradsift.tasks import NUMBERED

KINDS = ("keep", "relabel", "drop", "ambiguous", "skip")
"""What can be decided: the label is right; it is another one; the sample goes; no single label is right; not now."""
LONGEST = 10_000
"""Most characters of a note."""


@dataclass(frozen=True)
class Decision:
    """What a person decided about one sample.

    Example:
        >>> decision = Decision(7, "7", "data:ab12", "ann", "relabel", label=2, milliseconds=900)
        >>> decision.word
        ('relabel', '2')

    Attributes:
        position: Position of the sample in the data set that was audited.
        sample_id: Its id in the table.
        content: Hash of its content, as :class:`~gradsift.cleaning.sample_content.SampleContent` gives it.
        reviewer: Who decided.
        kind: One of :data:`KINDS`.
        label: With ``relabel`` the right label: a class number; of several yes-or-no labels the classes that hold; of
            tokens a class for each labelled one; of regression the value, or one a target. With ``ambiguous`` K
            probabilities, or ``None`` where nobody can tell. ``None`` otherwise.
        note: Free text.
        milliseconds: Time that it took, from the moment when the sample was shown.
        at: Time of the decision, ISO 8601.
        blind: Whether it is a second reading by somebody who did not see the first.
    """

    position: int
    sample_id: str
    content: str
    reviewer: str
    kind: str
    label: Any = None
    note: str = ""
    milliseconds: int = 0
    at: str = ""
    blind: bool = False

    @property
    def word(self) -> tuple[str, str]:
        """What was decided, without who, when and how: kind and label. Equal words are no conflict."""
        return self.kind, json.dumps(self.label)


@dataclass(frozen=True)
class Recorded:
    """An entry of a sample's history.

    Attributes:
        step: Number of the step.
        action: ``"decide"``, ``"undo"`` or ``"redo"``.
        decision: The decision that was made, undone or done again.
        stands: The decision of this reading that stands from then on.
    """

    step: int
    action: str
    decision: Decision
    stands: Decision | None


@dataclass(frozen=True)
class Labels:
    """Which decisions a run allows.

    Attributes:
        size: Number of samples n.
        kind: ``"class"``, ``"multilabel"``, ``"value"``, ``"pair"``, or ``None`` where samples have no single
            kind of label.
        classes: Number of classes K; ``None`` where it is not known.
        targets: Number of values of a sample, where labels are values.
        tokens: Number of labelled tokens of each sample, shape (n,), where tokens have classes.
    """

    size: int
    kind: str | None
    classes: int | None
    targets: int = 1
    tokens: np.ndarray | None = field(default=None, compare=False)

    @classmethod
    def of_audit(cls, audit: AuditedRun) -> Labels:
        """What the labels of an audit are.

        Args:
            audit: The audit.

        Returns:
            Number of samples and classes, and the kind of labels.
        """
        kind, classes = audit.kind, None
        if kind in ("class", "multilabel", "pair"):
            try:
                classes = audit.run.statistic("prediction").shape[1]
            except RunDirectoryError:  # the run has stored no predictions
                classes = len(audit.class_names) if audit.class_names else None
        if kind == "token" and audit.tokens is not None:
            counts = np.bincount(audit.tokens["position"].to_numpy(), minlength=len(audit))
            return cls(len(audit), kind, audit.token_classes, tokens=counts)
        given = audit.table["given_label"]
        several = kind == "value" and pa.types.is_list(given.type) and given[0].is_valid
        return cls(len(audit), kind, classes, targets=len(given[0]) if several else 1)

    def refuse_unfit(self, decision: Decision) -> None:
        """Refuses a decision that cannot be meant.

        Args:
            decision: The decision.

        Raises:
            DataError: No such sample, class or kind, or a field of another form.
        """
        problem = self._problem(decision)
        if problem:
            raise DataError(f"the decision about position {decision.position} {problem}; nothing was saved")

    def _problem(self, decision: Decision) -> str | None:
        """What is wrong with a decision, in words; ``None`` where nothing is."""
        if not _is_number(decision.position) or not 0 <= decision.position < self.size:
            return f"is about no sample: positions are whole numbers from 0 to {self.size - 1}"
        if decision.kind not in KINDS:
            return f"is of the kind {decision.kind!r}: the kinds are {', '.join(KINDS)}"
        if not isinstance(decision.reviewer, str) or not 0 < len(decision.reviewer.strip()) <= 200:
            return "names no reviewer: give a name of at most 200 characters"
        texts = (decision.reviewer, decision.note, decision.sample_id, decision.content)
        if not all(isinstance(text, str) and _is_unicode(text) for text in texts):
            return "has a text that is no Unicode: send UTF-8"
        if len(decision.note) > LONGEST:
            return f"has a note of {len(decision.note)} characters: at most {LONGEST:,} are kept"
        if not _is_number(decision.milliseconds) or decision.milliseconds < 0:
            return f"took {decision.milliseconds!r} milliseconds: give a whole number from 0"
        if decision.at and not _is_time(decision.at):
            return f"was made at {decision.at!r}: give a time in ISO 8601, such as 2026-01-31T12:00:00+00:00"
        if decision.kind == "relabel":
            return self._problem_of_label(decision.label, decision.position)
        if decision.kind == "ambiguous":
            return self._problem_of_distribution(decision.label)
        return None if decision.label is None else f"has a label, which {decision.kind!r} does not take: leave it out"

    def _problem_of_label(self, label: Any, position: int) -> str | None:
        if label is None:
            return "gives no label: 'relabel' needs the right one"
        if self.kind in NUMBERED:
            return None if self._is_class(label) else f"gives the label {label!r}, which is no class: {self._classes}"
        if self.kind == "multilabel":
            fit = isinstance(label, list) and all(map(self._is_class, label)) and len(set(label)) == len(label)
            return None if fit else f"gives the labels {label!r}: give a list of classes, each once; {self._classes}"
        if self.kind == "value":
            values = label if isinstance(label, list) else [label]
            fit = len(values) == self.targets and all(_is_finite(value) for value in values)
            needed = "a finite number" if self.targets == 1 else f"a list of {self.targets} finite numbers"
            return None if fit else f"gives the value {label!r}: give {needed}"
        if self.tokens is not None:
            count = int(self.tokens[position])
            fit = isinstance(label, list) and len(label) == count and all(map(self._is_class, label))
            needed = f"a list with a class for each of its {count} labelled tokens"
            return None if fit else f"gives the labels {label!r:.200}: give {needed}; {self._classes}"
        try:
            json.dumps(label, allow_nan=False)
        except (TypeError, ValueError):
            return f"gives the label {label!r}, which JSON cannot hold"
        return None

    def _problem_of_distribution(self, label: Any) -> str | None:
        if label is None:
            return None
        if self.kind != "class":
            return "gives probabilities, which only samples of one class each have: leave the label out"
        fit = isinstance(label, list) and len(label) == self.classes and all(map(_is_finite, label))
        fit = fit and min(label) >= 0 and abs(sum(label) - 1) < 1e-3
        return None if fit else f"gives {label!r}: give {self.classes} probabilities that sum to 1, or no label"

    def _is_class(self, label: Any) -> bool:
        return _is_number(label) and label >= 0 and (self.classes is None or label < self.classes)

    @property
    def _classes(self) -> str:
        return f"classes are whole numbers from 0{'' if self.classes is None else f' to {self.classes - 1}'}"


def _is_number(value: Any) -> bool:
    """Whether a value is a whole number that SQLite can hold."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) < 2**63


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | np.floating) and not isinstance(value, bool) and math.isfinite(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\0" not in text


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True


def now() -> str:
    """This time, as decisions carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def in_utc(at: str) -> str:
    """A time as decisions carry it, so that later times are greater strings.

    Args:
        at: ISO 8601; without an offset it is UTC.

    Returns:
        The same time in UTC, to the millisecond.
    """
    time = datetime.fromisoformat(at)
    return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC).isoformat(timespec="milliseconds")
