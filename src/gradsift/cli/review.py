"""``gradsift review``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gradsift.cli.console import say, warn
from gradsift.cli.options import RunArgument
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load, load_column
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.locations import as_location
from gradsift.result import Audit
from gradsift.review import Address, serve


def review(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Option(help="The data set that was audited, where the run does not find it: a file or folder."),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name, which decisions carry; your user name where left out.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; a free one where left out.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine it needs --token-file.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File of tokens that open the page as often as needed: one a line, with the reviewer's name before it."
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="YAML file of your own keys, such as `keep: g`; the page shows all with ?.")
    ] = None,
    second_reading: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of decided samples that a second reviewer gets, too, without seeing the decision.",
        ),
    ] = 0.1,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link alone.")] = False,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
) -> None:
    """Opens a local page on which you decide about flagged samples, with one key for each decision.

    Decisions are saved one by one in decisions.sqlite of the run directory; trim and correct take them into account.

    For example: **gradsift review runs/x**
    """
    audit = Audit.open(run)
    address = Address(host, port, token_file, reviewer)
    source, dataset = _data_of(audit, data, Trust.given(as_location(run) / "config.yaml", trust_run, trust))
    groups = {}
    if source is not None and source.groups is not None:
        path, column = source.data, source.groups
        groups[column] = lambda: load_column(path, column)
    serve(
        audit,
        dataset,
        address=address,
        keys=keys,
        second_reading=second_reading,
        groups=groups,
        told=_tell,
        opens_browser=not no_browser,
    )


def _tell(link: str) -> None:
    say(f"Review: {link}\nThe link opens once. End with Ctrl-C; all that the page shows as saved is kept.")
    sys.stdout.flush()  # a script that waits for the link reads a pipe


def _data_of(audit: Audit, data: str | None, trust: Trust) -> tuple[Source | None, Any]:
    """Where the data of a run comes from, and the data set; of a run that names none, the file that the user gives."""
    try:
        source = Source.from_config(audit.run.config.get("source", {}), trust)
    except SettingError as error:
        if data is None:
            warn(f"Without the content of samples: {error}. Or give --data FILE.")
        return None, None if data is None else load(data).dataset
    try:
        source = source if data is None else replace(source, data=data)
        return source, source.load_data_of(audit)
    except (SettingError, DataError, ModelError) as error:
        if data is not None:
            raise
        warn(f"Without the content of samples: {error} Or give --data FILE.")
        return None, None
