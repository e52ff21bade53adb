"""Parts of an audit, as array jobs compute them: each in a process on its own; they share a folder and nothing else."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gradsift.engines.base import Load, Share, Stage
from gradsift.errors import OutputError, RunDirectoryError, SettingError
from gradsift.locations import Location, RemotePath, is_leased
from gradsift.store import RunDirectory
from gradsift.store.partition import Partition
from gradsift.store.shards import shard_entry, shard_folder
from gradsift.store.unfinished import JOB, PARTS, holds_work, read_manifest
from gradsift.writing import locked, remove, reserved, writing

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds that a part waits while another one begins the run directory, which takes milliseconds."""
LOOKS = 10
"""How often a part asks for its own lock: another one that looks who is there holds it for a moment, too."""
SILENT = 3.0
"""Seconds that it waits before it says so."""


@dataclass(frozen=True)
class Part:
    """One of several parts of an audit; an engine that fills its own shards.

    Example:
        >>> Part.read("2/3").shards(Partition(samples=100, size=10))
        range(3, 6)

    Attributes:
        number: Which one, from 1.
        count: How many there are.
    """

    number: int
    count: int
    load: Load | None = None

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            SettingError: There is no such part.
        """
        if not (isinstance(self.number, int) and isinstance(self.count, int) and 1 <= self.number <= self.count):
            raise SettingError(f"part {self.number}/{self.count}: parts are numbered from 1/{self.count} on, as 17/256")

    def __str__(self) -> str:
        """Such as ``17/256``."""
        return f"{self.number}/{self.count}"

    @classmethod
    def read(cls, text: str) -> Part:
        """From a text.

        Args:
            text: Such as ``17/256``.

        Returns:
            The part.

        Raises:
            SettingError: It is no such text, or there is no such part.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise SettingError(f"part {text!r}: give the number of the part and how many there are, as 17/256")
        return cls(int(match[1]), int(match[2]))

    def shards(self, partition: Partition) -> range:
        """The shards of this part: neighbours, so that each part reads one stretch of the data.

        Args:
            partition: All shards.

        Returns:
            Their numbers; empty where there are fewer shards than parts.
        """
        first, last = ((number * len(partition)) // self.count for number in (self.number - 1, self.number))
        return range(first, last)

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills the shards of this part."""
        shards = self.shards(partition)
        if not shards:
            logger.warning(
                "part %s has no shard: %d samples make %d shards of %d. Take fewer parts, or a smaller shard_size",
                self, partition.samples, len(partition), partition.size,
            )  # fmt: skip
        stage.setup()
        return [stage.run(shards, show_progress=show_progress)]


@contextmanager
def only_one(final: Location, part: Part) -> Iterator[None]:
    """Keeps a part for this process.

    Args:
        final: Where the whole run will lie.
        part: The part.

    Yields:
        Nothing.

    Raises:
        RunDirectoryError: Another process computes the same part now.
    """
    place = final.with_name(f"{final.name}.part-{part.number}-of-{part.count}")
    with contextlib.ExitStack() as stack:
        with writing(final, RunDirectoryError):
            for attempt in range(LOOKS + 1):
                try:
                    stack.enter_context(reserved(place, RunDirectoryError))
                    break
                except OutputError as error:
                    if attempt == LOOKS or isinstance(final, RemotePath):  # there who looks holds nothing
                        raise RunDirectoryError(
                            f"part {part} of {final} is being computed by another process: give each part once"
                        ) from error
                    time.sleep(0.05)
        yield


def running_parts(final: Location, but: Part | None = None) -> list[str]:
    """Parts that are being computed on this file system, or in this store.

    Args:
        final: Where the whole run will lie.
        but: A part that does not count.

    Returns:
        Such as ``["3/8"]``.
    """
    lock_of_part = re.compile(re.escape(f".{final.name}.part-") + r"(\d+-of-\d+)\.lock.*")
    names, beside = [], list[Location](final.parent.iterdir())
    for lock in sorted(beside, key=str):
        name = lock_of_part.fullmatch(lock.name)
        if name is None or (part := name[1]).replace("-of-", "/") == str(but):
            continue
        if isinstance(lock, RemotePath):
            running = is_leased(lock.with_name(f"{final.name}.part-{part}"))
        else:
            running = _is_locked(lock)
        names += [part.replace("-of-", "/")] if running else []
    return names


def _is_locked(lock: Path) -> bool:
    try:
        with locked(lock, None, RunDirectoryError):
            return False
    except OutputError:
        return True


def refuse_while_running(final: Location) -> None:
    """Refuses to complete a run of which parts are being computed.

    Args:
        final: Where the whole run will lie.

    Raises:
        RunDirectoryError: Some are.
    """
    parts = running_parts(final)
    if parts:
        raise RunDirectoryError(f"parts {', '.join(parts)} of {final} are being computed: wait until they have ended")


def begin_or_join(
    final: Location, part: Part, fingerprint: str, config: Mapping[str, Any], job: Mapping[str, Any]
) -> RunDirectory:
    """Begins the run that all parts share, or joins it.

    Args:
        final: Where the whole run will lie.
        part: The part of this process.
        fingerprint: Hash of model, data and settings.
        config: What goes into ``config.yaml``.
        job: What all parts must have in common, and what completes the run.

    Returns:
        The run directory.

    Raises:
        RunDirectoryError: A whole run, another run, or one with other settings lies there.
    """
    _refuse_other_run(final, part, fingerprint, job)
    with _begun(final, fingerprint, config) as run:
        if not (run.path / JOB).exists():
            run.write_json(JOB, job)
        _refuse_other_job(run, part, job)
    return RunDirectory.joining(final)


def _refuse_other_run(final: Location, part: Part, fingerprint: str, job: Mapping[str, Any]) -> None:
    """Refuses a place where parts of another run are being computed, or have left shards; names what differs."""
    unfinished = RunDirectory.joining(final)
    try:
        manifest = read_manifest(unfinished.path)
        known = unfinished.read_json(JOB) if (unfinished.path / JOB).exists() else None
    except (OSError, ValueError):
        return  # nothing stands there, or what does is damaged and begun anew
    others = running_parts(final, but=part)
    if manifest.get("fingerprint") == fingerprint or not (others or holds_work(unfinished.path, manifest)):
        return
    computed = f", of which parts {', '.join(others)} are being computed" if others else ""
    raise RunDirectoryError(
        f"part {part} would write shards of another run into {final}{computed}: {_difference(known, job)}. Give all parts "
        f"the same, choose another place, or remove {unfinished.path}"
    )


def _difference(known: Mapping[str, Any] | None, job: Mapping[str, Any]) -> str:
    """In what the first part and this one differ, in words."""
    if known is None:
        return "model, data set or settings differ"
    details = {"the data set": "data_fingerprint", "the model": "model_fingerprint", "the task": "task"}
    named = [words for words, name in details.items() if known["details"][name] != job["details"][name]]
    named += [f"the setting {name}" for name in _unlike(known["settings"], job["settings"])]
    return ", ".join(named or ["the device or the trajectory"]) + " differ" + "s" * (len(named) < 2)


def _unlike(known: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    return [name for name, value in own.items() if known.get(name) != value]


@contextmanager
def _begun(final: Location, fingerprint: str, config: Mapping[str, Any]) -> Iterator[RunDirectory]:
    """The run, held for a moment; waits for another part that holds it as shortly."""
    since, told = time.monotonic(), False
    while True:
        try:
            run = RunDirectory.begin(final, fingerprint, config)
        except RunDirectoryError as error:
            waited = time.monotonic() - since
            if "another process is writing" not in str(error) or waited > PATIENCE:
                raise
            if waited > SILENT and not told:
                logger.warning("%s. This part waits up to %d seconds", error, PATIENCE)
                told = True
            time.sleep(0.05)
            continue
        with run:
            yield run
        return


def _refuse_other_job(run: RunDirectory, part: Part, job: Mapping[str, Any]) -> None:
    """Refuses settings that differ from those with which the first part began."""
    known = run.read_json(JOB)
    differ = [name for name in ("parts", "samples", "shard_size") if known[name] != job[name]]
    differ += _unlike(known["settings"], job["settings"])
    if differ:
        first = differ[0]
        theirs, own = (of.get(first, of["settings"].get(first)) for of in (known, job))
        raise RunDirectoryError(
            f"part {part} has other settings than the parts of {run.final} before it: {', '.join(differ)} ({first} is "
            f"{own!r} here and {theirs!r} there). Give all parts the same settings, or choose another place"
        )
    if known["details"]["versions"] != job["details"]["versions"]:
        logger.warning(
            "part %s runs with %s, the first one with %s: numbers may differ in their last digits",
            part, job["details"]["versions"], known["details"]["versions"],
        )  # fmt: skip


def record_part(run: RunDirectory, part: Part, share: Share) -> None:
    """Notes that a part is done.

    Args:
        run: The run directory.
        part: The part.
        share: What was done.
    """
    with writing(run.path, RunDirectoryError):
        (run.path / PARTS).mkdir(exist_ok=True)
    run.write_json(f"{PARTS}/{part.number}-of-{part.count}.json", {"part": part.number, **asdict(share)})


def recorded_shares(run: RunDirectory) -> list[Share]:
    """What the parts have noted.

    Args:
        run: The run directory.

    Returns:
        The share of each part that is done, in their order.
    """
    names = [f"{PARTS}/{path.name}" for path in (run.path / PARTS).glob("*.json")]
    records = sorted((run.read_json(name) for name in names), key=lambda record: record["part"])
    return [Share(**{name: value for name, value in record.items() if name != "part"}) for record in records]


def refuse_if_incomplete(run: RunDirectory, partition: Partition, count: int) -> None:
    """Refuses to merge parts of which shards are missing, damaged or of another run.

    Args:
        run: The run directory.
        partition: The shards.
        count: How many parts there are.

    Raises:
        RunDirectoryError: Names the shards or the parts, and what to do.
    """
    places = [shard_folder(run.path, 0, shard) for shard in range(len(partition))]
    entries = (shard_entry(place) for place in places)
    foreign = [shard for shard, entry in enumerate(entries) if entry.get("run", run.fingerprint) != run.fingerprint]
    if foreign:
        raise RunDirectoryError(
            f"shards {_some(foreign)} in {run.path} belong to another run (another model, data set or settings): remove "
            f"their folders, such as {places[foreign[0]].name}, and give their parts again"
        )
    missing = {shard for shard in range(len(partition)) if not run.has_shard(0, shard)}
    parts = [
        part for part in (Part(number, count) for number in range(1, count + 1)) if missing & {*part.shards(partition)}
    ]
    if missing:
        raise RunDirectoryError(
            f"{len(missing)} of {len(partition)} shards of {run.final} are missing, of the parts "
            f"{_some([str(part) for part in parts])}: give these parts again, as gradsift audit ... --part {parts[0]}; "
            "whole shards are kept"
        )


def forget_parts(run: RunDirectory) -> None:
    """Removes what only parts need, before the run gets its final name.

    Args:
        run: The run directory.
    """
    with writing(run.path, RunDirectoryError):
        remove(run.path / JOB)
        remove(run.path / PARTS)


def _some(names: list[Any], most: int = 10) -> str:
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
