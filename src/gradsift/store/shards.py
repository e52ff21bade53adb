"""One shard on disk: the arrays of some samples, and its entry: who wrote it, for which run, and checksums of its files.

The entry is written last and the folder named once it is whole, so a shard that has its name is done.
"""

from __future__ import annotations

import os
import platform
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, RemotePath, keep_copy
from gradsift.locations.remote import each
from gradsift.store.checksums import from_json, sha256_of, to_json
from gradsift.writing import remove, writing

CHECKSUMS = "checksums.json"
"""In each shard of an unfinished run; the manifest takes them over when all shards are there."""


def shard_folder(run: Location, checkpoint: int, shard: int) -> Location:
    """Where a shard lies.

    Args:
        run: The run directory.
        checkpoint: Number of the checkpoint.
        shard: Number of the shard.

    Returns:
        The folder.
    """
    return run / "gradients" / f"checkpoint-{checkpoint:03d}" / f"shard-{shard:05d}"


def write_shard(folder: Location, statistics: Mapping[str, np.ndarray], run: str) -> None:
    """Writes a shard, whole or not at all; a damaged one is replaced.

    Two workers may write the same shard, such as one that was believed dead; what they write is the same.

    Args:
        folder: The shard.
        statistics: Name to array, first axis = samples of the shard.
        run: Fingerprint of the run that it belongs to.

    Raises:
        RunDirectoryError: It cannot be written.
    """
    if isinstance(folder, RemotePath):
        with writing(folder, RunDirectoryError), tempfile.TemporaryDirectory(prefix="gradsift-") as temporary:
            part = Path(temporary) / folder.name
            _write(part, statistics, run)
            _upload(part, folder)
        return
    part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
    with writing(part, RunDirectoryError):
        try:
            checksums = _write(part, statistics, run)
            remove(folder)
            try:
                part.rename(folder)
            except OSError:
                if not is_intact(folder, checksums):  # otherwise another worker was faster by a moment
                    raise
        finally:
            remove(part)


def worker() -> str:
    """Who writes: the machine and the process."""
    return f"{platform.node()}:{os.getpid()}"


def shard_entry(folder: Location) -> dict[str, Any]:
    """The entry of a shard that the manifest has not taken over.

    Args:
        folder: The shard.

    Returns:
        ``files`` (name to SHA-256), ``rows``, ``run`` and ``worker``; of shards of earlier versions ``files`` alone, and
        empty where there is none, or it is damaged.
    """
    try:
        entry = from_json((folder / CHECKSUMS).read_bytes().decode(), needs_digest=True)
    except (OSError, ValueError):
        return {}
    return entry if "files" in entry else {"files": entry}


def _upload(part: Path, folder: RemotePath) -> None:
    """Moves a shard into a store, its entry last, which makes it whole; what was uploaded becomes the local copy."""
    (folder / CHECKSUMS).unlink(missing_ok=True)  # of a damaged one

    def move(name: str) -> None:
        (folder / name).upload(part / name)
        keep_copy(folder / name, part / name)

    each(move, [file.name for file in sorted(part.iterdir()) if file.name != CHECKSUMS])
    move(CHECKSUMS)


def _write(part: Path, statistics: Mapping[str, np.ndarray], run: str) -> dict[str, str]:
    """Writes a new folder with arrays and their entry; gives the checksums."""
    part.mkdir(parents=True)
    for name, array in statistics.items():
        np.save(part / f"{name}.npy", array, allow_pickle=False)
    checksums = {file.name: sha256_of(file) for file in sorted(part.iterdir())}
    entry = {"files": checksums, "rows": len(next(iter(statistics.values()))), "run": run, "worker": worker()}
    (part / CHECKSUMS).write_text(to_json(entry), encoding="utf-8", newline="\n")
    return checksums


def shard_checksums(folder: Location) -> dict[str, str]:
    """Checksums that a shard was written with, where the manifest has not taken them over.

    Args:
        folder: The shard.

    Returns:
        File name to SHA-256; empty where there are none, or they are damaged.
    """
    checksums: dict[str, str] = shard_entry(folder).get("files", {})
    return checksums


def remove_unfinished(checkpoint: Location) -> None:
    """Removes what workers have left that were killed while they wrote a shard; to be called when none writes.

    Args:
        checkpoint: The folder with the shards.
    """
    if isinstance(checkpoint, RemotePath):
        return  # shards are written there under their own names, the entry last
    for part in checkpoint.glob("shard-*.part"):
        remove(part)


def is_intact(folder: Location, checksums: Mapping[str, str]) -> bool:
    """Whether a shard is whole.

    Args:
        folder: The shard.
        checksums: File name to SHA-256.

    Returns:
        True where there are checksums, and every file fits its own.
    """
    try:
        return bool(checksums) and all(sha256_of(folder / name) == known for name, known in checksums.items())
    except OSError:
        return False
