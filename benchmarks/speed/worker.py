"""Runs jobs on one model in whatever environment holds their packages, and prints one JSON row a job.

    python benchmarks/speed/worker.py --measure time --model mlp --jobs "gradsift:L2,opacus:hooks, L2" --rounds 5

Jobs are separated by ``;``. Time: every round runs every job once on the same batch, in turn, each after a forward pass
that is not timed, so that every job finds the caches alike; plain passes are always among the jobs, and so is gradsift's
job of the same work on the same parameters. Memory: one job in a fresh process, see :func:`memory`.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import ctypes
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attribution  # noqa: F401  # registers its jobs
import numpy as np
import peers
import torch
from jobs import JOBS, Job, Prepared, RefusalError, Results, ours
from models import Setting, build

FORWARD, TRAINING = "torch:forward", "torch:training pass"
ENOUGH = 20.0
"""Seconds after which a job is not timed again, if it has run three times, or once where one run takes that long."""


class TooSlowError(Exception):
    """One run of a job took longer than the limit."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises in the block once the seconds are over."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"one run takes more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refusal(error: BaseException) -> str:
    """The first line of what a tool says, with the error's class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and TooSlowError.__name__ in lines[0]:  # raised within a compiler, which wraps it
        return lines[0].partition(f"{TooSlowError.__name__}: ")[2]
    name = "" if isinstance(error, RefusalError | TooSlowError) else f"{type(error).__name__}: "
    return (name + (lines[0] if lines else "no message"))[:240]


def reference(setting: Setting) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By the one-sample loop in float64: parameter to the L1 norms and the squared L2 norms of its gradients, (n,)."""
    model = copy.deepcopy(setting.model).double()
    parameters = setting.trainable(model)
    tensors = [tensor.double() if tensor.is_floating_point() else tensor for tensor in setting.tensors]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in parameters}
    for place in range(len(setting)):
        loss = setting.losses(model, *(tensor[place : place + 1] for tensor in tensors)).sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True, allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            one, two = torch.linalg.vector_norm(gradient, 1), torch.linalg.vector_norm(gradient)
            found[name].append((float(one), float(two) ** 2))
    return {name: tuple(torch.tensor(rows, dtype=torch.float64).T) for name, rows in found.items()}  # type: ignore[misc]


def compare(
    results: Results, prepared: Prepared, truth: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, Any]:
    """How far norms are from the loop's, and what a projection keeps of the squared length."""
    names = truth.keys() if prepared.covers is None else prepared.covers
    l1, squared = sum(truth[name][0] for name in names), sum(truth[name][1] for name in names)
    found: dict[str, Any] = {}
    for key, expected in (("l1", l1), ("l2", squared.sqrt())):
        if key in results:
            wrong = (results[key].detach().double().cpu() - expected).abs() / expected
            found["error"] = max(found.get("error", 0.0), float(wrong.max()))
    if "projection" in results:
        projected = results["projection"].detach().double().cpu().flatten(1)
        kept = prepared.scale * projected.square().sum(1) / squared
        found |= {"kept": float(kept.mean()), "spread": float(kept.std()), "width": projected.shape[1]}
    return found


def covered(prepared: Prepared, setting: Setting) -> float:
    """Share of the trainable numbers whose gradients a job takes in."""
    numbers = {name: parameter.numel() for name, parameter in setting.trainable().items()}
    names = numbers if prepared.covers is None else prepared.covers
    return sum(numbers[name] for name in names) / sum(numbers.values())


def limit_memory() -> None:
    """Lets an allocation fail that the machine has no room for, rather than have the system end some process."""
    available = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024  # type: ignore[index]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(0.8 * available),) * 2)


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def prepare(job: Job, setting: Setting, seconds: float) -> Prepared:
    with limited(seconds):
        return job.build(setting)


def enough(spent: list[float]) -> bool:
    """Whether a slow job has been timed often enough."""
    return sum(spent) > ENOUGH and (len(spent) >= 3 or max(spent) > ENOUGH)


