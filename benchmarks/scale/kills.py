"""Parts, actors, the raylet and the driver are killed at random moments; then the same commands are given again.

All runs share one cluster of Ray, and begin as forks of this process, in which everything is imported: what is killed are
processes of their own all the same. In each run of Ray an actor, a machine and the driver are killed one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from scale.child import audited
from scale.cluster import LocalCluster

SIZE, SHARD, MACHINES = 4_000, 50, 2
VICTIMS = ("part", "actor", "driver", "raylet")
LIKE = ("--size", SIZE, "--shard-size", SHARD, "--no-findings")
SLOW = ("--seconds", 0.004)
"""Two actors compute for about eight seconds, so that there is something to kill."""
PATIENCE = 180.0
"""Seconds after which a run that hangs is ended, and its command is given again."""


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a kill.

    Args:
        given: ``count``, ``victims``, ``seed``, ``minutes``.
    """
    draw, until = random.Random(given.seed), time.monotonic() + 60 * given.minutes
    logging.basicConfig(level=logging.ERROR)  # deaths are expected
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    found = []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        audited(_words("local", whole, *LIKE))
        cluster = LocalCluster(MACHINES) if {*given.victims} - {"part"} else None
        while len(found) < given.count and time.monotonic() < until:
            began, of_ray = time.monotonic(), [victim for victim in given.victims if victim != "part"]
            kills = [_part(Path(place) / f"part-{len(found)}", draw, whole)] if "part" in given.victims else []
            if cluster is not None:
                kills += _ray(Path(place) / f"ray-{len(found)}", of_ray, draw, cluster, whole)
            found += [{"part": "kills", "seed": given.seed, **kill} for kill in kills]
            print(*kills, f"{time.monotonic() - began:.1f} s", sep="\n", flush=True)
        if cluster is not None:
            cluster.close()
    return found


def _words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def _begin(*arguments: object) -> BaseProcess:
    """Begins an audit in a process of its own."""
    child = multiprocessing.get_context("fork").Process(target=audited, args=(_words(*arguments),))
    child.start()
    return child


def _finish(*arguments: object) -> None:
    """Runs an audit in a process of its own, to its end."""
    child = _begin(*arguments)
    child.join()
    if child.exitcode:
        raise SystemExit(f"{arguments} failed, see above")


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


def _wait_for_shards(folder: Path, count: int, child: BaseProcess) -> None:
    while len(shards_of(folder)) < count and child.is_alive():
        time.sleep(0.01)


def _row(folder: Path, victim: str, before: dict[str, int], whole: Path) -> dict[str, Any]:
    """What a kill has cost: how many shards that were whole were written again, and whether the run differs at its end."""
    checkpoint = folder / "gradients/checkpoint-000"
    again = sum((checkpoint / name / "loss.npy").stat().st_mtime_ns != at for name, at in before.items())
    differs = digests(folder) != digests(whole)
    return {"victim": victim, "whole_at_kill": len(before), "written_again": again, "differs": differs}


def _part(folder: Path, draw: random.Random, whole: Path) -> dict[str, Any]:
    """Two parts run beside each other; one of them is killed."""
    arguments = ("part", folder, *LIKE, "--workers", 2, *SLOW)
    children = [_begin(*arguments, "--part", number) for number in (1, 2)]
    _wait_for_shards(folder, draw.randrange(0, SIZE // SHARD - 4), children[0])
    time.sleep(draw.uniform(0, 0.1))
    children[0].kill()
    for child in children:
        child.join()
    before = shards_of(folder)
    _finish(*arguments, "--part", 1)
    _finish("merge", folder, "--size", SIZE)
    return _row(folder, "part", before, whole)


def _ray(
    folder: Path, victims: list[str], draw: random.Random, cluster: LocalCluster, whole: Path
) -> list[dict[str, Any]]:
    """An audit by two actors; somebody is killed, the driver last, and where it has ended its command is given again."""
    arguments = ("ray", folder, *LIKE, "--address", cluster.address, "--workers", MACHINES, *SLOW)
    driver, killed = _begin(*arguments), []
    moments = sorted(draw.sample(range(1, SIZE // SHARD - 4), len(victims)))
    order = sorted(draw.sample(victims, len(victims)), key=lambda victim: victim == "driver")
    for moment, victim in zip(moments, order, strict=True):
        _wait_for_shards(folder, moment, driver)
        time.sleep(draw.uniform(0, 0.1))
        if not driver.is_alive():
            break  # it has ended before this moment came
        killed.append((victim, shards_of(folder)))
        os.kill(_process(driver, victim, draw, cluster), signal.SIGKILL)
        if victim == "raylet":
            cluster.mend()
    driver.join(PATIENCE)
    driver.kill()
    driver.join()
    if driver.exitcode:
        _finish(*arguments)
    return [_row(folder, victim, before, whole) for victim, before in killed]


def _process(driver: BaseProcess, victim: str, draw: random.Random, cluster: LocalCluster) -> int:
    """Number of the process to kill."""
    if victim == "driver":
        return int(driver.pid or 0)
    if victim == "raylet":
        return draw.choice(cluster.raylets())
    actors: list[int] = []
    while not actors:
        actors = [one for one in _below(cluster.process) if _read(f"/proc/{one}/cmdline").startswith("ray::Worker")]
    return draw.choice(actors)


def _below(parent: int) -> list[int]:
    """Numbers of the processes that a process, and those below it, have started."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for number in map(int, _read(str(task)).split()):
            found += [number, *_below(number)]
    return found


def _read(path: str) -> str:
    """A file of a process; empty where it has ended."""
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""
