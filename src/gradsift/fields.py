"""A field of a settings class, declared once: argument of the API, line of ``config.yaml`` and command-line option."""

from __future__ import annotations

import operator
import reprlib
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, field, fields
from functools import reduce
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gradsift.errors import SettingError
from gradsift.ranges import NOTHING, SWITCH, TEXT, TEXTS, Range, one_of


def setting(
    help: str,  # as argparse, typer and transformers call it
    default: Any = MISSING,
    *,
    panel: str,
    number: Range | None = None,
    flags: Sequence[str] = (),
) -> Any:
    """Declares a field of a settings class.

    Args:
        help: What the setting does, as ``--help`` shows it.
        default: The value where it is left out.
        panel: Theme under which ``--help`` shows it.
        number: The numbers that the field may hold; what else it may hold follows from its type.
        flags: Other names of its command-line option, such as ``--per-layer``.

    Returns:
        The field of a dataclass.
    """
    return field(default=default, metadata={"help": help, "panel": panel, "number": number, "flags": tuple(flags)})


def settings_of(kind: type) -> Iterator[tuple[Field[Any], tuple[Any, ...]]]:
    """The fields of a dataclass that :func:`setting` has declared.

    Args:
        kind: The dataclass.

    Yields:
        Each field, and the types of its values: the members of a union one by one.
    """
    hints = get_type_hints(kind)
    for declared in fields(kind):
        if "help" in declared.metadata:
            hint = hints[declared.name]
            yield declared, get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def choices(members: Sequence[Any]) -> list[str]:
    """The words that a setting may be.

    Args:
        members: The types of its values.

    Returns:
        The arguments of ``Literal`` among them.
    """
    return [word for member in members if get_origin(member) is Literal for word in get_args(member)]


def ranges_of(kind: type) -> dict[str, Range]:
    """What each setting of a dataclass may hold.

    Args:
        kind: The dataclass.

    Returns:
        Name to range.
    """
    simple: dict[Any, Range] = {bool: SWITCH, str: TEXT, types.NoneType: NOTHING}

    def allowed(declared: Field[Any], member: Any) -> Range:
        if member in (int, float):
            return declared.metadata["number"]
        return one_of(*get_args(member)) if get_origin(member) is Literal else simple.get(member, TEXTS)

    return {
        declared.name: reduce(operator.or_, (allowed(declared, member) for member in members))
        for declared, members in settings_of(kind)
    }


def check_settings(settings: Any) -> None:
    """Checks every setting of an instance.

    Args:
        settings: The instance of a dataclass.

    Raises:
        SettingError: A field holds something that it may not.
    """
    for name, allowed in ranges_of(type(settings)).items():
        value = getattr(settings, name)
        if not allowed.holds(value):
            advice = f" {allowed.advice}" if allowed.advice else ""
            raise SettingError(f"{name} is {allowed.words}; given {reprlib.repr(value)}{advice}")
