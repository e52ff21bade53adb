"""The page, from the rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from frame.page import machines, markdown_table, write_page
from frame.rows import Row, Rows

from scaling.audits import LAYERS, SIZES

ROWS = Rows("scaling.jsonl", key=("job",))


GOAL = 0.10


def chosen(part: str) -> list[dict[str, Any]]:
    return [row for row in ROWS.read() if row["job"]["part"] == part]


def page_samples() -> list[str]:
    lines, verdicts = [], []
    for layers in ("last", "all"):
        rows = {row["job"]["size"]: row["found"] for row in chosen("samples") if row["job"]["layers"] == layers}
        if SIZES[0] not in rows:
            continue
        start, cells = rows[SIZES[0]], []
        each: dict[int, dict[str, float]] = {}
        for size, found in sorted(rows.items()):
            each[size] = {
                kind: 1e6 * (found[kind] - start[kind]) / (size - SIZES[0]) if size > SIZES[0] else 0.0
                for kind in ("seconds", "computing")
            }
            kept = [found[f"{kind}_bytes"] for kind in ("table", "shard", "other")]
            cells.append([
                f"{size:,}", *(f"{found[kind]:.1f}" for kind in ("seconds", "computing")),
                *(f"{one:.1f}" if one else "" for one in each[size].values()),
                *(f"{one / 2**20:,.1f}" for one in (found["peak_bytes"] - kept[0], *kept)), f"{found['files']:,}",
            ])  # fmt: skip
        lines += [f"### {'Last layer' if layers == 'last' else 'All layers'}", "", *markdown_table(COLUMNS, cells), ""]
        if {100_000, 1_000_000} <= rows.keys():
            lines += page_steps(rows)
            verdicts += verdicts_of(layers, rows, each)
    goals = f"Goals: at most {1 + GOAL:.2f} in time a sample and in memory beside the table."
    return [*lines, goals, "", *verdicts, ""] if verdicts else lines


COLUMNS = (
    "samples", "seconds", "computing (s)", "µs a sample, less start-up", "computing, µs a sample",
    "peak less table (MiB)", "table (MiB)", "shards (MiB)", "other files (MiB)", "files",
)  # fmt: skip


def verdicts_of(layers: str, rows: dict[int, Row], each: dict[int, dict[str, float]]) -> list[str]:
    """Whether time and memory at a million samples reach the goals."""
    few, many = rows[100_000], rows[1_000_000]
    ratios = {f"{kind} a sample": each[1_000_000][kind] / each[100_000][kind] for kind in ("seconds", "computing")}
    base, peak = (found["peak_bytes"] - found["table_bytes"] for found in (few, many))
    ratios["peak memory less the table"] = peak / base
    lines = [
        f"* {layers}, {name} at 1,000,000 over 100,000: {ratio:.2f}, {'met' if ratio <= 1 + GOAL else 'missed'}"
        for name, ratio in ratios.items()
    ]
    grown = (many["peak_bytes"] - few["peak_bytes"]) / 900_000
    lines[-1] += (
        f"; the peak grows by {grown:,.0f} bytes a sample, of which the table holds {many['table_bytes'] / 1e6:,.0f}"
    )
    return [f"{line}." for line in lines]


def page_steps(rows: dict[int, dict[str, Any]]) -> list[str]:
    """Where computing time goes, step by step."""
    few, many = rows[100_000]["steps"], rows[1_000_000]["steps"]
    order = sorted(many, key=lambda step: -many[step][1])
    lines = []
    for step in order:
        cells = [1e6 * found[step][1] / size for size, found in ((100_000, few), (1_000_000, many)) if step in found]
        if cells[-1] >= 0.05:
            share = 100 * many[step][1] / rows[1_000_000]["computing"]
            lines.append((step, *(f"{one:.2f}" for one in cells), f"{share:.0f} %"))
    columns = ("step", "µs a sample at 100,000", "at 1,000,000", "share at 1,000,000")
    return [*markdown_table(columns, lines), ""]


def page_images(part: str, title: str, label: Callable[[dict[str, Any]], str]) -> list[str]:
    cells = [
        (
            label(job), *(f"{1000 * found['stages'][stage] / job['size']:.2f}" for stage in ("gradients", "scores")),
            f"{found['shard_bytes'] / job['size']:,.0f}", f"{found['peak_bytes'] / 2**20:,.0f}", found["coverage"],
        )
        for job, found in ((row["job"], row["found"]) for row in chosen(part))
    ]  # fmt: skip
    columns = ("gradients, ms a sample", "scores, ms a sample", "shard bytes a sample", "peak (MiB)", "gradients")
    return [*markdown_table((title, *columns), cells), ""]


def page_overlap() -> list[str]:
    cells = []
    for row in chosen("overlap"):
        one, other = (np.array(row["found"][kind]) for kind in ("overlapped", "in turn"))
        ratio, computing = (one / other).T
        medians = [f"{np.median(values):.2f}" for values in (other[:, 0], one[:, 0], ratio, computing)]
        width = f"{ratio.min():.2f} to {ratio.max():.2f}"
        cells.append((row["job"]["case"], row["job"]["threads"], *medians[:3], width, medians[3]))
    columns = ("data and model", "threads", "in turn (s)", "overlapped (s)", "ratio", "lowest to highest")
    return [*markdown_table((*columns, "computing, ratio"), cells), ""]


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

Written by `python benchmarks/scaling --write` from `benchmarks/results/scaling.jsonl`; the rows come from
`python benchmarks/scaling`. Machine: {machines}. Samples are made when they are read, every audit ran in a fresh
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
