"""``gradsift show``."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from gradsift.cli.at_hand import data_at_hand
from gradsift.cli.audit import summary, tell
from gradsift.cli.commands import ABOVE
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.limit import FailAboveOption, Verdict, read_limit
from gradsift.cli.next_step import correct_command, trusting
from gradsift.cli.options import JsonOption, RunArgument, TableOption
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.cli.worst import print_worst
from gradsift.locations import as_location
from gradsift.report import removed_by_class
from gradsift.result import Audit

MOST_CLASSES = 20
"""Most classes in the terminal: those that lose the largest share."""


def show(
    run: RunArgument,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst samples to show.")] = 10,
    fail_above: FailAboveOption = None,
    table: TableOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shows an audit in the terminal: how many samples are flagged, the worst ones, and what each class loses.

    For example: **gradsift show runs/x --worst 20**
    """
    limit = read_limit(fail_above)
    audit = Audit.open(run, table=table)
    verdict = Verdict.of(audit, limit)
    classes = removed_by_class(audit)
    if as_json:
        print_json(summary(audit, verdict, worst) | {"classes": classes})
    else:
        tell(audit)
        if worst:
            print_worst(
                audit, worst, data_at_hand(audit, Trust.given(as_location(run) / "config.yaml", trust_run, trust))
            )
        if classes:
            rows = [
                {
                    "class": row["name"],
                    "samples": f"{row['size']:,}",
                    "flagged": f"{row['removed']:,}",
                    "share": f"{100 * row['share']:.1f} %",
                }
                for row in classes[:MOST_CLASSES]
            ]
            print_table(rows, "What is flagged of each class")
        if classes and len(classes) > MOST_CLASSES:
            say(f"The other classes lose smaller shares: gradsift show {run} --json lists up to 50.")
        if limit is not None:
            say(verdict.sentence(), "bold")
        first = audit.worst(1, previews=False)["position"].to_pylist()[0]
        source = audit.run.config.get("source") or {}
        say(f"Next: gradsift explain {shlex.quote(run)} {first}{trusting(source)}, or {correct_command(run, source)}")
    if verdict.failed:
        raise typer.Exit(ABOVE)
