"""Every command that writes: what it needs, what it writes, and under which final names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaos.contents import Contents, below, contents, copied
from chaos.isolation import Death, Ended, forked
from chaos.workplace import HUB, IMAGES, MODEL, WORDS, command, trajectory

PROJECT = ("project.py", "model.safetensors")


@dataclass(frozen=True)
class Job:
    """A command in a user's folder.

    Attributes:
        name: For rows.
        action: The command.
        needs: Files and folders of the template that it reads.
        places: Final names of what it writes; each must be whole or as before, whatever happens.
        grows: A file that it appends to, whose lines count instead.
    """

    name: str
    action: Callable[[], None]
    needs: tuple[str, ...]
    places: tuple[str, ...]
    grows: str | None = None


def _typed(name: str, arguments: tuple[str, ...], needs: tuple[str, ...], places: tuple[str, ...], **more: str) -> Job:
    return Job(name, partial(command, *arguments), needs, places, **more)


def _trim(kind: str, data: str, output: str) -> Job:
    return _typed(f"trim {kind}", ("trim", f"runs/{kind}", "-o", output), (*PROJECT, data, f"runs/{kind}"), (output,))


PARQUET = (*PROJECT, "train.parquet", "test.parquet", "runs/parquet")
VERIFY = ("verify", "runs/parquet", "--train", "project:train", "--test", "test.parquet", "--seeds", "2")
INFLUENCE = ("influence", "runs/parquet", "--trust-run", "--target", "test.parquet")
RUN = "runs/parquet"
JOBS = (
    _typed("audit npz", ("audit", *MODEL, "--data", "train.npz", "-o", "runs/new"), (*PROJECT, "train.npz"), ("runs/new",)),
    _typed(
        "audit csv, all layers", ("audit", *MODEL, "--layers", "all", "--data", "train.csv", "-o", "runs/new"),
        (*PROJECT, "train.csv"), ("runs/new",),
    ),
    _typed(
        "audit images", ("audit", *IMAGES, "--data", "images", "-o", "runs/new"), ("project.py", "images"), ("runs/new",)
    ),
    _typed(
        "audit text", ("audit", *WORDS, "--data", HUB, "-o", "runs/new"), ("classifier", "words.parquet"), ("runs/new",)
    ),
    _typed(
        "audit --overwrite", ("audit", *MODEL, "--seed", "1", "--data", "train.npz", "--overwrite", "-o", "runs/npz"),
        (*PROJECT, "train.npz", "runs/npz"), ("runs/npz",),
    ),
    _trim("npz", "train.npz", "clean.npz"),
    _trim("csv", "train.csv", "clean.csv"),
    _trim("parquet", "train.parquet", "clean.parquet"),
    _trim("jsonl", "train.jsonl", "clean.jsonl"),
    _trim("images", "images", "clean"),
    Job(
        "trim hub", partial(command, "trim", "runs/hub", "-o", "clean.parquet"),
        ("classifier", "words.parquet", "runs/hub"), ("clean.parquet",),
    ),
    _typed("influence", INFLUENCE, PARQUET, (f"{RUN}/influence.parquet",)),
    _typed("influence -o", (*INFLUENCE, "-o", "out/influence.parquet"), PARQUET, ("out/influence.parquet",)),
    _typed("verify", VERIFY, PARQUET, (f"{RUN}/verify.json", f"{RUN}/report.html"), grows=f"{RUN}/verify.jsonl"),
    _typed("report", ("report", RUN), PARQUET, (f"{RUN}/report.html",)),
    _typed("report -o", ("report", RUN, "-o", "page.html"), PARQUET, ("page.html",)),
    _typed("geometry", ("geometry", RUN, "--trust-run"), PARQUET, (f"{RUN}/geometry.json", f"{RUN}/report.html")),
    Job("Recorder.save", partial(trajectory, 2, "fresh"), PROJECT, ("fresh",)),
    Job("Recorder.save over an older save", partial(trajectory, 2), (*PROJECT, "trajectory"), ("trajectory",)),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A job's folder before it, and after it has run without an attack.

    Attributes:
        job: The job.
        template: The user's whole folder.
        before: What lies there before.
        clean: What lies there afterwards.
        operations: How many operations on the folder the job takes.
        seconds: How long it takes.
        sizes: Sizes of what it writes, in bytes.
    """

    job: Job
    template: Path
    before: Contents
    clean: Contents
    operations: int
    seconds: float
    sizes: tuple[int, ...]

    def folder(self, place: Path) -> Path:
        """A fresh folder for one attempt.

        Args:
            place: Where.
        """
        return copied(self.template, self.job.needs, place)

    def run(self, folder: Path, death: Death | None = None) -> Ended:
        """Runs the command once.

        Args:
            folder: Its folder.
            death: Where it dies, if it does.
        """
        return forked(self.job.action, folder, death=death)

    def harm(self, now: Contents) -> str | None:
        """What is half or lost, in words; ``None`` where every final name is whole and nothing else has changed.

        Args:
            now: What lies in the folder.
        """
        for place in self.job.places:
            old, new, found = below(self.before, place), below(self.clean, place), below(now, place)
            if found == old or any(state and state.items() <= found.items() for state in (old, new)):
                continue
            if found:
                return f"partial: {place}"
            aside = {path.split("/")[0] if "/" not in place else "/".join(path.split("/")[:2]) for path in now}
            if not any(below(now, other) in (old, new) for other in aside):
                return f"lost: {place}"
        free = (*self.job.places, self.job.grows)
        for path, value in self.before.items():
            if now.get(path) != value and not any(
                f is not None and (path == f or path.startswith(f + "/")) for f in free
            ):
                return f"lost: {path}"
        return None

    def difference(self, now: Contents) -> str | None:
        """How a folder differs from the clean one, in words; files that are left over are told apart by :meth:`left_over`.

        Args:
            now: What lies in the folder.
        """
        wrong = [path for path, value in self.clean.items() if now.get(path) != value]
        return f"differs: {', '.join(wrong[:3])}" if wrong else None

    def left_over(self, now: Contents) -> list[str]:
        """Files and folders that an undisturbed run does not leave.

        Args:
            now: What lies in the folder.
        """
        return sorted(now.keys() - self.clean.keys())


def rehearse(job: Job, template: Path, place: Path) -> Trial:
    """Runs a job without an attack.

    Args:
        job: The job.
        template: The user's whole folder.
        place: Where.

    Raises:
        SystemExit: It does not run.
    """
    folder = copied(template, job.needs, place)
    before = contents(folder)
    started = time.monotonic()
    ended = forked(job.action, folder)
    seconds = time.monotonic() - started
    if ended.kind != "done":
        raise SystemExit(f"{job.name} does not run by itself: {ended.kind}\n{ended.words}")
    clean = contents(folder)
    sizes = {
        (folder / path).stat().st_size
        for path, value in clean.items()
        if value and (before.get(path) != value or path in job.places)
    }
    return Trial(job, template, before, clean, ended.operations, seconds, tuple(sorted(sizes)))
