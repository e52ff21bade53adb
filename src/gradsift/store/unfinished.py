"""What stands where a run directory is to be written: an earlier run, an unfinished one, or something else."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, RemotePath, refuse_unwritable, relative
from gradsift.locations.remote import each
from gradsift.store.checksums import from_json, is_whole
from gradsift.store.shards import is_intact, shard_checksums
from gradsift.writing import flush, remove

logger = logging.getLogger(__name__)

MANIFEST, CONFIG = "manifest.json", "config.yaml"
FORMAT = 2
"""Version of the layout, kept in the manifest. The first had no checksums."""
JOB, PARTS = "job.json", "parts"
"""Of a run that is computed in parts, while it is unfinished: what all parts have in common, and which are done."""
_OWN = re.compile(
    r"(manifest|job|tokens|timing|verify|geometry)\.json|config\.yaml|verify\.jsonl|(scores|influence)\.parquet|report\.html"
    r"|\.[\w.-]+\.(new|lock|part)(\.\w+)?"
    r"|parts(/\d+-of-\d+\.json)?"
    r"|gradients(/checkpoint-\d+(/shard-\d+(\.[0-9a-f]+)?(\.part)?(/[^/]+\.(npy|json))?)?)?"
)


def read_manifest(folder: Location) -> dict[str, Any]:
    """Reads the manifest of a run directory.

    Args:
        folder: The run directory.

    Returns:
        What it holds.

    Raises:
        OSError: It is missing.
        ValueError: It is damaged.
    """
    text = (folder / MANIFEST).read_bytes().decode()
    manifest = from_json(text)
    if manifest.get("format") == FORMAT and is_whole(text) is None:
        raise ValueError("its digest is missing")
    return manifest


def refuse_if_taken(final: Location, overwrite: bool) -> None:
    """Refuses a place that holds anything but an empty folder, or a run that may be replaced.

    Args:
        final: The place.
        overwrite: Whether a run may be replaced.

    Raises:
        RunDirectoryError: It is taken.
    """
    if not stands(final) or (final.is_dir() and not any(final.iterdir())):
        return
    if not _is_own(final):
        raise RunDirectoryError(f"{final} exists and is no run directory: choose another place for the output")
    if not overwrite:
        raise RunDirectoryError(
            f"{final} holds a whole run: pass --overwrite (overwrite=True) or another place; before parts of it are "
            "computed anew, remove it"
        )
    _refuse_strangers(final)


def refuse_before_work(final: Location, overwrite: bool) -> None:
    """Refuses a place that is taken or cannot be written, before model and data are read.

    Args:
        final: The place.
        overwrite: Whether a run may be replaced.

    Raises:
        RunDirectoryError: It is taken, or cannot be written.
        LocationError: The store cannot be written.
    """
    refuse_unwritable(final, RunDirectoryError)
    if isinstance(final, Path):  # in a store what lies there may have to be put right first
        refuse_if_taken(final, overwrite)


def make_way(part: Location, fingerprint: str, overwrite: bool) -> None:
    """Removes an unfinished run that cannot go on; one that can, or that holds somebody's work, stays.

    Args:
        part: The unfinished run directory.
        fingerprint: Of the run that is to be written.
        overwrite: Whether another run's work may be replaced.

    Raises:
        RunDirectoryError: Something else stands there, or shards of another run do.
    """
    if not stands(part) or (part.is_dir() and not part.is_symlink() and not any(part.iterdir())):
        return
    if part.is_symlink() or not _is_own(part):
        raise RunDirectoryError(
            f"{part} is no run directory and stands in the way: move it, or choose another place for the output"
        )
    try:
        manifest = read_manifest(part)
    except (OSError, ValueError) as error:
        manifest, reason = {}, f"its manifest is damaged ({error}), so nobody knows whose shards they are"
    else:
        reason = "it was begun with another model, data set or settings"
        if manifest.get("fingerprint") == fingerprint and manifest.get("format") == FORMAT:
            return
    if manifest and not overwrite and holds_work(part, manifest):
        raise RunDirectoryError(
            f"{part} was begun with another model, data set or settings, and its shards must not be mixed with this "
            "run's: pass --overwrite (overwrite=True) to replace it, or choose another place for the output"
        )
    _refuse_strangers(part)
    logger.warning("%s is begun anew: %s", part, reason)
    remove(part)


def aside(final: Location, ending: str) -> Location:
    """A name that a run directory has for a moment.

    Args:
        final: The run directory.
        ending: ``"new"`` for its first files, ``"old"`` for a run that is replaced.

    Returns:
        A name beside it.
    """
    return final.with_name(f".{final.name}.{ending}")


def recover(final: Location) -> None:
    """Puts right what a process has left that was killed while it began or finished a run; to be called under its lock.

    Args:
        final: The run directory.
    """
    if isinstance(final, RemotePath):
        _recover_remote(final)
        return
    old, empty = final.with_name(aside(final, "old").name), final.is_dir() and not any(final.iterdir())
    if old.is_dir() and (empty or not stands(final)):
        if empty:
            final.rmdir()
        old.rename(final)
    remove(old)
    remove(aside(final, "new"))


def stands(place: Location) -> bool:
    """Whether anything stands at a place, also a link to nowhere.

    Args:
        place: The place.

    Returns:
        True where it is taken.
    """
    return place.is_symlink() or place.exists()


def instead_of(final: Location) -> str:
    """What there is in the place of a run directory, for messages.

    Args:
        final: Where the run directory should be.

    Returns:
        Words that go on behind "is no run directory".
    """
    part = final.with_name(final.name + ".part")
    if part.exists():
        return f"; {part} is an unfinished run, give the same command again to finish it"
    return "" if final.exists() else ": it is absent"


def publish(part: Location, final: Location) -> None:
    """Gives a whole run its final name; what it replaces is gone only then.

    In a store the run is copied to its name, the manifest last, before anything of the unfinished one is removed.

    Args:
        part: The run, whose manifest says that it is complete.
        final: Its name; an empty folder, or a run that may be replaced, may lie there.
    """
    if isinstance(part, RemotePath) and isinstance(final, RemotePath):
        (final / MANIFEST).unlink(missing_ok=True)
        remove(final)
        names = [file.relative_to(part) for file in part.files()]
        each(lambda name: (part / name).copy_to(final / name), [name for name in names if str(name) != MANIFEST])
        (part / MANIFEST).copy_to(final / MANIFEST)
        _discard(part)
        return
    if isinstance(part, RemotePath) or isinstance(final, RemotePath):
        raise RunDirectoryError(f"{part} cannot become {final}: both must lie in the same store")
    old = final.with_name(aside(final, "old").name)
    if final.is_dir() and any(final.iterdir()):
        final.rename(old)
    elif final.exists():
        final.rmdir()
    part.rename(final)
    flush(final.parent)
    remove(old)


def _recover_remote(final: RemotePath) -> None:
    """Puts right what was left by a process that was killed while it published a run in a store."""
    part = final.with_name(final.name + ".part")
    if _is_half_published(final):
        remove(final)
        return
    with contextlib.suppress(OSError, ValueError):
        begun = read_manifest(part)
        if begun.get("complete") and read_manifest(final) == begun:
            _discard(part)


def _is_half_published(final: RemotePath) -> bool:
    """Whether what lies in a store is a part of the run that lies whole beside it, and nothing else."""
    try:
        whole = read_manifest(final.with_name(final.name + ".part")).get("complete")
    except (OSError, ValueError):
        return False
    return bool(whole) and not (final / MANIFEST).exists() and not _strangers(final)


def _discard(part: RemotePath) -> None:
    """Removes what was published; the manifest last, which says so."""
    manifest = part / MANIFEST
    each(lambda file: file.unlink(missing_ok=True), [file for file in part.files() if file != manifest])
    manifest.unlink(missing_ok=True)


def nothing_done(part: Location) -> bool:
    """Whether an unfinished run can be removed without loss.

    Args:
        part: The unfinished run directory.

    Returns:
        True where it holds no shard, and nothing but gradsift's own files, and no parts are to be written there.
    """
    if (part / JOB).exists():
        return False
    return part.is_dir() and not any(part.glob("gradients/checkpoint-*/shard-*")) and not _strangers(part)


def holds_work(part: Location, manifest: Mapping[str, Any]) -> bool:
    """Whether an unfinished run holds a whole shard; those of the first format cannot be checked, and count.

    Args:
        part: The unfinished run directory.
        manifest: Its manifest.

    Returns:
        True where something would be lost with it.
    """
    recorded = manifest.get("files", {})
    for folder in part.glob("gradients/checkpoint-*/shard-*"):
        known = shard_checksums(folder) or recorded.get(relative(folder, part), {})
        if manifest.get("format") == 1 or is_intact(folder, known):
            return True
    return False


def _is_own(folder: Location) -> bool:
    """Whether a folder is a run directory, damaged or not."""
    if not folder.is_dir():
        return False
    try:
        return {"format", "fingerprint"} <= from_json((folder / MANIFEST).read_bytes().decode()).keys()
    except (OSError, ValueError):
        return not _strangers(folder) and ((folder / "gradients").is_dir() or _is_config(folder / CONFIG))


def _is_config(path: Location) -> bool:
    try:
        return b"settings:" in path.read_bytes()
    except OSError:
        return False


def _refuse_strangers(folder: Location) -> None:
    """Refuses to replace a folder with files that gradsift has not written."""
    strangers = _strangers(folder)
    if strangers:
        raise RunDirectoryError(
            f"{folder} also holds {', '.join(strangers[:5])}, which is no part of a run and would be lost: move it to "
            "another place first"
        )


def _strangers(folder: Location) -> list[str]:
    names = sorted(relative(path, folder) for path in folder.rglob("*"))
    return [name for name in names if not _OWN.fullmatch(name)]
