"""Writes docs/reliability.md from the rows."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

from chaos.results import ATTACKS, read
from chaos.stage import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HEAD = """# Nothing lost, nothing silently wrong

Written by `python benchmarks/chaos --write` from `benchmarks/results/chaos_*.parquet`; `make chaos` runs all attacks anew
(about half an hour on 2 cores) and writes this page. A small part of each attack runs in `make test`. An attempt runs in a
process of its own, forked from one that has only imported gradsift, so each begins alike.
"""


@dataclass(frozen=True)
class Goal:
    """What an attack must reach.

    Attributes:
        words: What is done.
        goal: What must hold.
        least: Attempts that it needs.
        how: How it is done.
    """

    words: str
    goal: str
    least: int
    how: str


GOALS = {
    "kills": Goal(
        "kills of audit, trim of every format, influence, verify, report, geometry and `Recorder.save`",
        "no file is partial at its final name, none is lost, the same command ends with the same bytes", 300,
        "A command dies before its k-th operation on the folder (open, rename, link, remove, flush to disk, lock), in the "
        "middle of the write that makes a file larger than so many bytes (the system's limit of file sizes), or at a "
        "random time. Then every final name must be whole or as it was, and the same command given again must end with the "
        "bytes of an undisturbed run, `timing.json` and seconds apart. Nothing else may be left but a second name (a hard "
        "link) of the finished file, or an empty lock, where the kill came after the file had its name: the next write "
        "there takes them away.",
    ),
    "pairs": Goal(
        "two processes on one output", "one proceeds, the other exits at once with a message; nothing is stuck or stray",
        100,
        "Two processes begin the same command within 50 ms, or within the time that it takes. Commands that may replace "
        "their own older output may both proceed, one after the other.",
    ),
    "flips": Goal(
        "one bit flipped anywhere in a run directory or a trajectory", "every flip is detected when the file is read", 2000,
        "Half of the flips go through the files in turn, half fall anywhere. Then the table, every statistic, the "
        "gradients, the configuration and the manifest are read. `timing.json` and `report.html` are outside the contract.",
    ),
    "damaged": Goal(
        "a `.part` that was damaged", "the same command ends with the same bytes", 50,
        "An audit is killed; of what it left a file is cut, emptied, removed, flipped, replaced by something else, by a "
        "folder, or by rows in another order, or a stray file is added.",
    ),
    "full_disk": Goal(
        "a full disk, every writing command", "the message says so; the same command ends well once there is room", 40,
        "A file system of a few pages (tmpfs), or the system's error at the k-th operation and at all that follow.",
    ),
    "inputs": Goal(
        "bad, odd and hostile inputs over all readers and tasks", "right, or refused with a message", 300,
        "Every reader with every fault of its format, every task with every fault of labels and outputs, options of wrong "
        "types, hostile texts, odd arrays. No traceback, no hang, and nothing that is silently wrong.",
    ),
    "conventions": Goal(
        "models, losses and batches with conventions of their own", "right to 1e-5 against a one-sample loop, or refused",
        40,
        "Norms of the stored gradients are compared with a plain loop of autograd over single samples.",
    ),
    "identity": Goal(
        "collate functions that reorder, drop or repeat samples", "right, or refused", 200,
        "Twenty data sets for each; the given label of every row is compared with the data set's.",
    ),
}  # fmt: skip


def write(folder: Path | None = None, page: Path = PAGE) -> None:
    """Writes the page.

    Args:
        folder: Where the rows lie.
        page: Where it goes.

    Raises:
        SystemExit: There are no rows.
    """
    found = {name: rows for name in ATTACKS if (rows := read(name, folder))}
    if not found:
        raise SystemExit("there are no rows: run python benchmarks/chaos first")
    lines = [HEAD, *summary(found)]
    for name, rows in found.items():
        lines += detail(name, rows)
    page.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {page}")


def summary(found: dict[str, list[Row]]) -> list[str]:
    """The table of goals.

    Args:
        found: Attack to its rows.
    """
    lines = ["| attack | goal | tried | failed | reached |", "|---|---|---|---|---|"]
    for name, rows in found.items():
        goal, failed, tried = GOALS[name], sum(row["failed"] for row in rows), len(counted(rows))
        reached = "yes" if not failed and tried >= goal.least else "**no**"
        lines.append(f"| {goal.words} | {goal.goal} (≥ {goal.least:,} attempts) | {tried:,} | {failed:,} | {reached} |")
    every = [row for rows in found.values() for row in rows]
    machines = "; ".join(sorted({f"gradsift {row['version']}, {row['machine']}" for row in every}))
    return [*lines, "", f"Version and machine: {machines}.", ""]


def detail(name: str, rows: list[Row]) -> list[str]:
    """One attack: how it is done, its outcomes, and what failed.

    Args:
        name: The attack.
        rows: Its rows.
    """
    goal = GOALS[name]
    lines = [f"## {name.replace('_', ' ').capitalize()}", "", goal.how, "", "| outcome | attempts |", "|---|---|"]
    outcomes = collections.Counter((row["outcome"], row["failed"]) for row in rows)
    lines += [
        f"| {'**' + word + '**' if failed else word} | {times:,} |" for (word, failed), times in outcomes.most_common()
    ]
    failures = [row for row in rows if row["failed"]]
    if failures:
        lines += ["", "What failed (the first ten):", ""]
        lines += [f"* {row['case']}: {row['outcome']} {plain(row['detail'])}" for row in failures[:10]]
    return [*lines, ""]


def counted(rows: list[Row]) -> list[Row]:
    """Rows that count as attempts.

    Args:
        rows: All rows of an attack.
    """
    return [
        row
        for row in rows
        if row["outcome"]
        not in ("skipped", "outside the contract", "nothing to damage", "the same, not killed", "had room")
    ]


def plain(text: str) -> str:
    """Details without what Markdown would read.

    Args:
        text: The details.
    """
    words = "".join(letter if letter.isprintable() and letter not in "`<>|*_" else " " for letter in text)
    return f"(`{' '.join(words.split())[:160]}`)" if words.strip() else ""
