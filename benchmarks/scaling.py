"""How an audit scales: samples, dimensions of the projection, layers; what overlapping buys; on paper, 100 million samples.

    python benchmarks/scaling.py                                  # all parts, one thread; about half an hour
    python benchmarks/scaling.py --part samples --largest 100000
    python benchmarks/scaling.py --part overlap --threads 2
    python benchmarks/scaling.py --write                          # docs/performance-scaling.md, from the rows

Data are made: sample i is computed from its number when it is read, so that a million take no memory. Every measurement
runs in a fresh process. Part ``samples``: 1,000 to 1,000,000 samples, a perceptron 64-64-10, last layer and all layers;
start-up is an audit of 100 samples. Parts ``dimensions`` and ``layers``: a ResNet-20 on images. Part ``overlap``: gradients
with and without reading ahead and writing behind, in turn, medians of ratios within a round. Memory is the kernel's
high-water mark beyond what the process held before the audit. Seconds are of the clock; *computing* seconds are what the
process has computed, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.command import parser_of, run_once
from frame.page import machines, write_page
from frame.rows import Rows, machine
from PIL import Image
from plan_check import memory, settle
from resnet20 import ResNet20
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from gradsift.gradients import Batcher
from gradsift.preparation import prepare
from gradsift.settings import AuditSettings
from gradsift.store import RunDirectory, collect

ROWS = Rows("scaling.jsonl", key=("job",))
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
GOAL = 0.10
DIMENSIONS = (64, 256, 1024, 4096, 8192)
LAYERS: dict[str, Any] = {"last layer": "last", "last half": ("layer3.*", "linear.*"), "all layers": "all"}
IMAGES = 512
CLASSES, WIDTH, NOISES = 10, 64, 4099


# Data that take no memory


class Made(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
    """Ten clusters; a tenth of the labels is one class too high."""

    def __init__(self, size: int) -> None:
        generator = np.random.default_rng(0)
        self.size = size
        self.centres = generator.standard_normal((CLASSES, WIDTH), dtype=np.float32)
        self.noises = 2 * generator.standard_normal((NOISES, WIDTH), dtype=np.float32)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        if position >= self.size:
            raise IndexError(position)
        mixed = (position * 2_654_435_761) >> 7
        label = mixed % CLASSES
        wrong = (mixed // CLASSES) % 10 == 0
        return self.centres[label] + self.noises[position % NOISES], (label + wrong) % CLASSES


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """PNG files in memory, decoded (and made smaller) as they are read."""

    def __init__(self, size: int, side: int) -> None:
        self.size, self.files = size, []
        for pixels in np.random.default_rng(0).integers(0, 255, (64, side // 8, side // 8, 3), dtype=np.uint8):
            file = io.BytesIO()
            Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position >= self.size:
            raise IndexError(position)
        image = Image.open(io.BytesIO(self.files[position % 64])).convert("RGB").resize((32, 32))
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1), position % CLASSES


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    data, optimizer = Made(100_000), torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(200):
        inputs, labels = zip(*(data[64 * step + place] for place in range(64)), strict=True)
        loss = functional.cross_entropy(model(torch.from_numpy(np.stack(inputs))), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def images(count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, 3, 32, 32), torch.arange(count) % CLASSES


# One audit in a process of its own


STEPS = (
    "prepare", "fingerprint_samples", "probe", "collect", "detrimental_scores", "decide", "build_table", "memorised",
    "model_notices", "cut_notices", "write_highlights",
)  # fmt: skip
"""Functions of the audit that are timed one by one."""


def timed_steps() -> dict[str, list[float]]:
    """Step to seconds and computing seconds, filled while an audit runs; detectors one by one."""
    room, spent = sys.modules["gradsift.audit"], dict[str, list[float]]()

    def timing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:
            began, computed = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                key = f"detector {type(arguments[0]).__name__}" if name == "detrimental_scores" else name
                total = spent.setdefault(key, [0.0, 0.0])
                total[0] += time.perf_counter() - began
                total[1] += time.process_time() - computed

        return run

    for name in STEPS:
        if hasattr(room, name):
            setattr(room, name, timing(name, getattr(room, name)))
    room.pq.write_table = timing("write_table", room.pq.write_table)
    gradsift.Audit.report = timing("report", gradsift.Audit.report)  # type: ignore[method-assign]
    return spent


def audit(job: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    on_images = job["part"] != "samples"
    model = ResNet20().eval() if on_images else perceptron()
    data: Any = images(job["size"]) if on_images else Made(job["size"])
    layers = job["layers"] if isinstance(job["layers"], str) else tuple(job["layers"])
    steps = timed_steps()
    settle()
    base, began, computed = memory("VmRSS"), time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = gradsift.audit(
            model,
            data,
            layers=layers,
            detector="l2",
            projection=job["dim"],
            output=Path(folder) / "run",
            show_progress=False,
        )
        seconds, computing = time.perf_counter() - began, time.process_time() - computed
        sizes = {path: path.stat().st_size for path in found.run.path.rglob("*") if path.is_file()}
        shards = sum(size for path, size in sizes.items() if path.suffix == ".npy")
        return {
            "seconds": seconds,
            "computing": computing,
            "stages": found.run.read_json("timing.json")["seconds"],
            "steps": steps,
            "coverage": found.details["coverage"],
            "peak_bytes": memory("VmHWM") - base,
            "table_bytes": found.table.nbytes,
            "shard_bytes": shards,
            "other_bytes": sum(sizes.values()) - shards,
            "files": len(sizes),
        }


OVERLAPS: dict[str, Callable[[], tuple[nn.Module, Any, str, int | str]]] = {
    "PNG 32 × 32, ResNet-20, last layer": lambda: (ResNet20().eval(), Pictures(1024, 32), "last", "auto"),
    "PNG 256 × 256, ResNet-20, last layer": lambda: (ResNet20().eval(), Pictures(512, 256), "last", "auto"),
    "PNG 256 × 256, ResNet-20, all layers": lambda: (ResNet20().eval(), Pictures(256, 256), "all", "auto"),
    "samples made one by one, perceptron, last layer": lambda: (perceptron(), Made(20_000), "last", "auto"),
    "samples made one by one, perceptron, all layers": lambda: (perceptron(), Made(20_000), "all", "auto"),
    "arrays, perceptron, all layers": lambda: (perceptron(), arrays(20_000), "all", "auto"),
    "arrays, ResNet-20, all layers": lambda: (ResNet20().eval(), images(256), "all", "auto"),
}


def arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = zip(*(Made(count)[place] for place in range(count)), strict=True)
    return np.stack(inputs), np.array(labels)


def overlap(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of all gradients in turn with and without overlapping."""
    torch.set_num_threads(job["threads"])
    model, data, layers, size = OVERLAPS[job["case"]]()
    settings = AuditSettings(layers=layers, batch_size=size)
    ready = prepare(model, data, "classification", settings)
    spent: dict[bool, list[list[float]]] = {True: [], False: []}
    for turn in range(job["rounds"] + 1):
        for on in (True, False) if turn % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                run = RunDirectory.begin(Path(folder) / "run", "scaling", {"settings": settings.to_dict()})
                began, computed = time.perf_counter(), time.process_time()
                collect(
                    run, ready.gradients, ready.task, ready.samples, Batcher(ready.batch_size),
                    shard_size=ready.shard_size, show_progress=False, overlap=on,
                )  # fmt: skip
                if turn:  # the first round warms up
                    spent[on].append([time.perf_counter() - began, time.process_time() - computed])
    return {"samples": len(ready.samples), "overlapped": spent[True], "in turn": spent[False]}


