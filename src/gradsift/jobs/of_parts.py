"""An audit in parts: each is computed on its own, and merged when all are done."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from gradsift.data import Samples
from gradsift.data.fingerprint import has_fingerprint
from gradsift.engines import Share
from gradsift.engines.parts import (
    Part,
    begin_or_join,
    only_one,
    record_part,
    recorded_shares,
    refuse_if_incomplete,
    refuse_while_running,
)
from gradsift.errors import DataError, RunDirectoryError, SettingError
from gradsift.jobs.complete import AtHand, complete
from gradsift.jobs.of_model import begun
from gradsift.jobs.request import Clock, Request
from gradsift.locations import Location, as_location
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.settled import Settled
from gradsift.stages import OpenRun
from gradsift.store import RunDirectory, fingerprint_settings
from gradsift.store.unfinished import JOB, refuse_before_work
from gradsift.tasks import Task
from gradsift.trajectory import Trajectory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartDone:
    """A part of an audit that is done.

    Attributes:
        part: Which one, as ``17/256``.
        rows: Positions of its samples.
        share: Who did it, how many shards it has and how many of them were computed now.
        output: Where the whole run will lie.
    """

    part: str
    rows: range
    share: Share
    output: Location


def audit_one_part(
    model: nn.Module, train_set: Any, task: str | Task, trajectory: Trajectory | None, request: Request, part: Part
) -> PartDone:
    """Computes the shards of one part.

    Args:
        model: The trained model, in eval mode.
        train_set: The data it was trained on.
        task: What a sample's loss is.
        trajectory: What was recorded along training.
        request: What is asked for; it names an output, which all parts share.
        part: Which part.

    Returns:
        What was done.

    Raises:
        SettingError: There is no output, or a run that is there shall be replaced.
    """
    if request.output is None or request.overwrite:
        raise SettingError(
            "a part needs an output that all parts share, and replaces none: give output=... (-o runs/x)"
        )
    final = as_location(request.output)
    refuse_before_work(final, overwrite=False)
    request = replace(request, engine=part)
    with only_one(final, part):
        begin = begun(model, train_set, task, trajectory, request)
        job = {"parts": part.count, "settings": request.settings.to_dict(), **begin.settled.to_dict()}
        config = request.config(begin.ready.batch_size)
        run = begin_or_join(final, part, fingerprint_settings(begin.identity), config, job)
        stage = begin.stage(run, int(run.read_json("manifest.json")["batch_size"]))
        partition = begin.settled.partition
        (share,) = part.map(stage, partition, show_progress=request.show_progress)
        record_part(run, part, share)
    shards = part.shards(partition)
    rows = range(partition.rows(shards[0]).start, partition.rows(shards[-1]).stop) if shards else range(0)
    return PartDone(str(part), rows, share, final)


def merge_parts(path: str | Location, at_hand: AtHand, request: Request | None = None) -> Audit:
    """Completes a run of which all parts are done.

    Args:
        path: Where the whole run will lie, as it was given to the parts.
        at_hand: Data set and model, where they are at hand.
        request: What is asked for beside the settings, which are those of the parts.

    Returns:
        The audit.

    Raises:
        RunDirectoryError: There are no parts, or some are missing, running, damaged or of another run.
        DataError: The data set is not the one that the parts have read.
    """
    clock, final = Clock(), as_location(path)
    unfinished = RunDirectory.joining(final)
    if not (unfinished.path / JOB).is_file():
        reason = "it is whole already" if (final / "manifest.json").exists() else "compute its parts first"
        raise RunDirectoryError(f"{final} has no parts to merge: {reason}")
    job = unfinished.read_json(JOB)
    settled = Settled.from_dict(job)
    settings = AuditSettings.from_dict(job["settings"])
    _refuse_other_data(final, settled, at_hand)
    with RunDirectory.begin(final, unfinished.fingerprint, unfinished.config) as run:
        refuse_while_running(final)
        refuse_if_incomplete(run, settled.partition, job["parts"])
        shares = recorded_shares(run)
        run.record_shards(settled.partition.lengths)
        source = run.config.get("source", {})
        asked = replace(request or Request(settings), settings=settings, source=source, output=final)
        opened = OpenRun(run, final, int(run.read_json("manifest.json")["batch_size"]), None)
        return complete(opened, settled, at_hand, asked, clock, shares)


def _refuse_other_data(final: Location, settled: Settled, at_hand: AtHand) -> None:
    """Refuses a data set or a trajectory that the parts have not read; one that is not at hand is said to be missing."""
    if at_hand.train_set is None:
        logger.warning("the data set is not at hand: duplicates are not looked for, and the page shows no samples")
    elif not has_fingerprint(Samples(at_hand.train_set), settled.details["data_fingerprint"]):
        raise DataError(f"the data set is not the one that the parts of {final} have read: give that one")
    recorded = at_hand.trajectory
    if settled.trajectory != (None if recorded is None else recorded.fingerprint()):
        raise DataError(
            f"the parts of {final} were computed with {'another' if settled.trajectory else 'no'} trajectory: give the "
            "same to the merge"
        )
