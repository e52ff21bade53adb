"""Every writing command is killed: before an operation on its folder, in the middle of a write, or after some time.

Whatever stands under a final name afterwards must be whole or as it was, and the same command must end as if nothing had
happened.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

from chaos.contents import below, contents
from chaos.isolation import Death
from chaos.jobs import Trial
from chaos.stage import Row, Stage, row, spread

COUNT = 400
EMPTY = hashlib.sha256(b"").hexdigest()
"""Of an empty file: a lock."""


def attack(stage: Stage, count: int) -> list[Row]:
    """Kills every job.

    Args:
        stage: Where.
        count: How many kills in all.
    """
    cases = []
    for trial, share in stage.shares(count):
        cases += [(trial, death) for death in deaths(trial, share, random.Random(stage.seed))]
    return stage.map(_attempt, cases)


def deaths(trial: Trial, count: int, draw: random.Random) -> list[Death]:
    """So many deaths: a half before operations, a third in writes, the others at random times.

    Args:
        trial: The job.
        count: How many.
        draw: For the times.
    """
    operations = [Death(operation=place) for place in range(trial.operations)]
    sizes = sorted({max(1, size * part // 4 - (part == 4)) for size in trial.sizes for part in (0, 1, 2, 3, 4)})
    found = spread(operations, (count + 1) // 2)
    found += spread([Death(size=size) for size in sizes], (count + 2) // 3)
    times = [Death(seconds=draw.uniform(0.1, 0.7) * trial.seconds) for _ in range(count - len(found))]
    return (found + times)[:count]


def _attempt(case: tuple[Trial, Death], place: Path) -> Row:
    trial, death = case
    folder = trial.folder(place)
    name = f"{trial.job.name}, {death}"
    first = trial.run(folder, death)
    harm = trial.harm(contents(folder))
    if harm is not None:
        return row(name, harm.split(":")[0], failed=True, detail=harm)
    if first.kind in ("traceback", "hang"):
        return row(name, first.kind, failed=True, detail=first.tail)
    again = trial.run(folder)
    now = contents(folder)
    difference, left = trial.difference(now), trial.left_over(now)
    shutil.rmtree(folder)
    if again.kind not in ("done", "refused") or difference is not None:
        return row(name, "not resumed", failed=True, detail=f"{again.kind}: {difference}; {again.tail}")
    finished = {value for job_place in trial.job.places for value in below(trial.clean, job_place).values()}
    if any(now[path] not in (EMPTY, *finished) for path in left):
        return row(name, "the same, but left over", failed=True, detail=", ".join(left[:5]))
    if (
        left
    ):  # killed after the file had its name: a second name of the same file, or a lock, until the next write there
        return row(name, "the same, with a second name or a lock", detail=", ".join(left[:5]))
    return row(name, "the same" if first.kind == "killed" else "the same, not killed")
