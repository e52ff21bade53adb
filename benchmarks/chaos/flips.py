"""One bit is flipped in a run directory or a trajectory, and everything is read: is it detected?"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from chaos.isolation import forked
from chaos.stage import Row, Stage, row

COUNT = 2400
FOLDERS = ("runs/csv-all", "runs/npz", "runs/hub", "trajectory")
OUTSIDE = ("timing.json", "report.html")
"""Files outside of the contract: nothing is read from them."""
AT_ONCE = 100


def attack(stage: Stage, count: int) -> list[Row]:
    """Flips bits: half of them in files taken evenly, so that small ones have their turn, half of them anywhere.

    Args:
        stage: Where.
        count: How many flips.
    """
    from functools import partial

    from chaos.workplace import MODEL, command

    template, draw = stage.template, random.Random(stage.seed)
    if not (template / FOLDERS[0]).exists():
        every = ("audit", *MODEL, "--layers", "all", "--data", "train.csv", "-o", FOLDERS[0])
        forked(partial(command, *every), template)
    files = [path for folder in FOLDERS for path in sorted((template / folder).rglob("*")) if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    flips = []
    for number in range(count):
        even = number % 2 == 0
        path = files[number // 2 % len(files)] if even else draw.choices(files, sizes)[0]
        flips.append((path.relative_to(template).as_posix(), draw.randrange(path.stat().st_size), draw.randrange(8)))
    chunks = [(template, flips[start : start + AT_ONCE]) for start in range(0, count, AT_ONCE)]
    return [row for rows in stage.map(_attempt, chunks) for row in rows]


def read_run(path: Path) -> None:
    """Reads all that a run directory holds, in the public ways.

    Args:
        path: The run directory.
    """
    from gradsift import Audit

    audit = Audit.open(path)
    _ = audit.table.to_pylist(), audit.run.config, audit.details, audit.flagged_positions
    for name in sorted(audit.run.stored()):
        audit.run.statistic(name).load()
    audit.gradients.norms(2)
    for file in sorted(path.glob("*.json")):
        if file.name not in OUTSIDE:
            audit.run.read_json(file.name)


def read_trajectory(path: Path) -> None:
    """Reads all that a trajectory holds.

    Args:
        path: Its folder.
    """
    from gradsift.trajectory import Trajectory

    found = Trajectory.open(path)
    for values in (*found.statistics.values(), found.recorded_at, found.predictions):
        if values is not None:
            np.array(values)
    found.describe()


def _attempt(case: tuple[Path, list[tuple[str, int, int]]], place: Path) -> list[Row]:
    template, flips = case
    for folder in FOLDERS:
        shutil.copytree(template / folder, place / folder)
    found = forked(lambda: [_flipped(*flip) for flip in flips], place, timeout=300)
    shutil.rmtree(place)
    if found.kind != "done":
        return [row(f"{flips[0]} and {len(flips) - 1} more", found.kind, failed=True, detail=found.tail)]
    return [row(f"{path}, byte {byte}, bit {bit}", *_judged(path, *what))
            for (path, byte, bit), what in zip(flips, found.value, strict=True)]  # fmt: skip


def _flipped(name: str, byte: int, bit: int) -> tuple[str, str]:
    """What reading everything says while one bit is flipped."""
    from gradsift.errors import GradsiftError

    path = Path(name)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[byte] ^= 1 << bit
    path.write_bytes(changed)
    folder = next(Path(folder) for folder in FOLDERS if Path(folder) in path.parents)
    try:
        (read_trajectory if folder.name == "trajectory" else read_run)(folder)
    except GradsiftError as error:
        return "detected", f"{error}"
    except Exception as error:  # noqa: BLE001  # a traceback for the user
        return "traceback", f"{type(error).__name__}: {error}"
    finally:
        path.write_bytes(whole)
    return "missed", ""


def _judged(path: str, outcome: str, detail: str) -> tuple[Any, ...]:
    if Path(path).name in OUTSIDE:
        return ("outside the contract",)
    return outcome, outcome != "detected", detail
