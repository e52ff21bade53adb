"""``gradsift report``."""

from __future__ import annotations

from typing import Annotated

import typer

from gradsift.cli.at_hand import data_at_hand
from gradsift.cli.console import print_json, say
from gradsift.cli.options import PLACE, JsonOption, RunArgument
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.evaluation import Verification
from gradsift.locations import as_location, refuse_unwritable
from gradsift.report import write_report
from gradsift.result import Audit


def report(
    run: RunArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar=PLACE, help="Page to write; report.html of the run.")
    ] = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes the page again, with the result of verify, and with previews where the data can be read.

    For example: **gradsift report runs/x -o page.html**
    """
    refuse_unwritable(as_location(output or run))
    audit = Audit.open(run)
    samples = data_at_hand(audit, Trust.given(as_location(run) / "config.yaml", trust_run, trust))
    verified = audit.run.path / "verify.json"
    verification = Verification.from_dict(audit.run.read_json("verify.json")) if verified.exists() else None
    path = write_report(audit, output or audit.run.path / "report.html", samples and samples.source, verification)
    if as_json:
        print_json({"report": str(path)})
        return
    say(f"Report: {path}")
