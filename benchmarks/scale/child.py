"""One audit in a process of its own; prints one line of JSON. The other files start it, and kill it."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradsift
from gradsift.engines import Local, Ray, Share, Stage
from gradsift.errors import RunDirectoryError
from gradsift.store.partition import Partition
from scale.workload import SETTINGS, Images, Texts, encoder, network


class Timed:
    """One process, one shard after the other.

    Attributes:
        seconds: How long each shard was computed.
    """

    load = None

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills all shards."""
        stage.setup()
        shares = [stage.run([shard]) for shard in range(len(partition))]
        self.seconds = [share.cpu_seconds for share in shares]
        return [sum(shares[1:], shares[0])]


def audited(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs an audit, or a part of one.

    Args:
        arguments: As on the command line, which is read where they are left out.

    Returns:
        Seconds, and what the run says of its timing.
    """
    given = _parser().parse_args(arguments)
    data: Any = Images(given.size, given.seconds) if given.data == "images" else Texts(given.size)
    model = network() if given.data == "images" else encoder()
    common = {"shard_size": given.shard_size, "show_progress": False, "findings": not given.no_findings, **SETTINGS}
    began = time.perf_counter()
    if given.engine == "part":
        gradsift.audit_part(model, data, (given.part, given.workers), output=given.folder, **common)
        return {"seconds": time.perf_counter() - began}
    cpu = 0.0
    if given.engine == "merge":
        gradsift.merge(given.folder, data, model, show_progress=False)
    else:
        if given.engine == "ray" and given.address is None:
            import ray

            ray.init("local", num_cpus=max(2, given.workers), include_dashboard=False, log_to_driver=False)
        began = time.perf_counter()
        computing = time.process_time()
        on_ray = Ray(workers=given.workers, address=given.address)
        engine = {"ray": on_ray, "timed": Timed(), "local": Local()}[given.engine]
        try:
            gradsift.audit(model, data, output=given.folder, engine=engine, **common)
        except RunDirectoryError as error:
            if "whole run" not in str(error):  # killed after its end
                raise
        cpu = time.process_time() - computing
    timing = json.loads((given.folder / "timing.json").read_text())
    shards = engine.seconds if given.engine == "timed" else None
    return {"seconds": time.perf_counter() - began, "timing": timing, "cpu": cpu, "shards": shards}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["local", "ray", "part", "merge", "timed"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--shard-size", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--address", help="of a Ray cluster; one of this process where left out")
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--data", choices=["images", "texts"], default="images")
    parser.add_argument("--no-findings", action="store_true")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print(json.dumps(audited()))
