"""What all audits end with: score, decide, tabulate, report, and the run's final name."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.cleaning import crossed
from gradsift.data import Samples
from gradsift.detectors import Detector, get_detector
from gradsift.detectors.found_neighbours import FoundNeighbourhood
from gradsift.engines import Share
from gradsift.engines.neighbours import forget_neighbours
from gradsift.engines.parts import forget_parts
from gradsift.evidence import Evidence, stored_evidence
from gradsift.jobs.request import Clock, Request
from gradsift.report.highlights import write_highlights
from gradsift.result import Audit
from gradsift.settled import Settled
from gradsift.stages import OpenRun, finish
from gradsift.stages.cross_fit_heads import add_head_predictions
from gradsift.stages.further_evidence import readable, with_further
from gradsift.tasks import Task
from gradsift.trajectory import Trajectory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AtHand:
    """What is at hand when a run is completed; its table needs none of it.

    Attributes:
        train_set: The data set, in which duplicates are looked for, and whose samples the page shows.
        model: The model, by which the page highlights tokens of texts.
        task: What a sample's loss is, for the same.
        trajectory: What was recorded along training.
        neighbourhood: The samples' nearest neighbours, where workers have found them.
    """

    train_set: Any = None
    model: nn.Module | None = None
    task: Task | None = None
    trajectory: Trajectory | None = None
    neighbourhood: FoundNeighbourhood | None = None


def complete(
    opened: OpenRun, settled: Settled, at_hand: AtHand, request: Request, clock: Clock, shares: Sequence[Share]
) -> Audit:
    """All stages behind the shards of a model.

    Args:
        opened: The run directory, with all shards.
        settled: What was settled before the first one.
        at_hand: Data set and model, where they are at hand.
        request: What is asked for.
        clock: Counts the time.
        shares: What each worker has done.

    Returns:
        The audit; its run is whole.
    """
    settings = request.settings
    samples = None if at_hand.train_set is None else Samples(at_hand.train_set)
    checked_groups(request.groups, settled.samples)
    if settled.cross_fit_heads:
        with clock.stage("heads"):
            add_head_predictions(
                opened.run, settings, settled.kind, request.groups, show_progress=request.show_progress
            )
    elif opened.run.read_json("manifest.json").get("heads"):  # by unfinished work with another setting
        opened.run.update({"heads": None})
    evidence = stored_evidence(opened.run, settled.kind, trajectory=at_hand.trajectory)
    evidence = evidence.with_(class_names=settled.class_names, neighbourhood=at_hand.neighbourhood)
    detectors = {name: get_detector(name, seed=settings.seed) for name in settled.detectors}
    with clock.stage("scores"):
        evidence = with_further(
            evidence, detectors.values(), at_hand.model, at_hand.task, samples, np.arange(settled.samples),
            opened.batch_size, show_progress=request.show_progress,
        )  # fmt: skip
    ranking, detectors = settled.ranking, readable(detectors, evidence)
    if ranking not in detectors:
        ranking = "loss" if "loss" in detectors else next(iter(detectors))
        logger.warning("%s needs the model at hand; %s ranks the samples", settled.ranking, ranking)
    chosen = Chosen(detectors, ranking, samples, settled.details)
    result = scored(opened, evidence, chosen, at_hand.train_set, request, clock)
    if samples is not None and at_hand.model is not None and at_hand.task is not None:
        with clock.stage("report"):
            write_highlights(result, at_hand.model, at_hand.task, samples, opened.batch_size, settings.precision)
    return published(opened, result, clock, device=settled.device, shares=shares)


@dataclass(frozen=True)
class Chosen:
    """What is settled before evidence is scored.

    Attributes:
        detectors: Name to detector.
        ranking: Name of the one that ranks.
        samples: The data set, where it is at hand.
        details: What goes into the manifest.
    """

    detectors: Mapping[str, Detector]
    ranking: str
    samples: Samples | None
    details: Mapping[str, Any]


def scored(
    opened: OpenRun, evidence: Evidence, chosen: Chosen, train_set: Any, request: Request, clock: Clock
) -> Audit:
    """Stages score, decide and tabulate; warnings are logged.

    Args:
        opened: The run directory.
        evidence: What is known of its samples.
        chosen: Detectors and data set.
        train_set: The data set as the user gave it.
        request: What is asked for.
        clock: Counts the time.

    Returns:
        The audit; its run is not whole yet.
    """
    with clock.stage("scores"):
        table = finish(
            opened.run,
            evidence,
            chosen.detectors,
            chosen.ranking,
            request.settings,
            samples=chosen.samples,
            groups=request.groups,
            test_set=request.test_set,
            details={**chosen.details, "left_out": list(request.source.get("left_out") or ())},
            show_progress=request.show_progress,
        )
    result = Audit(table, opened.run, train_set)
    for warning in result.warnings:
        logger.warning(warning)
    return result


def published(opened: OpenRun, result: Audit, clock: Clock, *, device: str, shares: Sequence[Share] = ()) -> Audit:
    """Stage report, and the run's final name.

    Args:
        opened: The run directory.
        result: The audit.
        clock: Seconds of the stages.
        device: Where gradients were computed.
        shares: What each worker has done.

    Returns:
        The audit.
    """
    with clock.stage("report"):
        if opened.temporary is None:
            result.report(opened.run.path / "report.html")
    timing = {
        "host": platform.node(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": max(1, len(shares)),
        "final_batch_size": min((share.batch_size for share in shares), default=None),
        "seconds": {stage: round(spent, 3) for stage, spent in clock.seconds.items()},
    }
    if shares:
        timing["workers"] = [asdict(share) for share in shares]
    forget_parts(opened.run)
    forget_neighbours(opened.run)
    opened.run.write_json("timing.json", timing)
    opened.run.finish()
    return result


def checked_groups(groups: np.ndarray | None, size: int) -> None:
    """Refuses groups of another shape, before anything is computed.

    Args:
        groups: Group of each sample.
        size: Number of samples.
    """
    crossed([] if groups is None else [groups], size)
