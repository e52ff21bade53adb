"""The commands, each loaded when it is asked for: ``gradsift --help`` needs nothing of what they import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from gradsift.cli.quiet import with_quiet

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Base of click's errors of usage, of the copy of click that typer brings or depends on."""
ABOVE = 3
"""Exit code where a share lies above the limit of ``--fail-above``."""


class Entry(NamedTuple):
    """Where a command lives, and the first sentence of what it says of itself."""

    module: str
    summary: str


COMMANDS = {
    "demo": Entry(
        "demo",
        "Runs the whole job on scikit-learn's digits, a quarter with a wrong label, in under a minute on a laptop.",
    ),
    "plan": Entry("plan", "Predicts time, memory and disk of an audit from a few batches; nothing is left on disk."),
    "audit": Entry("audit", "Scores every training sample and writes a run directory with the table and the report."),
    "merge": Entry(
        "merge", "Completes an audit when all its parts are done: scores, flags, and writes the table and the report."
    ),
    "show": Entry(
        "show",
        "Shows an audit in the terminal: how many samples are flagged, the worst ones, and what each class loses.",
    ),
    "explain": Entry(
        "explain",
        "Prints all that a run knows about one sample: scores, probabilities, neighbours, duplicates, decisions.",
    ),
    "improve": Entry(
        "improve",
        "Improves a training set, trains on it and proves the gain; changes nothing where held-out samples see no gain.",
    ),
    "review": Entry(
        "review", "Opens a local page on which you decide about flagged samples, with one key for each decision."
    ),
    "export-decisions": Entry(
        "exchange", "Writes the decisions of people as a file for other programs, or for another copy of the run."
    ),
    "import-decisions": Entry(
        "exchange",
        "Adds decisions that were made elsewhere, matched by the content of samples; repeating it adds nothing.",
    ),
    "correct": Entry(
        "correct",
        "Writes a corrected training set as a new file: samples relabelled, dropped, softened or weighted.",
    ),
    "trim": Entry("trim", "Writes the training set without the flagged samples as a new file."),
    "verify": Entry("verify", "Retrains with controls and says whether a cure of the training set helps."),
    "report": Entry(
        "report", "Writes the page again, with the result of verify, and with previews where the data can be read."
    ),
    "influence": Entry(
        "influence", "Says which training samples help or harm a target; writes a table for trim and verify."
    ),
    "geometry": Entry(
        "geometry",
        "Measures whether gradients of this network can tell wrong labels; adds collapse and spectra to the report.",
    ),
    "doctor": Entry("doctor", "Lists versions, devices and extras, and tries the main job, in under a minute."),
}
"""Name to command, in the order of ``gradsift --help``."""


class CompleteCommand(TyperCommand):
    """A command that names everything that is missing at once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line.

        Args:
            ctx: The context.
            args: What was typed.

        Returns:
            What is left over.

        Raises:
            UsageError: Several arguments or options are missing.
        """
        typed = self.make_parser(ctx).parse_args(args=list(args))[0]
        if not ctx.resilient_parsing and not typed.get("help"):
            missing = [parameter for parameter in self.get_params(ctx) if self._is_missing(parameter, typed)]
            if len(missing) > 1:
                needed = ", ".join(f"{_name(parameter)} ({_purpose(parameter)})" for parameter in missing)
                raise UsageError(f"{len(missing)} things are missing: give {needed}", ctx)
        return super().parse_args(ctx, args)

    def _is_missing(self, parameter: Any, typed: Mapping[str, Any]) -> bool:
        if parameter.required:
            return not isinstance(typed.get(parameter.name), str)
        of_an_audit = any(other.name == "model" for other in self.params)  # which no --config replays
        if not of_an_audit or typed.get("config") is not None or typed.get(parameter.name) is not None:
            return False
        return parameter.name == "data" or (parameter.name == "model" and typed.get("predictions") is None)


def _name(parameter: Any) -> str:
    return str(max(parameter.opts, key=len)) if parameter.param_type_name == "option" else parameter.name.upper()


def _purpose(parameter: Any) -> str:
    help_text = str(parameter.help or "").partition(":")[0].rstrip(".")
    return help_text[:1].lower() + help_text[1:]


class LoadedCommands(Mapping[str, Any]):
    """Name to command as click has it; a look-up imports the command's module."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        """How many there are."""
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a command; nothing is imported."""
        return name in COMMANDS

    def __getitem__(self, name: str) -> Any:
        """The command."""
        if name not in self._loaded:
            module = import_module(f"gradsift.cli.{COMMANDS[name].module}")
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
            alone.command(name, cls=CompleteCommand)(with_quiet(getattr(module, name.replace("-", "_"))))
            self._loaded[name] = typer.main.get_command(alone)
        return self._loaded[name]


class LateGroup(TyperGroup):
    """A group whose commands are :data:`COMMANDS`; its own help shows their summaries and loads none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LoadedCommands()  # type: ignore[assignment]  # is only read
        self._summaries_only = False

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; while the help is written, its name and summary alone."""
        if self._summaries_only:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name].summary)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the whole program."""
        self._summaries_only = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._summaries_only = False