class Race:
    """The jobs of one process, timed in turn.

    Args:
        setting: Model and batch.
        device: Where they are.
        seconds: Longest time for one run.
    """

    def __init__(self, setting: Setting, device: str, seconds: float) -> None:
        self.setting, self.device, self.seconds = setting, device, seconds
        self.ready: dict[str, Prepared] = {}
        self.rivals: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.checked: dict[str, dict[str, Any]] = {}
        self.clock: dict[str, dict[int, float]] = {}
        self.processor: dict[str, dict[int, float]] = {}

    def enter(self, job: Job) -> None:
        """Builds a job, and beside a peer's gradsift's job of the same work on the same parameters."""
        try:
            self.ready[job.key] = prepared = prepare(job, self.setting, self.seconds)
        except Exception as error:  # noqa: BLE001  # whatever a tool raises is its answer
            self.refused[job.key] = refusal(error)
            return
        if job.peer in ("torch", "gradsift"):
            return
        everything = prepared.covers is None or set(prepared.covers) == set(self.setting.trainable())
        covers = None if everything else tuple(sorted(prepared.covers or ()))
        rival = f"gradsift:{job.work}" if everything else f"gradsift:{job.work}, {hash(covers)}"
        self.rivals[job.key] = rival
        if rival not in self.ready and rival not in self.refused:
            try:
                self.ready[rival] = ours(job.work, self.setting, covers)
            except Exception as error:  # noqa: BLE001
                self.refused[rival] = refusal(error)

    def run(self, rounds: int) -> None:
        """Times the jobs; the first round warms up, and its results are compared with the loop."""
        truth = reference(self.setting)
        for turn in range(rounds + 1):
            for key in list(self.ready):
                if enough(list(self.clock.get(key, {}).values())):
                    continue
                try:
                    results = self.one(key, turn)
                    if turn == 0:
                        self.checked[key] = compare(results, self.ready[key], truth)
                except Exception as error:  # noqa: BLE001
                    self.refused[key] = refusal(error)
                    del self.ready[key]
                    continue
                del results

    def one(self, key: str, turn: int) -> Results:
        self.ready[FORWARD].run()
        synchronise(self.device)
        with limited(self.seconds):
            started, processor = time.perf_counter(), time.process_time()
            results = self.ready[key].run()
            synchronise(self.device)
            clock, processor = time.perf_counter() - started, time.process_time() - processor
        if turn:
            self.clock.setdefault(key, {})[turn] = clock
            self.processor.setdefault(key, {})[turn] = processor
        return results

    def ratio(self, key: str, base: str) -> float | None:
        """Median over the rounds that both ran of the ratio within a round."""
        if key not in self.clock or base not in self.clock:
            return None
        both = self.clock[key].keys() & self.clock[base].keys()
        return float(np.median([self.clock[key][turn] / self.clock[base][turn] for turn in both]))

    def row(self, job: Job) -> dict[str, Any]:
        if job.key in self.refused:
            return {"refused": self.refused[job.key]}
        spent = np.asarray(list(self.clock[job.key].values()))
        quarter, median, three = np.percentile(spent, [25, 50, 75])
        row: dict[str, Any] = {
            "ms": 1000 * float(median),
            "quartiles": [1000 * float(quarter), 1000 * float(three)],
            "cpu": float(np.median(np.asarray(list(self.processor[job.key].values())) / spent)),
            "forward": self.ratio(job.key, FORWARD),
            "training": self.ratio(job.key, TRAINING),
            "rounds": len(spent),
            "covers": covered(self.ready[job.key], self.setting),
            **self.checked[job.key],
        }
        if job.key in self.rivals:
            row["against"] = self.ratio(job.key, self.rivals[job.key])
        return row


def resident() -> float:
    """Resident memory now, in MB."""
    return status("VmRSS")


def status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RefusalError("memory is read from /proc/self/status, which this system lacks")


def memory(job: Job, setting: Setting, device: str, seconds: float) -> dict[str, Any]:
    """Peak memory of a job in a fresh process, in MB.

    Subtracted is what is resident once the tool is imported, the model and the batch are built, and a plain forward pass
    of one sample has loaded the kernels. What the job builds for itself, before its runs, counts. The peak is the
    kernel's high-water mark (``VmHWM``, which ``getrusage`` calls ``ru_maxrss``), reset after the job was built, as set-up
    is not what a batch costs. Two runs. On a GPU: the allocator's peak, less what is allocated with model and batch.
    """
    if job.peer in peers.PACKAGES:
        importlib.import_module(peers.PACKAGES[job.peer][1])
    with torch.no_grad():
        setting.losses(setting.model, *(tensor[:1] for tensor in setting.tensors))
    trim()
    gpu = device != "cpu"
    base = torch.cuda.memory_allocated() / 2**20 if gpu else resident()
    prepared = prepare(job, setting, seconds)
    trim()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        with limited(seconds):
            prepared.run()
    peak = torch.cuda.max_memory_allocated() / 2**20 if gpu else status("VmHWM")
    return {"megabytes": peak - base, "base": base, "covers": covered(prepared, setting)}


def trim() -> None:
    """Gives freed memory back to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def machine(device: str) -> str:
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def version(peer: str) -> str:
    """What was installed of a peer's package."""
    package, _ = peers.PACKAGES.get(peer, ("torch", ""))
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def measure(arguments: argparse.Namespace, chosen: list[Job], report: Callable[[dict[str, Any]], None]) -> None:
    setting = build(arguments.model, arguments.device, memory=arguments.measure == "memory", small=arguments.small)
    common = {
        "measure": arguments.measure, "device": arguments.device, "machine": machine(arguments.device),
        "model": arguments.model, "size": len(setting),
    }  # fmt: skip
    if arguments.device == "cpu":
        limit_memory()
    race = Race(setting, arguments.device, arguments.seconds)
    if arguments.measure == "time":
        for job in [JOBS[FORWARD], JOBS[TRAINING], *chosen]:
            if job.key not in race.ready:
                race.enter(job)
        race.run(arguments.rounds)
    for job in chosen:
        about = {"peer": job.peer, "job": job.name, "work": job.work, "version": version(job.peer)}
        if arguments.measure == "time":
            found = race.row(job)
        else:
            try:
                found = memory(job, setting, arguments.device, arguments.seconds)
            except Exception as error:  # noqa: BLE001
                found = {"refused": refusal(error)}
        report(common | about | found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=["time", "memory"], default="time")
    parser.add_argument("--model", required=True)
    parser.add_argument("--jobs", required=True, help="peer:name, separated by semicolons")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300.0, help="longest time for a run of a job")
    parser.add_argument("--small", action="store_true", help="a small model of the same kind")
    arguments = parser.parse_args()
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print does not mix with the rows
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    chosen = [JOBS[key.strip()] for key in arguments.jobs.split(";")]
    measure(arguments, chosen, lambda row: print(json.dumps(row), file=rows, flush=True))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
