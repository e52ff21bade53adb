"""What comes after the gradients, rehearsed on a few rows: shards, scores, table and page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gradsift.data import Samples
from gradsift.evidence import stored_evidence
from gradsift.gradients.probe import Probe
from gradsift.preparation import Preparation
from gradsift.report.highlights import write_highlights
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.stages import finish
from gradsift.stages.cross_fit_heads import add_head_predictions
from gradsift.stages.further_evidence import with_further
from gradsift.store import RunDirectory
from gradsift.tasks import LabelledTask, Task, kind_of


@dataclass(frozen=True)
class Rehearsal:
    """What comes after the gradients, on one number of rows.

    Attributes:
        rows: How many rows.
        write: Seconds of writing their shards.
        scores: Seconds of detectors and table.
        page: Seconds of the page.
        table_bytes: Of the table in memory.
        table_file_bytes: Of its file.
        page_bytes: Of the page and the JSON files.
    """

    rows: int
    write: float
    scores: float
    page: float
    table_bytes: int
    table_file_bytes: int
    page_bytes: int


def rehearse(
    model: nn.Module,
    ready: Preparation,
    settings: AuditSettings,
    checked: Probe,
    statistics: Mapping[str, np.ndarray],
    size: int,
) -> Rehearsal:
    """Scores and page of rows drawn from given ones, each number a little changed so that no two are the same.

    Args:
        model: The model.
        ready: What the audit would begin with.
        settings: The settings.
        checked: What the checks before the audit measured.
        statistics: Statistics of some samples, as shards hold them.
        size: How many rows.

    Returns:
        What it took.
    """
    generator, sampled = np.random.default_rng(0), len(statistics["loss"])
    chosen = np.arange(size) if size == sampled else generator.choice(sampled, size, replace=size > sampled)
    statistics = _of_two_classes(ready.task, statistics, chosen[0])
    with tempfile.TemporaryDirectory(prefix="gradsift-") as folder:
        run = RunDirectory.begin(Path(folder) / "run", "plan", {"settings": settings.to_dict()})
        write = _write_shards(run, statistics, chosen, ready.shard_size, generator)
        began = time.perf_counter()
        if ready.cross_fit_heads:
            add_head_predictions(run, settings, kind_of(ready.task), show_progress=False)
        evidence = stored_evidence(run, kind_of(ready.task)).with_(class_names=ready.class_names)
        evidence = with_further(
            evidence, ready.detectors.values(), model, ready.task, ready.samples, chosen % len(ready.samples),
            ready.batch_size, show_progress=False,
        )  # fmt: skip
        few = _first(ready.samples, size)
        table = finish(
            run, evidence, ready.detectors, ready.detector, settings,
            samples=Samples(few), details=_details(ready, settings, checked), show_progress=False,
        )  # fmt: skip
        scored = time.perf_counter()
        audit = Audit(table, run, few)
        write_highlights(audit, model, ready.task, ready.samples, ready.batch_size, settings.precision)
        audit.report(run.path / "report.html")
        drawn = time.perf_counter()
        run.close()
        files = {path.name: path.stat().st_size for path in (Path(folder) / "run.part").iterdir() if path.is_file()}
    return Rehearsal(
        rows=size,
        write=write,
        scores=scored - began,
        page=drawn - scored,
        table_bytes=table.nbytes,
        table_file_bytes=files.pop("scores.parquet"),
        page_bytes=sum(files.values()),
    )


def _of_two_classes(task: Task, statistics: Mapping[str, np.ndarray], place: int) -> Mapping[str, np.ndarray]:
    """Gives a row another class where all rows are of one, which scores refuse; all samples together need not be."""
    if not isinstance(task, LabelledTask) or task.kind != "class" or np.ptp(statistics["label"]):
        return statistics
    labels = statistics["label"]
    changed = (labels + (np.arange(len(labels)) == place)) % statistics["prediction"].shape[1]
    return {**statistics, "label": changed}


def _details(ready: Preparation, settings: AuditSettings, checked: Probe) -> dict[str, Any]:
    """What the manifest of the rehearsed run says beside its results."""
    return {
        "versions": {"gradsift": version("gradsift")},
        "probe": asdict(checked),
        "precision": settings.precision,
        "coverage": str(ready.gradients.coverage),
        "task": type(ready.task).__name__,
        "data_fingerprint": None,
        "data_fingerprint_covers": None,
        "model_fingerprint": None,
    }


def _write_shards(
    run: RunDirectory,
    rows: Mapping[str, np.ndarray],
    chosen: np.ndarray,
    shard_size: int,
    generator: np.random.Generator,
) -> float:
    """Writes the chosen rows as shards; gives the seconds of writing alone."""
    seconds, lengths = 0.0, []
    for shard, start in enumerate(range(0, len(chosen), shard_size)):
        places = chosen[start : start + shard_size]
        statistics = {name: _varied(values[places], generator) for name, values in rows.items()}
        began = time.perf_counter()
        run.write_shard(0, shard, statistics)
        seconds += time.perf_counter() - began
        lengths.append(len(places))
    run.record_shards(lengths)
    return seconds


def _first(samples: Samples, size: int) -> Any:
    """A data set of the first samples, without a copy of arrays."""
    arrays = samples.arrays
    if isinstance(arrays, dict):
        return {name: column[:size] for name, column in arrays.items()}
    return tuple(column[:size] for column in arrays) if arrays is not None else samples.keep(np.arange(size))


def _varied(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    return values * (1 - 1e-3 * generator.random(values.shape, dtype=np.float32)).astype(values.dtype)
