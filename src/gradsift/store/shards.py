"""One shard on disk: the arrays of some samples, with their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gradsift.errors import RunDirectoryError
from gradsift.store.checksums import from_json, sha256_of, to_json
from gradsift.writing import remove, writing

CHECKSUMS = "checksums.json"
"""In each shard of an unfinished run; the manifest takes them over when all shards are there."""


def shard_folder(run: Path, checkpoint: int, shard: int) -> Path:
    """Where a shard lies.

    Args:
        run: The run directory.
        checkpoint: Number of the checkpoint.
        shard: Number of the shard.

    Returns:
        The folder.
    """
    return run / "gradients" / f"checkpoint-{checkpoint:03d}" / f"shard-{shard:05d}"


def write_shard(folder: Path, statistics: Mapping[str, np.ndarray]) -> None:
    """Writes a shard, whole or not at all; a damaged one is replaced.

    Args:
        folder: The shard.
        statistics: Name to array, first axis = samples of the shard.

    Raises:
        RunDirectoryError: It cannot be written.
    """
    part = folder.with_name(folder.name + ".part")
    with writing(part, RunDirectoryError):
        remove(part)
        part.mkdir(parents=True)
        for name, array in statistics.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        checksums = {file.name: sha256_of(file) for file in sorted(part.iterdir())}
        (part / CHECKSUMS).write_text(to_json(checksums), encoding="utf-8", newline="\n")
        remove(folder)
        part.rename(folder)


def shard_checksums(folder: Path) -> dict[str, str]:
    """Checksums that a shard was written with, where the manifest has not taken them over.

    Args:
        folder: The shard.

    Returns:
        File name to SHA-256; empty where there are none, or they are damaged.
    """
    try:
        return from_json((folder / CHECKSUMS).read_bytes().decode(), needs_digest=True)
    except (OSError, ValueError):
        return {}


def is_intact(folder: Path, checksums: Mapping[str, str]) -> bool:
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
