"""``--quiet``, which every command has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gradsift.cli.console import be_quiet

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print warnings, errors and what --json asks for, and nothing else.")
]


def with_quiet(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the option ``--quiet``.

    Args:
        command: The command, as typer reads it.

    Returns:
        The command with the option, the last one.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, annotation=QuietOption, default=False)

    def run(quiet: bool, **values: Any) -> None:
        be_quiet(quiet)
        command(**values)

    run.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]  # read by inspect.signature
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, option]}
    run.__doc__ = command.__doc__
    return run
