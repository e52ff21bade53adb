"""Which key does what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gradsift.errors import SettingError


@dataclass(frozen=True)
class Action:
    """Something that a key does.

    Attributes:
        keys: Its keys where the user sets none, as browsers name them.
        words: What it does, for the page's list of keys.
    """

    keys: tuple[str, ...]
    words: str


ACTIONS = {
    "next": Action(("j", "ArrowRight", "ArrowDown"), "next sample"),
    "previous": Action(("k", "ArrowLeft", "ArrowUp"), "previous sample"),
    "keep": Action(("f",), "the given label is fine: keep it"),
    "suggested": Action(("s",), "give it the suggested label; of several selected, each its own"),
    "relabel": Action(("l",), "give it another label: type its name"),
    "drop": Action(("d",), "drop the sample"),
    "ambiguous": Action(("a",), "ambiguous: given and suggested label, half each"),
    "shares": Action(("A",), "ambiguous: say the share of each class"),
    "skip": Action(("x",), "skip: leave it undecided for now"),
    "note": Action(("n",), "write a note to the next decision"),
    "undo": Action(("z",), "undo, to any depth"),
    "redo": Action(("Z",), "redo"),
    "select": Action(("v",), "select this sample, or no longer; the next decision is for all that are selected"),
    "duplicates": Action(("e",), "select its duplicates and near duplicates, too"),
    "pair": Action(("p",), "select all of this flip pair: the same given and suggested label"),
    "clear": Action(("Escape",), "select nothing"),
    "search": Action(("/",), "search"),
    "table": Action(("t",), "table or card"),
    "learn": Action(("r",), "learn from all decisions, and put what is left into another order"),
    "files": Action(("o",), "export all decisions as a file, or import some"),
    "help": Action(("?",), "this list"),
}
"""Name to action; digits 0 to 9 give the label that carries the digit."""

_NAMED = re.compile(r"[A-Z][A-Za-z]+|F\d{1,2}")
_KEPT = ("Tab", "Enter", "Shift", "Control", "Alt", "Meta", " ")
"""Keys that move and press on every page, with which it is used by keyboard alone."""


def default_keys() -> dict[str, list[str]]:
    """The keys where the user sets none.

    Returns:
        Action to keys.
    """
    return {name: list(action.keys) for name, action in ACTIONS.items()}


def read_keys(path: Path) -> dict[str, list[str]]:
    """Reads a file of keys; actions that it leaves out keep theirs.

    Args:
        path: YAML: ``keep: g``, or several keys, ``drop: [d, Delete]``.

    Returns:
        Action to keys.

    Raises:
        SettingError: The file cannot be read, an action or a key is unknown, or one key does two things.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"the keys in {path} cannot be read ({error}): write lines such as `keep: g`") from error
    if not isinstance(content, dict):
        raise SettingError(f"{path} holds no actions with keys: write lines such as `keep: g`")
    unknown = sorted(str(name) for name in content if name not in ACTIONS)
    if unknown:
        raise SettingError(f"{path}: unknown actions {', '.join(unknown)}; there are {', '.join(ACTIONS)}")
    keys = default_keys() | {name: _keys(name, value, path) for name, value in content.items()}
    _refuse_clashes(keys, path)
    return keys


def _keys(name: str, value: Any, path: Path) -> list[str]:
    """The keys of one action."""
    keys = [str(key) for key in value] if isinstance(value, list) else [str(value)]
    for key in keys:
        if key in _KEPT or key.isdecimal():
            raise SettingError(f"{path}: {name} cannot have the key {key!r}: digits give labels, and Tab, Enter and "
                               "space move and press")  # fmt: skip
        if len(key) != 1 and not _NAMED.fullmatch(key):
            raise SettingError(
                f"{path}: {name} has the key {key!r}: give one character, or a key's name in browsers, such as ArrowLeft, "
                "Delete or F2"
            )
    return keys


def _refuse_clashes(keys: Mapping[str, list[str]], path: Path) -> None:
    owner: dict[str, str] = {}
    for name, own in keys.items():
        for key in own:
            if owner.setdefault(key, name) != name:
                raise SettingError(
                    f"{path}: the key {key!r} does two things, {owner[key]} and {name}: give one of them another"
                )
