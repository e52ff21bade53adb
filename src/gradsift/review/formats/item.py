"""What all formats write and read: samples with what was decided about them, and names of classes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gradsift.cleaning.decision import Decision
from gradsift.errors import DataError

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Item:
    """A sample with what was decided about it, as formats write it.

    Attributes:
        position: Its position.
        sample_id: Its id.
        content: Hash of its content.
        preview: A short text that shows it.
        given: Its given label in words; of several labels, or of tokens, a list of them.
        suggested: The label that the audit suggests, likewise; empty where there is none.
        wrong: Probability that the given label is wrong; ``None`` where it is not known.
        decisions: What was decided.
        words: Where tokens have labels: each word, and its place among the labelled ones.
    """

    position: int
    sample_id: str
    content: str
    preview: str = ""
    given: str | list[str] = ""
    suggested: str | list[str] = ""
    wrong: float | None = None
    decisions: Sequence[Decision] = field(default=())
    words: Sequence[tuple[str, int | None]] = field(default=())


@dataclass(frozen=True)
class Names:
    """Names of the classes.

    Attributes:
        names: In the order of their numbers; ``None`` where numbers are the names.
        several: Whether a sample's label is a list, of several labels that hold or of those of its tokens.
    """

    names: Sequence[str] | None = None
    several: bool = False

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Name to number; the first of equal names."""
        names = self.names or ()
        return dict(zip(reversed(names), reversed(range(len(names))), strict=True))

    def of(self, label: Any) -> Any:
        """A label in words.

        Args:
            label: A class number, a list of them, or anything else.

        Returns:
            The name, a list of names, or the label itself.
        """
        if isinstance(label, list):
            return [self.of(number) for number in label]
        known = self.names is not None and type(label) is int and 0 <= label < len(self.names)
        return self.names[label] if known and self.names is not None else label

    def words(self, label: Any) -> str | list[str]:
        """A label as text.

        Args:
            label: As decisions have it; ``None`` for no label.

        Returns:
            Its name, or a list of names; empty where there is none.
        """
        if isinstance(label, list):
            return [str(self.of(number)) for number in label]
        return "" if label is None else str(self.of(label))

    def number(self, name: Any) -> Any:
        """The reverse of :meth:`of`.

        Args:
            name: A name, or a list of names.

        Returns:
            The class number; what is no name stays as it is, a number as text becomes one.
        """
        if isinstance(name, list):
            return [self.number(part) for part in name]
        if isinstance(name, str) and name in self._numbers:
            return self._numbers[name]
        if isinstance(name, str) and _NUMBER.fullmatch(name):
            return int(name) if name.isdecimal() else float(name)
        return name


def as_cell(words: str | list[str]) -> str:
    """Names in one text: several as JSON.

    Args:
        words: A name, or a list of them.

    Returns:
        The text.
    """
    return words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)


def of_cell(text: Any) -> Any:
    """The reverse of :func:`as_cell`.

    Args:
        text: A text, or something else.

    Returns:
        A name, or a list of names.
    """
    if isinstance(text, str) and text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def decision_of(row: Mapping[str, Any], names: Names) -> Decision:
    """A decision from a row of named values, as a table or metadata has it.

    Args:
        row: Names of fields to values; ``label`` is JSON, or ``label_name`` stands for it.
        names: Names of the classes.

    Returns:
        The decision.

    Raises:
        DataError: The row lacks position, reviewer or kind, or one of them has another form.
    """
    label = row.get("label")
    try:
        label = json.loads(label) if isinstance(label, str) and label else None
        label = names.number(of_cell(row["label_name"])) if label is None and row.get("label_name") else label
        return Decision(
            int(row["position"]), str(row.get("sample_id") or ""), str(row.get("content") or ""), str(row["reviewer"]),
            str(row["kind"]), label if row["kind"] in ("relabel", "ambiguous") else None, str(row.get("note") or ""),
            int(row.get("milliseconds") or 0), str(row.get("at") or ""), str(row.get("blind")) in ("True", "true", "1"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"a row of decisions cannot be read ({error!r}): it needs position, reviewer and kind"
        ) from error


def json_list(path: Path) -> list[dict[str, Any]]:
    """A JSON file that holds a list of objects.

    Args:
        path: The file.

    Returns:
        The objects.

    Raises:
        DataError: It is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON ({error}): give what was exported") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path} holds no list of objects: give a list of tasks or records, as they are exported")
    return content
