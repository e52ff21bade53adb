"""``gradsift trim``."""

from __future__ import annotations

from typing import Annotated

import typer

from gradsift.cleaning.trim import kept_after_review
from gradsift.cli.console import print_json, say
from gradsift.cli.options import PLACE, JsonOption, RunArgument, TableOption
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import write_kept
from gradsift.errors import DataError
from gradsift.locations import as_location, is_inside, refuse_unwritable
from gradsift.result import Audit
from gradsift.writing import new_file


def trim(
    run: RunArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar=PLACE, help="New file of the same kind as the data.")
    ],
    table: TableOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes the training set without the flagged samples as a new file.

    The data that were audited do not change. Decisions of people in **gradsift review** stand above the flag.

    For example: **gradsift trim runs/x -o clean.parquet**
    """
    place = as_location(output)
    if is_inside(place, as_location(run)):
        raise DataError(f"{output} lies in the run directory, which may be replaced: choose another place")
    refuse_unwritable(place)
    audit = Audit.open(run, table=table)
    source = Source.from_config(
        audit.run.config.get("source", {}), Trust.given(as_location(run) / "config.yaml", trust_run, trust)
    )
    samples = audit.samples_of(source.load_data().dataset)  # refuses data that is not what was audited
    kept = kept_after_review(audit, samples)
    if callable(getattr(samples.source, "to_parquet", None)):  # a data set of the hub
        if place.suffix != ".parquet":
            raise DataError(f"{place.name} must be a .parquet file: name it *.parquet")
        with new_file(place) as aside:
            samples.keep(kept).to_parquet(aside)
    else:
        write_kept(source.data, kept, output, len(audit))
    if as_json:
        print_json({"kept": len(kept), "removed": len(audit) - len(kept), "output": str(output)})
        return
    say(f"Kept {len(kept):,} of {len(audit):,} samples in {output}; {source.data} is as it was.")
