"""An audit from begin to end, as a list of stages: prepare, open, collect, score, decide, tabulate, report.

Two sources of evidence share all stages behind collecting: a model that is run over its training set, and evidence that is
there already.
"""

from __future__ import annotations

import logging
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.cleaning import crossed
from gradsift.data import Samples, fingerprint_samples
from gradsift.detectors import Detector
from gradsift.evidence import Evidence, refuse_other_data, stored_evidence
from gradsift.gradients import Batcher, device_of, probe
from gradsift.gradients.model_state import unwrapped
from gradsift.gradients.probe import Probe
from gradsift.gradients.projection import VERSION
from gradsift.preparation import Preparation, prepare
from gradsift.report.highlights import write_highlights
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.stages import Expected, OpenRun, choose_detectors, collect_arrays, finish, open_run
from gradsift.stages.cross_fit_heads import add_head_predictions
from gradsift.store import collect, fingerprint_model
from gradsift.store.processes import leading, rank_and_count, together
from gradsift.table.audited_run import OF_PREDICTIONS
from gradsift.tasks import Task, kind_of
from gradsift.trajectory import Trajectory

logger = logging.getLogger(__name__)

SHARDS_DO_NOT_DEPEND_ON = ("contamination", "hold_classes", "cross_fit_heads", "batch_size")
"""Settings that may change before a run is taken up again."""


@dataclass(frozen=True)
class Request:
    """What an audit is asked for, beside where its evidence comes from.

    Attributes:
        settings: The settings.
        groups: Group of each sample, shape (n,), each of which loses the same share.
        class_names: Names of the classes.
        output: Run directory to write; a temporary one where ``None``.
        overwrite: Whether a whole run, or unfinished work of another one, may be replaced.
        source: What a command line needs to replay the run.
        show_progress: Whether to show progress bars.
    """

    settings: AuditSettings
    groups: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    output: str | Path | None = None
    overwrite: bool = False
    source: Mapping[str, Any] = field(default_factory=dict)
    show_progress: bool = True

    def config(self, batch_size: int) -> dict[str, Any]:
        """What goes into ``config.yaml``.

        Args:
            batch_size: Samples a batch, settled.

        Returns:
            Plain values.
        """
        return {"settings": self.settings.to_dict() | {"batch_size": batch_size}, "source": dict(self.source)}

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that decide what shards hold."""
        return {k: v for k, v in self.settings.to_dict().items() if k not in SHARDS_DO_NOT_DEPEND_ON}


class Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time of a stage.

        Args:
            name: Its name; what is counted under it already stays.

        Yields:
            Nothing.
        """
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def audit_model(
    model: nn.Module, train_set: Any, task: str | Task, trajectory: Trajectory | None, request: Request
) -> Audit:
    """Runs a model over its training set and audits what it shows. Several processes share the passes.

    Args:
        model: The trained model, in eval mode.
        train_set: The data it was trained on.
        task: What a sample's loss is.
        trajectory: What was recorded along training.
        request: What is asked for.

    Returns:
        The audit.
    """
    clock, model, settings = Clock(), unwrapped(model), request.settings
    with clock.stage("prepare"):
        ready = together(lambda: prepare(model, train_set, task, settings, trajectory, request.class_names))
        checked_groups(request.groups, len(ready.samples))
        identity = identity_of(model, ready, trajectory, request)
        measured = together(
            lambda: probe(ready.gradients, ready.samples, ready.in_float32, batch_size=ready.batch_size)
        )
    with open_run(request.output, identity, request.config(ready.batch_size), overwrite=request.overwrite) as opened:
        with clock.stage("gradients"):
            batcher = Batcher(opened.batch_size)
            lengths = together(
                lambda: collect(
                    opened.run,
                    ready.gradients,
                    ready.task,
                    ready.samples,
                    batcher,
                    shard_size=ready.shard_size,
                    show_progress=request.show_progress,
                    overlap=device_of(model).type != "cpu",  # docs/performance-scaling.md: nothing is gained on one
                )
            )
        leading(lambda: opened.run.record_shards(lengths))

        def complete() -> Audit:
            if ready.cross_fit_heads:
                with clock.stage("heads"):
                    add_head_predictions(opened.run, settings, request.groups, show_progress=request.show_progress)
            elif opened.run.read_json("manifest.json").get("heads"):  # by unfinished work with another setting
                opened.run.update({"heads": None})
            evidence = stored_evidence(opened.run, kind_of(ready.task), trajectory=trajectory).with_(
                class_names=ready.class_names
            )
            chosen = Chosen(ready.detectors, ready.detector, ready.samples, details_of(identity, ready, measured))
            result = scored(opened, evidence, chosen, train_set, request, clock)
            with clock.stage("report"):
                write_highlights(result, model, ready.task, ready.samples, opened.batch_size, settings.precision)
            return published(opened, result, clock, device=_device_name(model), batch_size=batcher.size)

        result = leading(complete) or Audit.open(opened.final, train_set)
    opened.remove_with(result)
    return result


