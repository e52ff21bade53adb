"""Per-sample gradients side by side: gradsift, plain torch and eight peers on the same models and batches.

    python benchmarks/speed --prepare                       # the peers' environment, once
    python benchmarks/speed                                 # time and memory of everything; hours on two cores
    python benchmarks/speed --models mlp,minilm --jobs L2 --peers opacus,loop --rounds 3
    python benchmarks/speed --peers none --measure time     # gradsift and the plain passes alone
    python benchmarks/speed --device cuda --together        # with the models that need a GPU
    python benchmarks/speed --small --peers loop,vmap(grad) # every path on small models; no row is kept
    python benchmarks/speed --write                         # docs/performance.md, from the rows alone

Each peer runs in a process of its own, in its own environment where it has one; in every process plain passes and
gradsift's job of the same work on the same parameters are timed in turn with the peer's, so ratios compare across
processes. What a tool refuses, or what takes too long, becomes a row that says so. Rows: benchmarks/results/speed.jsonl,
newest wins.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for the frame; peers import the other modules

import attribution  # noqa: F401  # registers its jobs
import page
import peers  # noqa: F401
from environments import prepare, python_of
from frame.rows import Row
from goals import ROWS
from jobs import JOBS, WORKS, Job
from models import CASES

WORKER = Path(__file__).with_name("worker.py")
ALWAYS = ("torch", "gradsift")


def chosen_jobs(wanted: str, tools: str) -> list[Job]:
    """Jobs of the wanted works and peers; plain passes are always wanted, and gradsift is always among the peers."""
    works = [one.strip() for one in wanted.split(",")] if wanted != "all" else []
    named = ALWAYS if tools == "none" else None if tools == "all" else (*ALWAYS, *tools.split(","))
    return [
        job
        for job in JOBS.values()
        if (named is None or job.peer in named) and (not works or not job.work or job.work in works)
    ]


def by_peer(jobs: Iterable[Job], *, together: bool = False) -> dict[str, list[Job]]:
    """Jobs that share a process: a peer's own; gradsift's with the plain passes, and with all of plain torch if asked."""
    ours = (*ALWAYS, "loop", "vmap(grad)") if together else ALWAYS
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault("gradsift" if job.peer in ours else job.peer, []).append(job)
    return groups


def run(model: str, measure: str, jobs: list[Job], arguments: argparse.Namespace) -> list[Row]:
    """Runs jobs in a fresh process; a job of which it gives no row, because it died, gets one that says how."""
    python = python_of(jobs[0].peer)
    if python is None:
        print(f"  {jobs[0].peer}: no environment, run python benchmarks/speed --prepare")
        return []
    command = [
        str(python), str(WORKER), "--measure", measure, "--model", model, "--jobs", ";".join(job.key for job in jobs),
        "--device", arguments.device, "--rounds", str(arguments.rounds), "--threads", str(arguments.threads),
        "--seconds", str(arguments.seconds),
        *(["--small"] if arguments.small else []),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    if ended.returncode:
        died = f"the process ended with {ended.returncode}"
        told = {(row["peer"], row["job"]) for row in found}
        last = ended.stderr.strip().splitlines()[-1:]
        print(f"  {died}: {''.join(last)}")
        common = {"measure": measure, "device": arguments.device, "machine": "", "model": model, "size": 0}
        found += [
            common | {"peer": job.peer, "job": job.name, "work": job.work, "version": job.peer, "refused": died}
            for job in jobs
            if (job.peer, job.name) not in told
        ]
    return found


def show(row: Row) -> None:
    if "refused" in row:
        what = row["refused"]
    elif row["measure"] == "memory":
        what = f"{row['megabytes']:9.0f} MB"
    else:
        against = f"{row['against']:7.2f} x gradsift" if row.get("against") else ""
        what = f"{row['ms']:9.1f} ms {row['forward']:7.2f} x forward {row['training']:7.2f} x training pass {against}"
    print(f"  {row['peer']:12s} {row['job']:26s} {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", action="store_true", help="make the peers' environments, and stop")
    parser.add_argument("--write", action="store_true", help="only write docs/performance.md")
    parser.add_argument("--models", default="all", help=f"with commas: {', '.join(CASES)}")
    parser.add_argument("--jobs", default="all", help=f"with commas: {', '.join(WORKS)}")
    parser.add_argument("--peers", default="all", help="with commas, or none")
    parser.add_argument("--measure", default="time,memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300.0, help="longest time for one run of a job")
    parser.add_argument(
        "--together", action="store_true", help="loop and vmap(grad) in gradsift's process: fewer starts"
    )
    parser.add_argument(
        "--small", action="store_true", help="small models of the same kinds, to try the benchmark itself"
    )
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare()
        return
    if not arguments.write:
        here = arguments.device != "cpu" or arguments.small
        models = [name for name, case in CASES.items() if here or not case.gpu_only]
        jobs = chosen_jobs(arguments.jobs, arguments.peers)
        for model in models if arguments.models == "all" else arguments.models.split(","):
            for measure in arguments.measure.split(","):
                if measure == "memory" and not CASES[model].memory_size:
                    continue
                print(f"{CASES[model].title}: {measure}", flush=True)
                for group in by_peer(jobs, together=arguments.together).values():
                    if measure == "memory":  # a fresh process for each job
                        found = [row for job in group for row in run(model, measure, [job], arguments)]
                    else:
                        found = run(model, measure, group, arguments)
                    for row in found:
                        show(row)
                    if not arguments.small:
                        ROWS.add(*found)
    if not arguments.small:
        page.write()


if __name__ == "__main__":
    main()
