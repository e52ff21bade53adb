"""How an audit scales: samples, dimensions of the projection, layers; what overlapping buys; on paper, 100 million samples.

    python benchmarks/scaling                                  # all parts, one thread; about half an hour
    python benchmarks/scaling --part samples --largest 100000
    python benchmarks/scaling --part overlap --threads 2
    python benchmarks/scaling --write                          # docs/performance-scaling.md, from the rows

Data are made: sample i is computed from its number when it is read, so that a million take no memory. Every measurement
runs in a fresh process. Part ``samples``: 1,000 to 1,000,000 samples, a perceptron 64-64-10, last layer and all layers;
start-up is an audit of 100 samples. Parts ``dimensions`` and ``layers``: a ResNet-20 on images. Part ``overlap``: gradients
with and without reading ahead and writing behind, in turn, medians of ratios within a round. Memory is the kernel's
high-water mark beyond what the process held before the audit. Seconds are of the clock; *computing* seconds are what the
process has computed, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as scaling.<module>

from frame.command import parser_of, run_once  # noqa: E402
from frame.processes import answer_of  # noqa: E402
from frame.rows import machine  # noqa: E402

from scaling import page  # noqa: E402
from scaling.audits import DIMENSIONS, IMAGES, LAYERS, OVERLAPS, SIZES, audit, overlap  # noqa: E402
from scaling.page import ROWS  # noqa: E402


def jobs(asked: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each part measures."""
    sizes = [size for size in SIZES if size <= asked.largest]
    return {
        "samples": [{"size": size, "layers": layers, "dim": 512} for size in sizes for layers in ("last", "all")],
        "dimensions": [{"size": IMAGES, "layers": "all", "dim": dim} for dim in DIMENSIONS],
        "layers": [{"size": IMAGES, "layers": layers, "dim": 512} for layers in LAYERS.values()],
        "overlap": [{"case": case, "threads": asked.threads, "rounds": asked.rounds} for case in OVERLAPS],
    }


def measure(asked: argparse.Namespace) -> None:
    """Measures every job that is missing."""
    for part, each in jobs(asked).items():
        for job in each if asked.part in (None, part) else ():
            text = json.dumps(job | {"part": part})
            job, threads = json.loads(text), job.get("threads", 1)
            if ROWS.have(job=job):
                continue
            found = answer_of(Path(__file__).parent, ["--job", text], threads=threads)
            ROWS.add({"job": job, "found": found, "machine": machine(threads=threads)})
            print(text, {name: value for name, value in found.items() if name not in ("steps", "coverage")}, flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--part", choices=["samples", "dimensions", "layers", "overlap"])
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="most samples of part samples")
    parser.add_argument("--rounds", type=int, default=7, help="of part overlap")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    arguments, _ = parser.parse_known_args()
    if arguments.job:
        print(json.dumps((overlap if arguments.job["part"] == "overlap" else audit)(arguments.job)))
        return
    run_once(parser, measure, page.write)


if __name__ == "__main__":
    main()
