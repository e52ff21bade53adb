"""Command-line options out of dataclasses of settings, and the options that several commands share."""

from __future__ import annotations

import inspect
import reprlib
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field
from typing import Annotated, Any, TypeVar

import typer

from gradsift.errors import SettingError
from gradsift.fields import choices, settings_of

T = TypeVar("T")

PLACE = "PATH|URL"
RunArgument = Annotated[str, typer.Argument(metavar=PLACE, help="Run directory of an audit.")]
TableOption = Annotated[
    str | None,
    typer.Option(metavar=PLACE, help="Table to use, such as one of gradsift influence. Default: the run's own table."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Options:
    """What the command line says of the settings that a command takes.

    Attributes:
        values: Field name to value, as typer reads it.
        typed: Flags of the settings that stand on the command line, in alphabetical order.
    """

    def __init__(self, context: typer.Context, values: Mapping[str, Any]) -> None:
        self.values = values
        self._replays = "config" in context.params
        sources = {name: context.get_parameter_source(name) for name in values}
        self.typed = sorted(flag(name) for name, source in sources.items() if source and source.name == "COMMANDLINE")

    def make(self, kind: type[T]) -> T:
        """Settings.

        Args:
            kind: Their dataclass.

        Returns:
            An instance with what the command line says; its own defaults for fields that the command does not take.

        Raises:
            SettingError: A setting that is needed was left out, or lies outside its range.
        """
        values = {}
        for declared, members in settings_of(kind):
            if declared.name in self.values:
                value = self.values[declared.name]
                if value is None and declared.default is MISSING:
                    replay = ", or --config runs/x/config.yaml to replay a run" if self._replays else ""
                    raise SettingError(f"{flag(declared.name)} is missing: give it{replay}")
                values[declared.name] = _read(value, members, flag(declared.name)) if isinstance(value, str) else value
        return kind(**values)


def with_options(
    *kinds: type, only: Collection[str] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each setting of some dataclasses, in the place of its parameter ``options``.

    Args:
        *kinds: The dataclasses.
        only: Names of the settings that it takes; all where empty.
        without: Names of settings that it does not take.

    Returns:
        A decorator of a function that takes ``options``, an :class:`Options`.
    """
    taken = {
        declared.name: _parameter(declared, members)
        for kind in kinds
        for declared, members in settings_of(kind)
        if declared.name not in without and (not only or declared.name in only)
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(command, eval_str=True).parameters
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters.values()]

        def run(context: typer.Context, **values: Any) -> None:
            settings = {name: values.pop(name) for name in taken}
            command(options=Options(context, settings), **values)

        first = next(place for place, parameter in enumerate(own) if parameter.name == "options")
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        own[first : first + 1] = taken.values()
        run.__signature__ = inspect.Signature([context, *own])  # type: ignore[attr-defined]  # read by inspect.signature
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [context, *own]}
        run.__doc__ = command.__doc__
        return run

    return decorate


def flag(name: str) -> str:
    """The command-line option of a setting.

    Args:
        name: Name of the field.

    Returns:
        Such as ``--batch-size``.
    """
    return "--" + name.replace("_", "-")


def patterns(text: str) -> str | tuple[str, ...]:
    """A selection of layers, or several with commas.

    Args:
        text: What was given.

    Returns:
        The selection.
    """
    return text.strip() if "," not in text else tuple(part.strip() for part in text.split(","))


def _parameter(declared: Field[Any], members: Sequence[Any]) -> inspect.Parameter:
    """The option of a setting, as a parameter that typer understands; what has several types is read as text."""
    words = choices(members)
    text = declared.metadata["help"]
    if len(words) > 1:
        text = f"{text.rstrip('.')}: {', '.join(words[:-1])} or {words[-1]}."
    simple = [member for member in members if member is not types.NoneType]
    read_as = simple[0] if simple in ([bool], [int]) else str
    needed = declared.default is MISSING
    option = typer.Option(
        flag(declared.name), *declared.metadata["flags"], help=text, rich_help_panel=declared.metadata["panel"]
    )
    hint = Annotated[read_as | None if needed or declared.default is None else read_as, option]  # type: ignore[valid-type]  # known at run time alone
    default = None if needed else declared.default
    return inspect.Parameter(declared.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _read(text: str, members: Sequence[Any], name: str) -> Any:
    """What a text means for a setting of these types: numbers, and lists with commas."""
    if text in choices(members):
        return text
    for kind in (int, float):
        if kind in members:
            try:
                return kind(text)
            except ValueError as error:
                raise SettingError(f"{name} is a number or auto, given {reprlib.repr(text)}") from error
    if set(members) <= {str, types.NoneType} or choices(members):
        return text
    texts = patterns(text)
    return (texts,) if isinstance(texts, str) and str not in members else texts
