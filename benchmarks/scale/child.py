"""One audit in a process of its own; prints one line of JSON. The other files start it, and kill it."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import gradsift
from gradsift.engines import Local, Ray
from gradsift.errors import RunDirectoryError
from scale.workload import SETTINGS, Images, network


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["local", "ray", "part", "merge"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--shard-size", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    data = Images(given.size, given.seconds)
    common = {"shard_size": given.shard_size, "show_progress": False, **SETTINGS}
    began = time.perf_counter()
    if given.engine == "part":
        gradsift.audit_part(network(), data, (given.part, given.workers), output=given.folder, **common)
        print(json.dumps({"seconds": time.perf_counter() - began}))
        return
    cpu = 0.0
    if given.engine == "merge":
        gradsift.merge(given.folder, data, network(), show_progress=False)
    else:
        if given.engine == "ray":
            import ray

            ray.init(num_cpus=max(2, given.workers), include_dashboard=False, log_to_driver=False, logging_level=40)
        began = time.perf_counter()
        computing = time.process_time()
        engine = Ray(workers=given.workers) if given.engine == "ray" else Local()
        try:
            gradsift.audit(network(), data, output=given.folder, engine=engine, **common)
        except RunDirectoryError as error:
            if "whole run" not in str(error):  # killed after its end
                raise
        cpu = time.process_time() - computing
    timing = json.loads((given.folder / "timing.json").read_text())
    print(json.dumps({"seconds": time.perf_counter() - began, "timing": timing, "cpu": cpu}))


if __name__ == "__main__":
    main()
