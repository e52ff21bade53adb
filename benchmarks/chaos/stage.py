"""Where attacks run: a user's whole folder as a template, room for attempts, several processes, rows."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chaos import jobs
from chaos.isolation import forked
from chaos.workplace import build

T = TypeVar("T")
Row = dict[str, Any]
Attempt = Callable[[T, Path], Row]
"""From a case and an empty place for it to what happened: ``case``, ``outcome``, ``failed`` and ``detail``."""


@dataclass(frozen=True)
class Stage:
    """What every attack gets.

    Attributes:
        scratch: A folder for everything.
        seed: Seed of what is drawn.
        processes: How many attempts run beside each other.
        jobs: Names of the jobs that are attacked; all where left out.
    """

    scratch: Path
    seed: int = 0
    processes: int = 1
    jobs: tuple[str, ...] | None = None
    _rehearsed: dict[str, jobs.Trial] = field(default_factory=dict)

    @property
    def template(self) -> Path:
        """The user's whole folder; made when it is first asked for."""
        folder = self.scratch / "template"
        if not folder.exists():
            folder.mkdir(parents=True)
            ended = forked(build, folder, timeout=300)
            if ended.kind != "done":
                raise SystemExit(f"the user's folder cannot be made: {ended.kind}\n{ended.words}")
        return folder

    def trials(self, names: Sequence[str] | None = None) -> list[jobs.Trial]:
        """Every job, or some of them, with what it does by itself; a job is rehearsed once.

        Args:
            names: Names of jobs.
        """
        chosen = [names for names in (names, self.jobs) if names is not None]
        wanted = [job for job in jobs.JOBS if all(job.name in names for names in chosen)]
        unknown = [job for job in wanted if job.name not in self._rehearsed]
        for trial in self.map(_rehearse, [(job, self.template) for job in unknown]):
            self._rehearsed[trial.job.name] = trial
        return [self._rehearsed[job.name] for job in wanted]

    def shares(self, count: int) -> list[tuple[jobs.Trial, int]]:
        """Every job with its share of a number of attempts.

        Args:
            count: How many attempts in all.
        """
        trials = self.trials()
        each, more = divmod(count, len(trials))
        return [(trial, each + (place < more)) for place, trial in enumerate(trials)]

    def map(self, action: Callable[[Any, Path], T], cases: Iterable[Any]) -> list[T]:
        """Runs an action on each case, in a place of its own.

        Args:
            action: A function of a module.
            cases: The cases.
        """
        work = [(action, case, self.scratch) for case in cases]
        if self.processes == 1:
            return [shown(_placed(one)) for one in work]
        with multiprocessing.get_context("fork").Pool(self.processes) as pool:
            return [shown(found) for found in pool.imap(_placed, work)]


def row(case: str, outcome: str, failed: bool = False, detail: str = "") -> Row:
    """What happened in one case.

    Args:
        case: Its name.
        outcome: In a word or two.
        failed: Whether that must not be.
        detail: More of it.
    """
    return {"case": case, "outcome": outcome, "failed": failed, "detail": detail[:400]}


def shown(found: T) -> T:
    """What an attempt found, printed where it failed.

    Args:
        found: A row, several, or something else.
    """
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict) and one["failed"]:
            print(f"  {one['case']}: {one['outcome']} ({one['detail'][:300]})", flush=True)
    return found


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many items, evenly spaced, with the first and the last one.

    Args:
        items: The items.
        count: How many.
    """
    if count >= len(items):
        return list(items)
    if count < 2:
        return list(items[:count])
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def _placed(work: tuple[Callable[[Any, Path], T], Any, Path]) -> T:
    action, case, scratch = work
    return action(case, scratch / f"{os.getpid()}-{time.monotonic_ns()}")


def _rehearse(case: tuple[jobs.Job, Path], place: Path) -> jobs.Trial:
    trial = jobs.rehearse(*case, place)
    shutil.rmtree(place)
    return trial
