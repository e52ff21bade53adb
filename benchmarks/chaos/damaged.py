"""An audit is killed, what it left is damaged in many ways, and the same command is given again: it must heal."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from chaos.contents import contents
from chaos.isolation import Death
from chaos.jobs import Trial
from chaos.stage import Row, Stage, row

COUNT = 72
JOBS = ("audit csv, all layers", "audit npz")
KILLED_AT = (0.5, 0.7, 0.93)
"""Share of the job's operations before which it is killed."""


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _foreign(path: Path) -> None:
    path.write_bytes(b"something else\n")


def _of_another_sample(path: Path) -> None:
    """Rows in another order, as a whole file of another run has them."""
    content = path.read_bytes()
    path.write_bytes(content[:-16] + content[-8:] + content[-16:-8])


def _stray(path: Path) -> None:
    (path.parent / "stray.npy").write_bytes(b"stray")


def _swapped(path: Path) -> None:
    """A folder where a file was."""
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path], None], ...] = (
    _cut, _empty, Path.unlink, _flip, _foreign, _of_another_sample, _stray, _swapped,
)  # fmt: skip


def attack(stage: Stage, count: int) -> list[Row]:
    """Damages what killed audits leave.

    Args:
        stage: Where.
        count: How many.
    """
    trials, draw = stage.trials(JOBS), random.Random(stage.seed)
    cases = []
    for number in range(count):
        trial, damage = trials[number // len(DAMAGES) % len(trials)], DAMAGES[number % len(DAMAGES)]
        share = KILLED_AT[number // (len(DAMAGES) * len(trials)) % len(KILLED_AT)]
        cases.append((trial, damage, share, draw.random()))
    return stage.map(_attempt, cases)


def _attempt(case: tuple[Trial, Callable[[Path], None], float, float], place: Path) -> Row:
    trial, damage, share, which = case
    folder = trial.folder(place)
    trial.run(folder, Death(operation=int(share * trial.operations)))
    part = folder / "runs/new.part"
    files = sorted(path for path in part.rglob("*") if path.is_file() and path.stat().st_size) if part.is_dir() else []
    name = f"{trial.job.name}, killed after {100 * share:.0f} %, {damage.__name__.strip('_')}, {which:.3f}"
    if not files:
        return row(name, "nothing to damage", detail=str(sorted(contents(folder))))
    hit = files[int(which * len(files))]
    damage(hit)
    ended = trial.run(folder)
    now = contents(folder)
    shutil.rmtree(folder)
    difference = trial.difference(now)
    where = hit.relative_to(part).as_posix()
    if ended.kind != "done" or difference is not None:
        return row(name, "not healed", failed=True, detail=f"{where}: {ended.kind}, {difference}, {ended.tail}")
    return row(name, "healed", detail=where)
