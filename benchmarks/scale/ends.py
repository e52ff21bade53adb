"""Memory of the process that scores, decides, writes the table and the page, of shards whose statistics are drawn.

Up to some millions of samples all columns are held in memory, with more they lie in temporary files. Here the limits are
lowered, so that what still grows shows with few samples.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (500_000, 1_000_000, 2_000_000)
CLASSES, WIDTH, SHARD = 4, 8, 16_384
"""Few, so that passes over them are short: they are read in pieces, and take no more memory where there are more."""

TOLD = ("data_fingerprint", "data_fingerprint_covers", "model_fingerprint", "coverage", "task")
"""What the page tells of a run."""


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a number of samples.

    Args:
        given: ``largest`` number of samples, ``minutes``.
    """
    found, until = [], time.monotonic() + 60 * given.minutes
    for samples in SIZES:
        if samples <= given.largest and time.monotonic() < until:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(_of, (samples,))
            print(row, flush=True)
            found.append(row)
    return found


def _of(samples: int) -> dict[str, Any]:
    """Scores the samples of a run that is drawn, and writes its table and its page."""
    from gradsift import scratch
    from gradsift.detectors import belief, get_detector
    from gradsift.evidence import stored_evidence
    from gradsift.result import Audit
    from gradsift.settings import AuditSettings
    from gradsift.stages import finish
    from gradsift.store import RunDirectory, tables

    scratch.IN_MEMORY, tables.IN_MEMORY, belief.HELD_BYTES = 2**20, 2**14, 4 * 2**20
    with tempfile.TemporaryDirectory() as folder:
        config = {"settings": {"batch_size": 1}}
        with RunDirectory.begin(Path(folder) / "run", "f" * 64, config) as run:
            _draw(run, samples)
            peak, began = _Peak(), time.process_time()
            evidence = stored_evidence(run, "class")
            detectors = {name: get_detector(name) for name in ("posterior", "l2", "loss")}
            details = dict.fromkeys(TOLD, "drawn") | {"versions": {"gradsift": version("gradsift")}}
            settings = AuditSettings(findings=False)
            table = finish(run, evidence, detectors, "posterior", settings, details=details, show_progress=False)
            scored = peak.so_far()
            Audit(table, run).report()
            seconds = time.process_time() - began
            written = (run.path / "scores.parquet").stat().st_size
    return {
        "part": "ends", "samples": samples, "start_mib": peak.before / 1024, "scored_mib": scored / 1024,
        "peak_mib": peak.so_far() / 1024, "seconds": seconds, "table_bytes": written,
    }  # fmt: skip


def _draw(run: Any, samples: int) -> None:
    """Shards of a model that is right about nine labels of ten, and whose features say nothing."""
    generator, lengths = np.random.default_rng(0), []
    for shard, start in enumerate(range(0, samples, SHARD)):
        size = min(SHARD, samples - start)
        labels = generator.integers(0, CLASSES, size)
        sure = np.where(generator.random(size) < 0.9, labels, generator.integers(0, CLASSES, size))
        logits = generator.standard_normal((size, CLASSES)) + 3 * np.eye(CLASSES)[sure]
        predictions = np.exp(logits)
        predictions /= predictions.sum(axis=1, keepdims=True)
        features = generator.standard_normal((size, WIDTH)) + 4 * np.eye(WIDTH)[sure]
        losses = -np.log(predictions[np.arange(size), labels])
        statistics = {"features": features, "prediction": predictions, "residual": predictions, "loss": losses}
        statistics["l2"] = np.linalg.norm(features, axis=1) * losses
        small = {name: values.astype(np.float32) for name, values in statistics.items()}
        run.write_shard(0, shard, small | {"label": labels})
        lengths.append(size)
    run.record_shards(lengths)


class _Peak:
    """The most anonymous memory of this process: what is mapped from files can be given back at any time."""

    def __init__(self) -> None:
        self.before = self._most = _anonymous()
        threading.Thread(target=self._look, daemon=True).start()

    def so_far(self) -> int:
        """KiB."""
        return max(self._most, _anonymous())

    def _look(self) -> None:
        while True:
            self._most = max(self._most, _anonymous())
            time.sleep(0.01)


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
