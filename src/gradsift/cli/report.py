"""``gradsift report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsift.cli.console import console, print_json
from gradsift.cli.source import Source
from gradsift.errors import DataError, SettingError
from gradsift.evaluation import Verification
from gradsift.report import write_report
from gradsift.table import Audit


def report(
    run: Annotated[Path, typer.Argument(help="Run directory of an audit.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page to write; report.html of the run.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Writes the page anew, with what verify has shown and with previews where the data is at hand.

    For example: **gradsift report runs/x -o page.html**
    """
    audit = Audit.open(run)
    try:
        data = Source.from_config(audit.run.config.get("source", {})).load_data().dataset
    except (SettingError, DataError) as error:
        console.print(f"Without previews of samples: {error}")
        data = None
    verified = audit.run.path / "verify.json"
    verification = Verification.from_dict(audit.run.read_json("verify.json")) if verified.exists() else None
    path = write_report(audit, output or audit.run.path / "report.html", data, verification)
    if as_json:
        print_json({"report": str(path)})
        return
    console.print(f"Report: {path}", soft_wrap=True)
