"""Writes the reference pages that follow from the code: command line, settings, columns. ``make docs`` runs it first."""

import sys
from pathlib import Path

import typer

from gradsift.cli.app import app
from gradsift.cli.source import Source
from gradsift.fields import ranges_of, settings_of
from gradsift.settings import AuditSettings
from gradsift.table import COLUMNS
from gradsift.table.findings import FINDING_COLUMNS

PAGES = ("command-line", "settings", "columns")
FOLDER = Path(__file__).resolve().parents[1] / "docs/reference"
GENERATED = "Made from the code by `scripts/reference.py`.\n"


def command_line() -> str:
    """Every command with its options, as `--help` has them."""
    group = typer.main.get_command(app)
    lines = ["# Command line", "", GENERATED, group.help or "", "", *_options(group.params)]
    for name, command in group.commands.items():
        lines += [f"## gradsift {name}", "", command.help or "", "", *_options(command.params)]
    lines += [
        "## Shell completion", "",
        "`gradsift --install-completion` adds it to your shell (bash, zsh, fish, PowerShell). "
        "`gradsift --show-completion` prints it.",
        "", "## Environment", "",
        "| variable | effect |", "|---|---|",
        "| `NO_COLOR` | no colours |",
        "| `GRADSIFT_DEBUG` | errors come with their traceback |",
        "| `HF_HUB_OFFLINE` | nothing is looked up on the hub |", "",
        "Next: [JSON](json.md).",
    ]  # fmt: skip
    return "\n".join(lines)


def _options(parameters: list) -> list[str]:
    shown = [one for one in parameters if not getattr(one, "hidden", False)]
    if not shown:
        return []
    lines = ["| option | default | what it does |", "|---|---|---|"]
    for one in shown:
        argument = one.param_type_name == "argument"
        names = [one.name.upper()] if argument else [*one.opts, *one.secondary_opts]
        default = "" if one.default in (None, False) or callable(one.default) or one.required else f"`{one.default}`"
        needed = "needed" if one.required else default
        words = " ".join((getattr(one, "help", None) or "").split()).replace("|", "\\|")
        lines.append(f"| {', '.join(f'`{name}`' for name in names)} | {needed} | {words} |")
    return [*lines, ""]


def settings() -> str:
    """Settings of an audit, and of where model and data come from."""
    words = "One declaration each: argument of `gradsift.audit`, line of `config.yaml`, option of `gradsift audit`."
    lines = ["# Settings", "", GENERATED, words, ""]
    for kind, title in ((AuditSettings, "Of an audit"), (Source, "Of model and data, on the command line")):
        lines += [f"## {title}", "", "| name | default | may be | what it does |", "|---|---|---|---|"]
        ranges = ranges_of(kind)
        for declared, _ in settings_of(kind):
            allowed = ranges[declared.name].words
            default = "needed" if not isinstance(declared.default, str | int | float | type(None)) else declared.default
            shown = "" if default is None else f"`{default}`"
            lines.append(f"| `{declared.name}` | {shown} | {allowed} | {declared.metadata['help']} |")
        lines.append("")
    return "\n".join([*lines, "Next: [columns of the table](columns.md)."])


def columns() -> str:
    """Columns of the table."""
    lines = ["# Columns of the table", "", GENERATED, "| column | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in (COLUMNS | FINDING_COLUMNS).items()]
    lines += [
        "| `score_<detector>` | score of each detector that was asked for: higher = more detrimental |", "",
        "`gradsift influence` adds `influence`: positive = helpful, on the scale of the method.", "",
        "Next: [formats and their versions](formats.md).",
    ]  # fmt: skip
    return "\n".join(lines)


def write(folder: Path = FOLDER) -> None:
    """Writes the pages where they differ, so that an unchanged page is not built again."""
    for name, content in zip(PAGES, (command_line(), settings(), columns()), strict=True):
        path = folder / f"{name}.md"
        text = content.rstrip() + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
