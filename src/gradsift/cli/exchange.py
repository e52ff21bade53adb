"""``gradsift export-decisions`` and ``gradsift import-decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsift.cli.console import print_json, say, warn
from gradsift.cli.options import JsonOption, RunArgument
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.locations import as_location
from gradsift.result import Audit
from gradsift.review.exchange import export_decisions as export
from gradsift.review.exchange import import_decisions as bring
from gradsift.review.formats import FORMATS

FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="; ".join(f"{name}: {file_format.words}" for name, file_format in FORMATS.items())
        + ". Where left out, the file's ending tells.",
    ),
]


def export_decisions(
    run: RunArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="New file: *.parquet, *.csv, *.json, or a folder.")],
    format_name: FormatOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes the decisions of people as a file for other programs, or for another copy of the run.

    For example: **gradsift export-decisions runs/x -o decisions.parquet**, or
    **gradsift export-decisions runs/x -o tasks.json --format label-studio**
    """
    audit = Audit.open(run)
    count = export(audit, output, format_name=format_name, samples=_samples_of(audit, run, trust_run, trust))
    if as_json:
        print_json({"decisions": count, "output": str(output)})
        return
    say(f"{count:,} decisions are in {output}.")


def import_decisions(
    run: RunArgument,
    source: Annotated[Path, typer.Argument(help="An exported file or folder, or another run directory.")],
    format_name: FormatOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Adds decisions that were made elsewhere, matched by the content of samples; repeating it adds nothing.

    What matches no sample of this run is listed and left out.

    For example: **gradsift import-decisions runs/x decisions.parquet**, or **gradsift import-decisions runs/new runs/old**
    """
    audit = Audit.open(run)
    merged = bring(audit, source, format_name=format_name, samples=_samples_of(audit, run, trust_run, trust))
    if as_json:
        print_json(merged.to_dict())
        return
    say(merged.words())


def _samples_of(audit: Audit, run: str, trust_run: bool, trust: list[str] | None) -> Samples | None:
    """The data set that was audited; ``None`` with a warning where it is not at hand."""
    try:
        trusted = Trust.given(as_location(run) / "config.yaml", trust_run, trust)
        return audit.samples_of(Source.from_config(audit.run.config.get("source", {}), trusted).load_data_of(audit))
    except (SettingError, DataError, ModelError) as error:
        warn(f"Without the data set, decisions are matched by id and label: {error}")
        return None