def audit_evidence(evidence: Evidence, data: Any, request: Request) -> Audit:
    """Audits evidence that is there already; no model is run.

    Args:
        evidence: What is known of the samples.
        data: The data set that it is of, for trimming and previews; ``None`` where it is not at hand.
        request: What is asked for.

    Returns:
        The audit.

    Raises:
        DataError: The data set has another number of samples.
    """
    clock, samples = Clock(), None
    with clock.stage("prepare"):
        if data is not None:
            samples = Samples(data)
            evidence.refuse_other_size(len(samples))
            refuse_other_data(samples, evidence.labels, evidence.class_names, evidence.data_fingerprint)
        checked_groups(request.groups, len(evidence))
        evidence = evidence if request.class_names is None else evidence.with_(class_names=list(request.class_names))
        last_layer = evidence.features is not None
        fields = evidence.known | ({"gradients"} if last_layer else set())
        expected = Expected(frozenset(fields), True, last_layer=True, trajectory=evidence.trajectory)
        detectors, ranking = choose_detectors(request.settings, expected)
        digest, covered = (
            fingerprint_samples(samples)
            if samples is not None
            else (
                evidence.data_fingerprint,
                "the data set that was cross-fitted" if evidence.data_fingerprint else "no data set",
            )
        )
        identity = {
            "data": digest,
            "evidence": evidence.digest(),
            "task": OF_PREDICTIONS,
            "trajectory": None if evidence.trajectory is None else evidence.trajectory.fingerprint(),
            "settings": request.identity,
        }
    details = {
        **_about(identity, covered),
        "model_fingerprint": None,
        "coverage": "last layer, from predictions and features" if last_layer else "none, predictions alone",
    }
    with open_run(request.output, identity, request.config(1), overwrite=request.overwrite) as opened:
        with clock.stage("gradients"):
            opened.run.record_shards(collect_arrays(opened.run, evidence, shard_size=request.settings.shard_size))
        on_disk = stored_evidence(opened.run, evidence.kind, provenance=evidence.comes_from("predictions")).with_(
            trajectory=evidence.trajectory, class_names=evidence.class_names
        )
        result = scored(opened, on_disk, Chosen(detectors, ranking, samples, details), data, request, clock)
        result = published(opened, result, clock, device=platform.machine() + " CPU")
    opened.remove_with(result)
    return result


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
            details={**chosen.details, "left_out": list(request.source.get("left_out") or ())},
            show_progress=request.show_progress,
        )
    result = Audit(table, opened.run, train_set)
    for warning in result.warnings:
        logger.warning(warning)
    return result


def published(opened: OpenRun, result: Audit, clock: Clock, *, device: str, batch_size: int | None = None) -> Audit:
    """Stage report, and the run's final name.

    Args:
        opened: The run directory.
        result: The audit.
        clock: Seconds of the stages.
        device: Where gradients were computed.
        batch_size: Samples a batch at the end.

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
        "processes": rank_and_count()[1],
        "final_batch_size": batch_size,
        "seconds": {stage: round(spent, 3) for stage, spent in clock.seconds.items()},
    }
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


def identity_of(
    model: nn.Module, ready: Preparation, trajectory: Trajectory | None, request: Request
) -> dict[str, Any]:
    """All that decides what shards hold.

    Args:
        model: The model.
        ready: What was prepared.
        trajectory: What was recorded along training.
        request: What is asked for.

    Returns:
        Plain values.
    """
    data, covered = ready.fingerprint or fingerprint_samples(ready.samples)
    logger.info("the fingerprint of the data covers %s", covered)
    return {
        "model": fingerprint_model(model),
        "data": data,
        "data covers": covered,
        "task": _describe(ready.task),
        "encoding": getattr(ready.samples.source, "encoding", None),
        "reductions": repr(ready.gradients.reductions),
        "projection version": VERSION,
        "parameters": list(ready.gradients.parameters),
        "device": device_of(model).type,
        "trajectory": trajectory.fingerprint() if trajectory is not None else None,
        "trajectory described": trajectory.describe() if trajectory is not None else None,
        "settings": request.identity,
    }


def details_of(identity: Mapping[str, Any], ready: Preparation, measured: Probe) -> dict[str, Any]:
    """What the manifest says of an audit of a model.

    Args:
        identity: What :func:`identity_of` gave.
        ready: What was prepared.
        measured: What the checks before the audit measured.

    Returns:
        Plain values.
    """
    return {
        **_about(identity, identity["data covers"]),
        "model_fingerprint": identity["model"],
        "encoding": identity["encoding"],
        "coverage": str(ready.gradients.coverage),
        "parameters": identity["parameters"],
        "probe": {"alone_versus_batch": measured.alone_versus_batch, "precision_noise": measured.precision_noise},
        "precision": identity["settings"]["precision"],
        "projection_version": VERSION,
        "trajectory": identity["trajectory described"],
    }


def _about(identity: Mapping[str, Any], covered: str) -> dict[str, Any]:
    return {
        "data_fingerprint": identity["data"],
        "data_fingerprint_covers": covered,
        "task": identity["task"],
        "versions": {name: version(name) for name in ("gradsift", "torch", "numpy", "scikit-learn", "pyarrow")},
    }


def _describe(task: Task) -> str:
    """A task in words, with its settings; without addresses, which differ between two processes."""
    names = list(getattr(task, "__dict__", {})) or [n for c in type(task).__mro__ for n in getattr(c, "__slots__", ())]
    values = {name: getattr(task, name, None) for name in names}
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(task).__module__}.{type(task).__qualname__} {values}")


def _device_name(model: nn.Module) -> str:
    device = device_of(model)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " CPU"
