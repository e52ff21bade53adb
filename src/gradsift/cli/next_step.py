"""The command that comes next, as it can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gradsift.integrations.pretrained import is_pretrained
from gradsift.locations import as_location


def correct_command(run: object, source: Mapping[str, Any]) -> str:
    """How the samples that are flagged are dropped from the data of a run.

    Args:
        run: The run directory.
        source: The ``source`` of its ``config.yaml``; empty where the run was made from Python.

    Returns:
        The command, or the call in Python.
    """
    if not source.get("data"):
        return 'audit.correct(train_set, how="drop") in Python'
    place = as_location(source["data"])
    ending = place.suffix or ("" if place.is_dir() else ".parquet")
    return f"gradsift correct {shlex.quote(str(run))} -o better{ending} --how drop{trusting(source)}"


def verify_command(run: object, source: Mapping[str, Any], how: str) -> str:
    """How it is proven that a cure helps.

    Args:
        run: The run directory.
        source: The ``source`` of its ``config.yaml``.
        how: The cure.

    Returns:
        The command.
    """
    test = f"TEST{as_location(source['data']).suffix}"
    return (
        f"gradsift verify {shlex.quote(str(run))} --train my.training:train --test {test} --arm {how}{trusting(source)}"
    )


def merge_command(run: object, source: Mapping[str, Any]) -> str:
    """How an audit is completed of which all parts are done.

    Args:
        run: The run directory.
        source: The ``source`` of its ``config.yaml``.

    Returns:
        The command.
    """
    return f"gradsift merge {shlex.quote(str(run))}{trusting(source, 'model', 'task', 'transform')}"


def trusting(source: Mapping[str, Any], *fields: str) -> str:
    """The options that let the code run which a command needs, where the user named some in the audit.

    Args:
        source: The ``source`` of a ``config.yaml``.
        *fields: What the command loads; what prepares the data where left out.

    Returns:
        What is appended to the command; empty where no code is needed.
    """
    paths = [str(source[name]) for name in fields or ("transform",) if source.get(name)]
    return "".join(f" --trust {shlex.quote(path)}" for path in paths if not is_pretrained(path))
