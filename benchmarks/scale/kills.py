"""Parts, actors, the raylet and the driver are killed at random moments; then the same commands are given again."""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from scale.processes import finished, start

COUNT, SIZE, SHARD = 50, 4_000, 100
VICTIMS = ("part", "actor", "driver", "raylet")
SLOW = ("--seconds", 0.001)
"""A pass takes about four seconds, so that there is something to kill."""


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a kill.

    Args:
        given: ``count``, ``victims``, ``seed``, ``minutes``.
    """
    draw, until = random.Random(given.seed), time.monotonic() + 60 * given.minutes
    found = []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        finished("local", whole, "--size", SIZE, "--shard-size", SHARD)
        for number in range(given.count):
            if time.monotonic() > until:
                break
            victim = given.victims[number % len(given.victims)]
            folder = Path(place) / f"run-{number}"
            row = _parts(folder, draw) if victim == "part" else _ray(folder, victim, draw)
            lost = digests(folder) != digests(whole)
            row = {"part": "kills", "victim": victim, "number": number, "seed": given.seed, "differs": lost, **row}
            print(row, flush=True)
            found.append(row)
    return found


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of all files of a run but its timing.

    Args:
        run: The run directory.
    """
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "timing.json"]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def shards_of(folder: Path) -> dict[str, int]:
    """Whole shards of an unfinished run, and when they were written.

    Args:
        folder: Where the run will lie.
    """
    checkpoint = folder.with_name(folder.name + ".part") / "gradients/checkpoint-000"
    return {place.name: (place / "loss.npy").stat().st_mtime_ns for place in checkpoint.glob("shard-?????")}


def _wait_for_shards(folder: Path, count: int, child: subprocess.Popen[str]) -> None:
    while len(shards_of(folder)) < count and child.poll() is None:
        time.sleep(0.01)


def _kept(folder: Path, before: dict[str, int]) -> int:
    """How many of the shards that were whole at the kill were written again."""
    checkpoint = folder / "gradients/checkpoint-000"
    return sum((checkpoint / name / "loss.npy").stat().st_mtime_ns != at for name, at in before.items())


def _parts(folder: Path, draw: random.Random) -> dict[str, Any]:
    """Two parts run beside each other; one of them is killed."""
    arguments = ("part", folder, "--size", SIZE, "--shard-size", SHARD, "--workers", 2, *SLOW)
    children = [start(*arguments, "--part", number) for number in (1, 2)]
    after = draw.randrange(0, SIZE // SHARD - 4)
    _wait_for_shards(folder, after, children[0])
    time.sleep(draw.uniform(0, 0.1))
    children[0].kill()
    for child in children:
        child.communicate()
    before = shards_of(folder)
    finished(*arguments, "--part", 1)
    finished("merge", folder, "--size", SIZE)
    return {"whole_at_kill": len(before), "written_again": _kept(folder, before)}


def _ray(folder: Path, victim: str, draw: random.Random) -> dict[str, Any]:
    """An audit by two actors; somebody is killed, and where the driver has ended its command is given again."""
    arguments = ("ray", folder, "--size", SIZE, "--shard-size", SHARD, *SLOW)
    driver = start(*arguments)
    _wait_for_shards(folder, draw.randrange(1, SIZE // SHARD - 4), driver)
    time.sleep(draw.uniform(0, 0.1))
    before = shards_of(folder)
    for process in _processes(driver.pid, victim, draw):
        os.kill(process, signal.SIGKILL)
    if victim == "raylet":
        try:
            driver.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            driver.kill()
    driver.communicate()
    again = driver.returncode != 0
    if again:
        before = shards_of(folder) or before
        finished(*arguments)
    return {"whole_at_kill": len(before), "written_again": _kept(folder, before), "command_again": again}


def _processes(driver: int, victim: str, draw: random.Random) -> list[int]:
    """Numbers of the processes to kill; all of them were started below the driver."""
    if victim == "driver":
        return [driver]
    below = _children(driver)
    name = b"raylet" if victim == "raylet" else b"ray::Worker"
    found = [number for number in below if name in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")[0]]
    return [draw.choice(found)] if found else []


def _children(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for number in map(int, task.read_text().split()):
            found += [number, *_children(number)]
    return found
