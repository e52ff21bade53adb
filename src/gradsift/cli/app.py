"""The application: its commands, its errors and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from gradsift.cli.commands import ABOVE, LateGroup, UsageError
from gradsift.cli.console import be_quiet, console, log_to_terminal, warn
from gradsift.errors import GradsiftError
from gradsift.imports import user_frames

app = typer.Typer(
    name="gradsift",
    cls=LateGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Finds the training samples that are probably wrong or harmful, corrects or removes them, and shows by "
        "retraining whether that helped.\n\n"
        "Start with **gradsift demo**. For your own data: **improve** does all of it; or **audit**, **show**, **correct**, "
        "**verify**, one step a command. **doctor** says what is installed."
        "\n\nExit codes: 0 done, 1 something you gave does not work (the message says what to do), 2 wrong usage, "
        f"{ABOVE} a share lies above --fail-above, 130 interrupted; the same audit command resumes.\n\n"
        "Colours: NO_COLOR=1 turns them off."
    ),
)


def _show_version(value: bool) -> None:
    if value:
        console.print(f"gradsift {version('gradsift')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library logs.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that every command has."""
    log_to_terminal(logging.INFO if verbose else logging.WARNING)


def main() -> NoReturn:
    """Runs the command line and turns errors into messages and exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has not every character shows the others as escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        warn("Interrupted. The same command resumes an audit or a verification.")
        sys.exit(130)


def _run() -> int:
    """Runs a command; gives the exit code."""
    be_quiet(False)
    try:
        return app(prog_name="gradsift", standalone_mode=False) or 0
    except UsageError as error:
        context = getattr(error, "ctx", None)
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        command = context.command_path if context else "gradsift"
        warn(f"{text.rstrip('.')}. See {command} --help.", "bold red", "Usage: ")
        return 2
    except typer.Abort:
        warn("Stopped.")
        return 1
    except GradsiftError as error:
        warn(error, "bold red", f"{type(error).__name__}: ")
        return _failed(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the last resort: no traceback of ours reaches a user
        if isinstance(error.__context__, BrokenPipeError):
            return 1  # who reads our output has closed it, as head does: there is nobody to tell
        if isinstance(error, SystemExit) and not user_frames(error):
            return int(error.code or 0)  # typer's own, once a shell's question about completion is answered
        _show_unexpected(error)
        return _failed(error)


def _failed(error: BaseException) -> int:
    if os.environ.get("GRADSIFT_DEBUG"):
        raise error
    return 1


def _show_unexpected(error: BaseException) -> None:
    """Shows where a user's own code has failed; of what else fails, one sentence."""
    reason = "".join(traceback.format_exception_only(error)).strip()
    frames = user_frames(error)
    if frames:
        warn("".join(traceback.format_list(frames)) + reason, "bold red", "Your code failed:\n")
        return
    if isinstance(error, MemoryError):
        warn("the memory is full: give a smaller --batch-size, or a machine with more", "bold red", "MemoryError: ")
        return
    frame = traceback.extract_tb(error.__traceback__)[-1]
    warn(
        f"{reason} ({frame.filename}, line {frame.lineno}). If the run directory and the data are whole, this is a fault "
        "of gradsift: please report it with what GRADSIFT_DEBUG=1 shows.",
        "bold red",
        "Unexpected ",
    )
