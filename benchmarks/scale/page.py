"""Writes the figures of docs/scale.md between its two marks, from the rows alone."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

from frame.rows import RESULTS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/scale.md"
MARKS = "<!-- figures: python benchmarks/scale page -->", "<!-- end of figures -->"
Row = dict[str, Any]


def write() -> None:
    """Puts the figures into the page."""
    text = PAGE.read_text()
    between = re.compile(f"{re.escape(MARKS[0])}.*?{re.escape(MARKS[1])}", re.DOTALL)
    PAGE.write_text(between.sub(lambda _: f"{MARKS[0]}\n{figures()}\n{MARKS[1]}", text))


def figures() -> str:
    """All sections of which there are rows."""
    made = {
        "throughput": throughput, "kills": kills, "scheduling": scheduling, "memory": memory, "ends": ends,
        "approximate": approximate,
    }  # fmt: skip
    return "\n\n".join(make(read(part)) for part, make in made.items() if read(part))


def read(part: str) -> list[Row]:
    """The rows of a part.

    Args:
        part: Its name.
    """
    path = RESULTS / f"scale_{part}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def throughput(rows: list[Row]) -> str:
    """Samples a second, and the ratios within each turn, of the largest size."""
    size = max(row["samples"] for row in rows)
    rows = [row for row in rows if row["samples"] == size]
    lines = [
        "### Ray against one process, on the same cores",
        "",
        f"`python benchmarks/scale throughput --size {size}`: {size:,} images of 32 x 32, last layer, turns in which the "
        f"order changes: {1 + max(row['turn'] for row in rows)}. {rows[0]['cores']} cores, "
        f"{rows[0]['machine'].partition(',')[0]}. Median (smallest to largest).",
        "",
        "*For a CPU second*: samples for each second that the workers' processes have computed in the passes, which other "
        "work does not change; the driver's own computing is in the last column.",
        "",
        "| engine | samples/s | of local | start of the workers left out | of local | for a CPU second | driver (CPU s) |",
        "|---|---|---|---|---|---|---|",
    ]
    local = {row["turn"]: row for row in rows if row["engine"] == "local"}
    words = {
        "local": "`local`, 2 threads",
        "ray": "`ray`, 2 workers of 1 CPU",
        "one worker": "`ray`, 1 worker of 1 CPU",
    }
    for engine, name in words.items():
        own = [row for row in rows if row["engine"] == engine and row["turn"] in local]
        if not own:
            continue
        cells = []
        for column in ("passes", "busy"):
            ratio = statistics.median(local[row["turn"]][column] / row[column] for row in own)
            cells += [_spread([size / row[column] for row in own]), f"{ratio:.2f}"]
        cells += [
            _spread([size / row["cpu"] for row in own]),
            f"{statistics.median(row['driver_cpu'] for row in own):.1f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kills(rows: list[Row]) -> str:
    """How many kills, and what they cost."""
    lines = [
        "### Kills at random moments",
        "",
        f"`python benchmarks/scale kills`, {len(rows)} kills, {_seeds(rows)}: somebody is killed with SIGKILL, "
        "then the same command is given again where it has ended. Runs of Ray lose an actor, one of two machines (its "
        "raylet) and their driver one after the other; jobs of an array lose a part. *Differs*: any byte of the run "
        "directory, `timing.json` "
        "left out.",
        "",
        "| killed | times | whole shards at that moment | of these written again | runs that differ |",
        "|---|---|---|---|---|",
    ]
    for victim in dict.fromkeys(row["victim"] for row in rows):
        own = [row for row in rows if row["victim"] == victim]
        sums = [sum(int(row[column]) for row in own) for column in ("whole_at_kill", "written_again", "differs")]
        lines.append(f"| {victim} | {len(own)} | {sums[0]} | {sums[1]} | {sums[2]} |")
    return "\n".join(lines)


def _seeds(rows: list[Row]) -> str:
    """The seeds of some rows, in words."""
    seeds = sorted({str(row["seed"]) for row in rows})
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {' and '.join(seeds)}"


def _reality(rows: list[Row]) -> list[str]:
    """Real runs of Ray beside what the simulation says of them, each with the times of its own turn."""
    size = max(row["samples"] for row in rows)
    rows = [row for row in rows if row["samples"] == size]
    lines = [
        f"`python benchmarks/scale reality --size {size}`: real runs of {size:,} images, "
        f"turns: {1 + max(row['turn'] for row in rows)}. "
        "Medians (smallest to largest).",
        "",
        "| workers | simulated (CPU s) | real (CPU s) | simulated over real |",
        "|---|---|---|---|",
    ]
    for workers in sorted({row["workers"] for row in rows}):
        own = [row for row in rows if row["workers"] == workers]
        real, simulated = ([row[column] for row in own] for column in ("real", "simulated"))
        ratios = [s / r for s, r in zip(simulated, real, strict=True)]
        cells = [
            f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
            for values, digits in ((simulated, 1), (real, 1), (ratios, 2))
        ]
        lines.append(f"| {workers} | {' | '.join(cells)} |")
    return lines


def scheduling(rows: list[Row]) -> str:
    """The simulation beside reality, then utilisation by workers and shard size."""
    times = [row for row in rows if row["part"] == "measured"]
    real = read("reality")
    simulated = [row for row in rows if row["part"] == "scheduling"]
    lines = [
        "### Scheduling, simulated",
        "",
        f"`python benchmarks/scale scheduling`: 100,000,000 samples. Measured on 2 cores "
        f"({rows[0]['machine'].partition(',')[0]}), as computing, which other work on the machine does not lengthen: a "
        f"sample, the spread of real shards, and {times[0]['message'] * 1000:.2f} ms of the driver for each call, in the "
        "engine's own pool. Fixed beforehand: a worker dies once in 100 hours and another one stands there after a minute; "
        f"a worker loads for {simulated[0]['start']:.0f} seconds. The engine's own code shares out the shards.",
    ]
    if real:
        lines += ["", *_reality(real)]
    lines += [
        "",
        "Utilisation: share of all workers' time in which passes run that count; then the same without the loading. "
        "**Bold**: the shard size that `gradsift plan --workers` gives, and the number of workers up to which it says that "
        "they pay.",
    ]
    for time in times:
        network = time["network"]
        own = [row for row in simulated if row["network"] == network]
        lines += [
            "",
            f"*{network[0].upper()}{network[1:]}, {time['sample_seconds'] * 1000:.3g} ms a sample:*",
            "",
            "| workers | shard size | time | utilisation | without loading | leases of a worker | driver busy | deaths |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in own:
            bold, pays = ("**" if row[name] else "" for name in ("planned", "pays"))
            lines.append(
                f"| {pays}{row['workers']:,}{pays} | {bold}{row['shard_size']:,}{bold} | {_time(row['seconds'])} | "
                f"{row['utilisation']:.1%} | {row['after_start']:.1%} | {row['leases'] / row['workers']:,.0f} | "
                f"{row['driver']:.1%} | {row['deaths']} |"
            )
    return "\n".join(lines)


def memory(rows: list[Row]) -> str:
    """Peak memory by number of samples."""
    lines = [
        "### Memory of the driver",
        "",
        "`python benchmarks/scale memory`: entries of all shards are simulated, handed out and put into the manifest. "
        "A plan has at most 250,000 shards. Scores and table are not in it.",
        "",
        "| samples | shards | manifest (MiB) | peak beyond the start (MiB) | peak (MiB) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = (row["manifest_bytes"] / 2**20, row["beyond_start_mib"], row["peak_mib"])
        lines.append(f"| {row['samples']:,} | {row['shards']:,} | {' | '.join(f'{size:,.0f}' for size in sizes)} |")
    return "\n".join(lines)


def ends(rows: list[Row]) -> str:
    """Memory of the last stages by number of samples."""
    lines = [
        "### Memory of the last stages",
        "",
        "`python benchmarks/scale ends`: statistics of all samples are drawn; the posterior, L2 norms and losses are "
        "scored, and the table and the page are written. Memory of the process itself, without files that are mapped. "
        "Columns of at most 64 MiB, tables of at most a million rows and beliefs of at most 128 MiB are held in memory; "
        "these limits are lowered here, so that what grows shows.",
        "",
        "| samples | beyond the start (MiB) | bytes for each further sample | CPU seconds | table (MiB) |",
        "|---|---|---|---|---|",
    ]
    for before, row in zip([None, *rows], rows, strict=False):
        grown = row["peak_mib"] - row["start_mib"]
        each = "" if before is None else f"{_further(before, row):.0f}"
        size = row["table_bytes"] / 2**20
        lines.append(f"| {row['samples']:,} | {grown:,.0f} | {each} | {row['seconds']:,.0f} | {size:,.0f} |")
    return "\n".join(lines)


def _further(before: Row, row: Row) -> float:
    """Bytes for each sample that one row has more than another."""
    grown, grew = (one["peak_mib"] - one["start_mib"] for one in (row, before))
    return (grown - grew) * 2**20 / (row["samples"] - before["samples"])


def approximate(rows: list[Row]) -> str:
    """Wrong labels found and seconds, by search."""
    lines = [
        "### Neighbours among a sample, or approximate ones among all",
        "",
        "`python benchmarks/scale approximate`: one label in five is wrong at random. Average precision of the posterior "
        "on 10,000 samples. Predictions are those of a model that has memorised all labels (neighbours alone speak), and "
        "out-of-fold ones of a linear head (both weigh the same). Seconds of computing on one thread for all samples, "
        f"with the building of the index. 50 neighbours by 64 features, seed {rows[0]['seed']}, faiss on "
        f"{rows[0]['machine'].partition(',')[0]}.",
    ]
    for data, samples in dict.fromkeys((row["data"], row["samples"]) for row in rows):
        own = [row for row in rows if (row["data"], row["samples"]) == (data, samples)]
        lines += [
            "",
            f"*{data}, {samples:,} samples:*",
            "",
            "| search | memorised | out of fold | seconds |",
            "|---|---|---|---|",
        ]
        for search in dict.fromkeys(row["search"] for row in own):
            ap = {row["belief"]: row["ap"] for row in own if row["search"] == search}
            seconds = next(row["all"] for row in own if row["search"] == search)
            lines.append(f"| {search} | {ap['memorised']:.3f} | {ap['out of fold']:.3f} | {seconds:.0f} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
