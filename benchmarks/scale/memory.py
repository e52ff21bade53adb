"""Memory of the process that shares out shards and keeps the manifest, for a run whose entries are simulated."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = ((1_000_000, 2048), (10_000_000, 2048), (100_000_000, 2048), (100_000_000, 400))
"""Samples, and samples a shard; the last ones are what a plan says for ten thousand workers."""
FILES = ("features", "l1", "l2", "label", "loss", "prediction", "residual")


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a number of samples.

    Args:
        given: ``largest`` number of samples, ``minutes``.
    """
    found, until = [], time.monotonic() + 60 * given.minutes
    for samples, size in SIZES:
        if samples <= given.largest and time.monotonic() < until:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(_of, (samples, size))
            print(row, flush=True)
            found.append(row)
    return found


def _of(samples: int, size: int) -> dict[str, Any]:
    """Begins a run, simulates the entries of all shards, hands out the shards, and records them."""
    from gradsift.engines.leases import Leases
    from gradsift.store import RunDirectory
    from gradsift.store.checksums import to_json
    from gradsift.store.partition import Partition
    from gradsift.store.shards import CHECKSUMS, shard_folder

    partition = Partition(samples, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.begin(Path(folder) / "run", "f" * 64, {"settings": {"batch_size": 1}})
        for shard in range(len(partition)):
            place = shard_folder(run.path, 0, shard)
            place.mkdir(parents=True)
            files = {f"{name}.npy": f"{shard:064x}" for name in FILES}
            entry = {"files": files, "rows": size, "run": "f" * 64, "worker": "host-0001:12345"}
            (place / CHECKSUMS).write_text(to_json(entry))
        leases = Leases(len(partition), 1000)
        while leases.take():
            leases.learn(1, 1.0)
        run.record_shards(partition.lengths)
        manifest = (run.path / "manifest.json").stat().st_size
        run.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return json.loads(
        json.dumps(
            {"part": "memory", "samples": samples, "shards": len(partition), "manifest_bytes": manifest,
             "beyond_start_mib": (peak - before) / 1024, "peak_mib": peak / 1024}
        )
    )  # fmt: skip
