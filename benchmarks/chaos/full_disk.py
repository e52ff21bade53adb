"""Every writing command on a disk that is too small: it says so, harms nothing, and ends well once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from chaos.contents import contents
from chaos.isolation import Death
from chaos.jobs import Trial
from chaos.stage import Row, Stage, row, spread

COUNT = 152
PAGE = 4096
ROOM = 64 << 20
"""Bytes of a file system that is large enough."""


def attack(stage: Stage, count: int) -> list[Row]:
    """Runs each job with less room than it needs: half of the times on a small file system, where one can be mounted.

    Args:
        stage: Where.
        count: How many sizes in all.
    """
    probe = stage.scratch / "disk"
    reason = _mounted(probe, 1 << 20)
    if reason is None:
        _unmounted(probe)
    cases: list[tuple[Trial, int | None, Death | None]] = []
    for trial, share in stage.shares(count):
        pages = max(2, sum(-(-size // PAGE) for size in trial.sizes))
        told = [Death(full=number) for number in spread(range(trial.operations), share - share // 2)]
        small = spread(range(pages), share - len(told)) if reason is None else []
        cases += [(trial, None, death) for death in told] + [(trial, size, None) for size in small]
    rows = stage.map(_attempt, cases)
    if reason is not None:
        rows.append(row("small file systems", "skipped", detail=f"none can be mounted here: {reason}"))
    return rows


def _mounted(folder: Path, size: int) -> str | None:
    """Mounts a file system of some size; why not, where it cannot be."""
    folder.mkdir(parents=True)
    try:
        arguments = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        done = subprocess.run(arguments, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else None


def _unmounted(folder: Path) -> None:
    subprocess.run(["umount", "-l", folder], check=True)
    shutil.rmtree(folder)


def _resized(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def _attempt(case: tuple[Trial, int | None, Death | None], place: Path) -> Row:
    trial, pages, death = case
    if pages is None:
        trial.folder(place)
        found = _on(trial, f"{trial.job.name}, {death}", place, death)
        shutil.rmtree(place)
        return found
    _mounted(place, ROOM)
    try:
        trial.folder(place)
        disk = os.statvfs(place)
        _resized(place, (disk.f_blocks - disk.f_bfree + pages) * PAGE)
        return _on(trial, f"{trial.job.name}, {pages} pages of {PAGE} bytes", place, None)
    finally:
        _unmounted(place)


def _on(trial: Trial, name: str, place: Path, death: Death | None) -> Row:
    first = trial.run(place, death)
    harm = trial.harm(contents(place))
    if harm is not None:
        return row(name, harm.split(":")[0], failed=True, detail=harm)
    if first.kind in ("hang", "traceback", "killed"):
        return row(name, first.kind, failed=True, detail=first.tail)
    if first.kind == "refused" and "disk is full" not in " ".join(first.words.split()):
        return row(name, "not said", failed=True, detail=first.tail)
    if death is None:
        _resized(place, ROOM)
    again = trial.run(place)
    now = contents(place)
    difference, left = trial.difference(now), trial.left_over(now)
    if again.kind not in ("done", "refused") or difference is not None:
        return row(name, "not resumed", failed=True, detail=f"{again.kind}: {difference}; {again.tail}")
    if left:
        return row(name, "stray files", failed=True, detail=", ".join(left[:5]))
    return row(name, "said, and resumed" if first.kind == "refused" else "had room")