def fresh(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    environment = os.environ | {"OMP_NUM_THREADS": str(job.get("threads", 1))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{job}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def part_samples(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    sizes = [size for size in SIZES if size <= arguments.largest]
    return [{"size": size, "layers": layers, "dim": 512} for size in sizes for layers in ("last", "all")]


def part_dimensions(_arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"size": IMAGES, "layers": "all", "dim": dim} for dim in DIMENSIONS]


def part_layers(_arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"size": IMAGES, "layers": layers, "dim": 512} for layers in LAYERS.values()]


def part_overlap(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"case": case, "threads": arguments.threads, "rounds": arguments.rounds} for case in OVERLAPS]


PARTS = {"samples": part_samples, "dimensions": part_dimensions, "layers": part_layers, "overlap": part_overlap}


def measure(arguments: argparse.Namespace) -> None:
    for name in [arguments.part] if arguments.part else PARTS:
        for job in PARTS[name](arguments):
            job |= {"part": name}
            if ROWS.have(job=json.loads(json.dumps(job))):
                continue
            row = {"job": job, "found": fresh(job), "machine": machine(threads=job.get("threads", 1))}
            ROWS.add(row)
            print(job, {k: v for k, v in row["found"].items() if k not in ("steps", "coverage")}, flush=True)


