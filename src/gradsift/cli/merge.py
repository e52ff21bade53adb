"""``gradsift merge``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradsift.audit import merge as merge_parts
from gradsift.cli.audit import present
from gradsift.cli.console import warn
from gradsift.cli.options import PLACE, JsonOption
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load_column
from gradsift.errors import ModelError, RunDirectoryError
from gradsift.loading import check_device
from gradsift.locations import as_location
from gradsift.store.configuration import read_config
from gradsift.store.unfinished import CONFIG


def merge(
    run: Annotated[
        str, typer.Argument(metavar=PLACE, help="Run directory that was given to the parts, such as runs/x.")
    ],
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Completes an audit when all its parts are done: scores, flags, and writes the table and the report.

    For example: **gradsift merge runs/x**, after **gradsift audit ... -o runs/x --part 1/8** to **--part 8/8**. No gradient
    is computed again, and no GPU is needed.
    """
    place = as_location(run)
    config = place.with_name(place.name + ".part") / CONFIG
    if not config.exists():
        reason = "it is whole already" if place.is_dir() else "compute its parts first"
        raise RunDirectoryError(f"{run} has no parts to merge: {reason}")
    source = Source.from_config(read_config(config).get("source", {}), Trust.given(config, trust_run, trust))
    try:
        check_device(source.device)
    except ModelError:
        warn(f"This machine has no {source.device}: the merge does without.")
        source = replace(source, device="cpu")
    model, loaded, task = source.load()
    result = merge_parts(
        run,
        loaded.dataset,
        model,
        task=task,
        groups=load_column(source.data, source.groups) if source.groups else None,
        test_set=source.load_test(loaded),
        trajectory=source.trajectory,
    )
    present(result, source, None, as_json)
