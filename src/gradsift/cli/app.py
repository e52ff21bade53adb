"""The application: its commands, its errors and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.logging import RichHandler

from gradsift.cli import audit, demo, geometry, influence, plan, report, trim, verify
from gradsift.cli.console import console, errors
from gradsift.errors import GradsiftError

app = typer.Typer(
    name="gradsift",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Finds the training samples that work against a model, by outlier analysis over per-sample gradients, says why, "
        "removes them, and proves by retraining whether that helped.\n\n"
        "Start with **gradsift demo**. For your own model: **plan**, **audit**, look at the report, **trim**, **verify**; "
        "**influence** asks which samples help or harm a target."
        "\n\nExit codes: 0 done, 1 something you gave does not work (the message says what to do), 2 wrong usage, "
        "130 interrupted; the same audit command resumes."
    ),
)
app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("audit")(audit.audit)
app.command("influence")(influence.influence)
app.command("geometry")(geometry.geometry)
app.command("trim")(trim.trim)
app.command("verify")(verify.verify)
app.command("report")(report.report)


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
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=errors, show_path=False, show_time=False)
    logging.basicConfig(level=level, handlers=[handler], format="%(message)s", force=True)


def main() -> None:
    """Runs the command line and turns errors into messages and exit codes."""
    try:
        app()
    except GradsiftError as error:
        errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        errors.print(str(error), markup=False, highlight=False)
        if os.environ.get("GRADSIFT_DEBUG"):
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("Interrupted. The same command resumes an audit or a verification.")
        sys.exit(130)