# The page


def chosen(part: str) -> list[dict[str, Any]]:
    return [row for row in ROWS.read() if row["job"]["part"] == part]


def page_samples() -> list[str]:
    lines, verdicts = [], []
    for layers in ("last", "all"):
        rows = {row["job"]["size"]: row["found"] for row in chosen("samples") if row["job"]["layers"] == layers}
        if SIZES[0] not in rows:
            continue
        start = rows[SIZES[0]]
        lines += [
            f"### {'Last layer' if layers == 'last' else 'All layers'}",
            "",
            "| samples | seconds | computing (s) | µs a sample, less start-up | computing, µs a sample "
            "| peak less table (MiB) | table (MiB) | shards (MiB) | other files (MiB) | files |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        each: dict[int, dict[str, float]] = {}
        for size, found in sorted(rows.items()):
            each[size] = {
                kind: 1e6 * (found[kind] - start[kind]) / (size - SIZES[0]) if size > SIZES[0] else 0.0
                for kind in ("seconds", "computing")
            }
            sizes = (found["peak_bytes"] - found["table_bytes"], *(found[k] for k in ("table_bytes", "shard_bytes")))
            cells = [
                f"{size:,}", f"{found['seconds']:.1f}", f"{found['computing']:.1f}",
                *(f"{each[size][kind]:.1f}" if each[size][kind] else "" for kind in ("seconds", "computing")),
                *(f"{one / 2**20:,.1f}" for one in (*sizes, found["other_bytes"])), f"{found['files']:,}",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        if {100_000, 1_000_000} <= rows.keys():
            lines += page_steps(rows)
            for kind in ("seconds", "computing"):
                ratio = each[1_000_000][kind] / each[100_000][kind]
                state = "met" if ratio <= 1 + GOAL else "missed"
                verdicts.append(f"* {layers}, {kind} a sample at 1,000,000 over 100,000: {ratio:.2f}, {state}.")
            base, peak = (rows[size]["peak_bytes"] - rows[size]["table_bytes"] for size in (100_000, 1_000_000))
            state = "met" if peak <= (1 + GOAL) * base else "missed"
            grown = (rows[1_000_000]["peak_bytes"] - rows[100_000]["peak_bytes"]) / 900_000
            table = rows[1_000_000]["table_bytes"] / 1_000_000
            verdicts.append(
                f"* {layers}, peak memory less the table at 1,000,000 over 100,000: {peak / base:.2f}, {state}; the peak "
                f"grows by {grown:,.0f} bytes a sample, of which the table holds {table:,.0f}."
            )
    goals = f"Goals: at most {1 + GOAL:.2f} in time a sample and in memory beside the table."
    return [*lines, goals, "", *verdicts, ""] if verdicts else lines


def page_steps(rows: dict[int, dict[str, Any]]) -> list[str]:
    """Where computing time goes, step by step."""
    few, many = rows[100_000]["steps"], rows[1_000_000]["steps"]
    order = sorted(many, key=lambda step: -many[step][1])
    lines = ["| step | µs a sample at 100,000 | at 1,000,000 | share at 1,000,000 |", "|---|---|---|---|"]
    for step in order:
        cells = [1e6 * found[step][1] / size for size, found in ((100_000, few), (1_000_000, many)) if step in found]
        if cells[-1] >= 0.05:
            share = 100 * many[step][1] / rows[1_000_000]["computing"]
            lines.append(f"| {step} | " + " | ".join(f"{one:.2f}" for one in cells) + f" | {share:.0f} % |")
    return [*lines, ""]


def page_images(part: str, title: str, label: Callable[[dict[str, Any]], str]) -> list[str]:
    rows = chosen(part)
    if not rows:
        return []
    lines = [
        f"| {title} | gradients, ms a sample | scores, ms a sample | shard bytes a sample | peak (MiB) | gradients |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        found, size = row["found"], row["job"]["size"]
        cells = [
            label(row["job"]), *(f"{1000 * found['stages'][stage] / size:.2f}" for stage in ("gradients", "scores")),
            f"{found['shard_bytes'] / size:,.0f}", f"{found['peak_bytes'] / 2**20:,.0f}", found["coverage"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def page_overlap() -> list[str]:
    lines = [
        "| data and model | threads | in turn (s) | overlapped (s) | ratio | lowest to highest | computing, ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in chosen("overlap"):
        one, other = (np.array(row["found"][kind]) for kind in ("overlapped", "in turn"))
        ratio, computing = (one / other).T
        cells = [
            row["job"]["case"], str(row["job"]["threads"]), f"{np.median(other[:, 0]):.2f}",
            f"{np.median(one[:, 0]):.2f}", f"{np.median(ratio):.2f}", f"{ratio.min():.2f} to {ratio.max():.2f}",
            f"{np.median(computing):.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


# On paper


SAMPLES, TOKENS = 100_000_000, 512
MODEL = {"parameters": 70e9, "blocks": 80, "width": 8192, "keys": 1024}
"""Llama 3 70B's shape: keys and values of eight heads of 128."""
RANK, DIM, LAYER_DIM, SHARD = 16, 512, 16 * 16, 2048
PEAK, USED = 989e12, 0.4
"""An H100's bfloat16 operations a second without sparsity, and the share of them that is assumed to be reached."""
DEVICE_BYTES = 80e9


def page_paper() -> list[str]:
    width, keys, blocks = MODEL["width"], MODEL["keys"], MODEL["blocks"]
    projections = {"q": width, "k": keys, "v": keys, "o": width}
    adapters = blocks * sum(RANK * (width + outputs) for outputs in projections.values())
    matrices = int(blocks) * len(projections) * 2
    operations = 4 * MODEL["parameters"] * TOKENS
    attention = 2 * 2 * 2 * blocks * width * TOKENS * TOKENS / 2
    own = 2 * adapters * TOKENS + 2 * adapters
    total = SAMPLES * (operations + attention + own)
    hours = total / (PEAK * USED) / 3600
    rows = {row["job"]["size"]: row["found"] for row in chosen("samples") if row["job"]["layers"] == "all"}
    lines = [
        "| assumed | |",
        "|---|---|",
        f"| samples, tokens a sample | {SAMPLES:,}, {TOKENS} |",
        f"| model | {MODEL['parameters'] / 1e9:.0f} billion parameters, {blocks} blocks, width {width}, frozen, bfloat16 |",
        f"| adapters | rank {RANK} on q, k, v, o: {adapters / 1e6:.1f} million numbers in {matrices} matrices |",
        f"| device | {PEAK / 1e12:.0f} T operations a second, {100 * USED:.0f} % of them reached, "
        f"{DEVICE_BYTES / 1e9:.0f} GB |",
        "",
        "| counted | |",
        "|---|---|",
        f"| forward and back to the inputs, 4 x parameters x tokens | {operations / 1e12:,.0f} T operations a sample |",
        f"| attention itself, causal | {attention / 1e12:.2f} T ({100 * attention / operations:.1f} %) |",
        f"| the adapters' per-sample gradients, direct | {own / 1e12:.2f} T ({100 * own / operations:.1f} %) |",
        f"| device hours | {hours:,.0f}: {hours / 64 / 24:.1f} days on 64 devices; half as much again where activations "
        "are computed twice to save memory |",
        f"| loss and L2 norm | {8 * SAMPLES / 1e9:.1f} GB |",
        f"| one projection to {DIM} | {4 * DIM * SAMPLES / 1e9:,.0f} GB |",
        f"| a projection to 16 x 16 of each adapter matrix | {4 * LAYER_DIM * matrices * SAMPLES / 1e12:,.1f} TB, "
        f"{4 * LAYER_DIM * matrices / 1e6:.2f} MB a sample |",
        f"| shards of {SHARD:,} samples | {math.ceil(SAMPLES / SHARD):,} folders of 3 or 4 files |",
        f"| three shards in memory, with 16 x 16 a matrix | {12 * LAYER_DIM * matrices * SHARD / 1e9:.1f} GB a process |",
        f"| weights in bfloat16 | {2 * MODEL['parameters'] / 1e9:.0f} GB; in 4 bits {MODEL['parameters'] / 2e9:.0f} GB |",
    ]
    if 1_000_000 in rows:
        most = rows[1_000_000]
        grown = (most["peak_bytes"] - rows[100_000]["peak_bytes"]) / 900_000 if 100_000 in rows else 0
        after = 1e6 * sum(v[1] for k, v in most["steps"].items() if k not in ("prepare", "probe", "collect")) / 1e6
        lines += [
            f"| table, at what is measured above | {most['table_bytes'] * SAMPLES / 1e6 / 1e9:,.0f} GB, at its peak "
            f"{grown * SAMPLES / 1e9:,.0f} GB, in one process |",
            f"| scores, table, page, at what is measured above | {after * SAMPLES / 1e6 / 3600:.1f} hours, one process |",
        ]
    return [*lines, ""]


def write() -> None:
    page = [
        HEAD.format(machines=machines(ROWS.read())),
        *page_samples(),
        DIMENSION_WORDS,
        *page_images("dimensions", "dimensions", lambda job: f"{job['dim']:,}"),
        LAYER_WORDS,
        *page_images(
            "layers", "layers", lambda job: next(n for n, v in LAYERS.items() if list(v) == list(job["layers"]))
        ),
        OVERLAP_WORDS,
        *page_overlap(),
        PAPER_WORDS,
        *page_paper(),
        BREAKS,
    ]
    write_page("performance-scaling.md", page)


HEAD = """# How an audit scales

Written by `python benchmarks/scaling.py --write` from `benchmarks/results/scaling.jsonl`; the rows come from
`python benchmarks/scaling.py`. Machine: {machines}. Samples are made when they are read, every audit ran in a fresh
process, and start-up is what an audit of 100 samples takes. *Computing* is what the process has computed, which other work
on the machine does not lengthen. Peak memory is what the process took beyond model and data.

## From a thousand to a million samples

A perceptron 64-64-10, all usual scores, batches and shards as they are chosen; all layers with exact norms and a projection
to 512.
"""
DIMENSION_WORDS = """## Dimensions of the projection

A ResNet-20, all layers, 512 images.
"""
LAYER_WORDS = """## Layers

The same with 512 dimensions; the last half are the last stage and the last linear layer.
"""
OVERLAP_WORDS = """## Reading ahead and writing behind

While a batch is computed, one thread reads the next one and another writes the last shard. What is written is the same to
the byte. Rounds alternate; ratios are medians within a round. Arrays are not read ahead, so only writing overlaps there. On
a CPU's own cores it gains nothing, so an audit does it only where a GPU computes.
"""
PAPER_WORDS = """## On paper: 100 million samples, 70 billion parameters

Computed from these assumptions by the same command, nothing of it measured but the last two lines.
"""
BREAKS = """Where it breaks, in order:

1. **The first batch.** The weights do not fit one device in bfloat16, and gradsift refuses a model whose parameters lie on
   several devices, so today such a model needs a base in 4 bits on one device. Nothing about samples is the limit here.
2. **Projections of each matrix.** A sample's take hundreds of times the bytes of its text: keep norms and one projection of
   all adapters, or project fewer layers, unless influence of single layers is asked for.
3. **Table, scores and page in one process.** Gradients are a map over shards for as many processes as there are; what
   comes after them reads all samples on one machine, whose memory must hold the table.
4. **Folders of shards.** Each statistic opens every shard once, which a local disk does in seconds and an object store in
   minutes; larger shards (`shard_size`) have fewer.

The data set's fingerprint reads 256 samples however many there are, and the model's hash is one pass over the weights:
neither grows with samples.
"""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="most samples of part samples")
    parser.add_argument("--rounds", type=int, default=7, help="of part overlap")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    arguments, _ = parser.parse_known_args()
    if arguments.job:
        print(json.dumps((overlap if arguments.job["part"] == "overlap" else audit)(arguments.job)))
        return
    run_once(parser, measure, write)


if __name__ == "__main__":
    main()
