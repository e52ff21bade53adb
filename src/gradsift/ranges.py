"""What a setting may hold, with the words that say so."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """The values that a field may hold.

    Attributes:
        words: What they are, as it stands in the message behind the name of the field and "is".
        holds: Whether a value is one of them.
        advice: What to do, behind the message.
    """

    words: str
    holds: Callable[[Any], bool]
    advice: str = ""

    def __or__(self, other: Range) -> Range:
        """Values of either."""
        return Range(
            f"{self.words}, or {other.words}", lambda value: self.holds(value) or other.holds(value), self.advice
        )


def whole(least: int, most: int = 2**31 - 1, words: str = "") -> Range:
    """Whole numbers.

    Args:
        least: The smallest.
        most: The largest.
        words: What they are; the range in numbers where left out.

    Returns:
        The range; ``True`` and ``False`` lie outside of it.
    """
    return Range(
        words or f"a whole number from {least} to {most}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def share(most: float, words: str, advice: str = "") -> Range:
    """Numbers above zero.

    Args:
        most: The largest.
        words: What they are.
        advice: What to do, behind the message.

    Returns:
        The range.
    """
    return Range(
        words,
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most,
        advice,
    )


def one_of(*names: str) -> Range:
    """Words from a list.

    Args:
        *names: The list.

    Returns:
        The range.
    """
    words = repr(names[0]) if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return Range(words, lambda value: isinstance(value, str) and value in names)


TEXT = Range(
    "a text that is valid UTF-8 and not empty",
    lambda value: isinstance(value, str) and bool(value) and "\0" not in value and _is_utf8(value),
)
TEXTS = Range(
    "a list of texts that are valid UTF-8",
    lambda value: isinstance(value, tuple) and all(isinstance(text, str) and _is_utf8(text) for text in value),
)
SWITCH = Range("true or false", lambda value: isinstance(value, bool))
NOTHING = Range("left out", lambda value: value is None)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is one that a type hint allows.

    Args:
        value: Such as a number or a word out of a file.
        hint: A type, a ``Literal``, or several of these.

    Returns:
        False where a number, a word or a truth value stands in the place of another; other hints are not looked into.
    """
    if get_origin(hint) in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, types.NoneType) else True


def _is_utf8(text: str) -> bool:
    """Whether a file can hold the text: names of files that are no UTF-8 come with lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
