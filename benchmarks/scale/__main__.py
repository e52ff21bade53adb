"""Engines on more workers than one: throughput, kills, scheduling, memory.

    python benchmarks/scale throughput --size 1000000 --rounds 1    # resumes; three rounds of 100000 take as long
    python benchmarks/scale kills --count 50 --victims part actor driver raylet
    python benchmarks/scale scheduling                              # times of one process, then the simulation
    python benchmarks/scale reality --size 100000 --rounds 3        # the simulation beside real runs of 1 and 2 workers
    python benchmarks/scale memory --largest 100000000
    python benchmarks/scale ends                                    # memory of scores, table and page
    python benchmarks/scale approximate --size 100000 --data DIR    # needs faiss-cpu; DIR holds fashion_mnist/
    python benchmarks/scale page                                    # the figures of docs/scale.md, from the rows alone

Rows go to benchmarks/results/scale_<part>.jsonl, in the place of older ones.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # Ray's workers give way to all others otherwise, and other work runs here
}
sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as scale.<module>

from frame.rows import RESULTS, machine  # noqa: E402

PARTS = ("throughput", "kills", "scheduling", "reality", "memory", "ends", "approximate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "page"])
    parser.add_argument("--size", type=int, default=100_000, help="samples of real runs")
    parser.add_argument("--rounds", type=int, default=3, help="turns of throughput and reality")
    parser.add_argument("--count", type=int, default=50, help="kills")
    parser.add_argument("--minutes", type=float, default=600.0, help="after so many no further kill or size is begun")
    parser.add_argument("--victims", nargs="+", default=["part", "actor", "driver", "raylet"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=float, default=30.0, help="seconds in which a worker loads, for the simulation")
    parser.add_argument("--most-shards", type=int, default=500_000, help="larger simulations are left out")
    parser.add_argument("--keep-real", action="store_true", help="simulate anew, keep the times that were measured")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("GRADSIFT_DATA"), help="folder of the real data sets"
    )
    parser.add_argument("--largest", type=int, default=100_000_000, help="samples of the largest simulated manifest")
    given = parser.parse_args()
    if given.part == "page":
        importlib.import_module("scale.page").write()
        return
    about = {"machine": machine(), "cores": os.cpu_count(), "version": version("gradsift")}
    found = importlib.import_module(f"scale.{given.part}").rows(given)
    lines = [json.dumps({**about, **row}) + "\n" for row in found]
    (RESULTS / f"scale_{given.part}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
