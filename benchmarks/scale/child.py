"""One audit in a process of its own; prints one line of JSON. The other files start it, and kill it."""

from __future__ import annotations

import argparse
import json
import logging
import time
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["local", "ray", "part", "merge", "timed"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--shard-size", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--data", choices=["images", "texts"], default="images")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    data: Any = Images(given.size, given.seconds) if given.data == "images" else Texts(given.size)
    model = network() if given.data == "images" else encoder()
    common = {"shard_size": given.shard_size, "show_progress": False, **SETTINGS}
    began = time.perf_counter()
    if given.engine == "part":
        gradsift.audit_part(model, data, (given.part, given.workers), output=given.folder, **common)
        print(json.dumps({"seconds": time.perf_counter() - began}))
        return
    cpu = 0.0
    if given.engine == "merge":
        gradsift.merge(given.folder, data, model, show_progress=False)
    else:
        if given.engine == "ray":
            import ray

            ray.init(num_cpus=max(2, given.workers), include_dashboard=False, log_to_driver=False, logging_level=40)
        began = time.perf_counter()
        computing = time.process_time()
        engine = {"ray": Ray(workers=given.workers), "timed": Timed(), "local": Local()}[given.engine]
        try:
            gradsift.audit(model, data, output=given.folder, engine=engine, **common)
        except RunDirectoryError as error:
            if "whole run" not in str(error):  # killed after its end
                raise
        cpu = time.process_time() - computing
    timing = json.loads((given.folder / "timing.json").read_text())
    shards = engine.seconds if given.engine == "timed" else None
    print(json.dumps({"seconds": time.perf_counter() - began, "timing": timing, "cpu": cpu, "shards": shards}))


if __name__ == "__main__":
    main()
