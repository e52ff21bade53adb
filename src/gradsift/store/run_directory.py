"""A run directory: written as ``.part``, renamed when whole, resumed where it stopped.

Layout::

    runs/x/
      config.yaml      what was asked for; replays the run
      manifest.json    versions, fingerprints, coverage, shards; SHA-256 of the table and of every array
      scores.parquet   the table
      gradients/checkpoint-000/shard-00000/{loss,l1,l2,residual,features,projection,prediction,label}.npy
      tokens.json      of texts: how much of the gradient comes through each token of the samples on the page's cards
      report.html
      timing.json      host, seconds: all that differs between two equal runs

Files of JSON and ``config.yaml`` carry a digest of their own. While a run is unfinished, each shard holds the checksums of
its arrays; the manifest takes them over when all shards are there. What is damaged is found when it is read.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import yaml

from gradsift.errors import LocationError, RunDirectoryError, SettingError
from gradsift.locations import Location, RemotePath, as_location, relative
from gradsift.store.arrays import ShardedArray
from gradsift.store.checksums import comparing, from_json, sha256_of, to_json, with_digest
from gradsift.store.configuration import read_config
from gradsift.store.shards import (
    CHECKSUMS,
    is_intact,
    remove_unfinished,
    shard_checksums,
    shard_entry,
    shard_folder,
    write_shard,
)  # fmt: skip
from gradsift.store.tables import read_table, write_table
from gradsift.store.unfinished import (
    CONFIG,
    FORMAT,
    MANIFEST,
    aside,
    instead_of,
    make_way,
    nothing_done,
    publish,
    read_manifest,
    recover,
    refuse_if_taken,
)
from gradsift.writing import always, flush_below, new_file, remove, reserved, writing

logger = logging.getLogger(__name__)

READS = (1, FORMAT)
TABLE = "scores.parquet"


class RunDirectory:
    """A run directory on disk; a context manager that ends the writing.

    Use :meth:`begin` to write one and :meth:`open` to read one.

    Args:
        path: Where the files lie now (``.part`` while it is written).
        final: Where they will lie once whole.
        overwrite: Whether a whole run that lies there may be replaced.
    """

    def __init__(self, path: Location, final: Location, *, overwrite: bool = False) -> None:
        self.path, self.final, self._overwrite = path, final, overwrite
        self._lock: contextlib.ExitStack | None = None
        self._checked, self._contents = set[Location](), dict[str, Any]()  # contents: of files in a store, read once

    @classmethod
    def begin(
        cls, output: str | Location, fingerprint: str, config: Mapping[str, Any], *, overwrite: bool = False
    ) -> RunDirectory:
        """Starts a run directory, or takes up the ``.part`` of the same run; no other process can until it is closed.

        Args:
            output: Where the whole directory will lie.
            fingerprint: Hash of model, data and settings.
            config: What goes into ``config.yaml``; on resume the file that is there is kept.
            overwrite: Whether a whole directory of an earlier run, or unfinished work of another one, may be replaced.

        Returns:
            The directory, open for writing.

        Raises:
            RunDirectoryError: The place is taken, holds something else, belongs to another run, is being written by
                another process, or cannot be written.
        """
        final = as_location(output)
        if not final.name or final.name == "..":
            raise RunDirectoryError(f"{str(final)!r} is no name for a run directory: choose another place")
        run = cls(final.with_name(final.name + ".part"), final, overwrite=overwrite)
        with contextlib.ExitStack() as stack, writing(final, RunDirectoryError):
            if isinstance(final, Path):  # in a store what lies there may have to be put right first
                refuse_if_taken(final, overwrite)
            stack.enter_context(reserved(final, RunDirectoryError))
            recover(final)
            refuse_if_taken(final, overwrite)
            make_way(run.path, fingerprint, overwrite)
            if not (run.path / MANIFEST).exists():
                run._create(fingerprint, config)
            run._lock = stack.pop_all()
        return run

    @classmethod
    def joining(cls, output: str | Location) -> RunDirectory:
        """A run directory that another process has begun, to write shards into.

        Args:
            output: Where the whole directory will lie.

        Returns:
            The directory.
        """
        final = as_location(output)
        return cls(final.with_name(final.name + ".part"), final)

    @classmethod
    def open(cls, path: str | Location) -> RunDirectory:
        """Opens a whole run directory for reading.

        Args:
            path: Where it lies.

        Returns:
            The directory.

        Raises:
            RunDirectoryError: There is no whole run directory of this format.
        """
        final = as_location(path)
        run = cls(final, final)
        if not final.is_dir():
            raise RunDirectoryError(f"{final} is no run directory{instead_of(final)}")
        manifest = run.read_json(MANIFEST)
        if not manifest.get("complete"):
            raise RunDirectoryError(f"{final} is not a whole run: give the same audit command again to finish it")
        if manifest.get("format") not in READS:
            raise RunDirectoryError(
                f"{final} has format {manifest.get('format')}, this gradsift reads {' and '.join(map(str, READS))}: "
                "audit again, or install the gradsift that wrote it"
            )
        return run

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the writing."""
        self.close()

    def close(self) -> None:
        """Lets other processes write here; of an unfinished run without a shard nothing is left."""
        if self._lock is None:
            return
        with self._lock, contextlib.suppress(OSError, LocationError):
            if self.path != self.final and nothing_done(self.path):
                remove(self.path)
        self._lock = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of model, data and settings of which the shards are made."""
        return str(self.read_json(MANIFEST).get("fingerprint"))

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.yaml`` says."""
        try:
            return self._once(CONFIG, lambda: read_config(self.path / CONFIG))
        except SettingError as error:
            raise RunDirectoryError(f"{error}: the run is corrupt, audit again") from error

    def has_shard(self, checkpoint: int, shard: int) -> bool:
        """Whether a shard is whole and undamaged.

        Args:
            checkpoint: Number of the checkpoint.
            shard: Number of the shard.

        Returns:
            True if it needs no work.
        """
        place = shard_folder(self.path, checkpoint, shard)
        entry = shard_entry(place)
        if entry.get("run", self.fingerprint) != self.fingerprint:
            logger.warning("%s belongs to another run and is computed again", place)
            return False
        whole = is_intact(place, entry.get("files") or self._recorded.get(relative(place, self.path), {}))
        if not whole and place.exists():
            logger.warning("%s is damaged and is computed again", place)
        return whole

    def write_shard(self, checkpoint: int, shard: int, statistics: Mapping[str, np.ndarray]) -> None:
        """Writes a shard with the checksums of its arrays, whole or not at all.

        Args:
            checkpoint: Number of the checkpoint.
            shard: Number of the shard.
            statistics: Name to array, first axis = samples of the shard.
        """
        write_shard(shard_folder(self.path, checkpoint, shard), statistics, self.fingerprint)

    def record_shards(self, lengths: Sequence[int], checkpoint: int = 0) -> None:
        """Puts the lengths and checksums of all shards into the manifest, once every process has written its own.

        Args:
            lengths: Rows of each shard.
            checkpoint: Number of the checkpoint.
        """
        manifest = self.read_json(MANIFEST)
        files = dict(manifest.get("files", {}))
        places = [shard_folder(self.path, checkpoint, shard) for shard in range(len(lengths))]
        files |= {relative(p, self.path): shard_checksums(p) or files.get(relative(p, self.path), {}) for p in places}
        self.write_json(MANIFEST, manifest | {"shards": list(lengths), "files": files})
        self._recorded = files
        with writing(self.path, RunDirectoryError):
            for place in places:
                (place / CHECKSUMS).unlink(missing_ok=True)
            remove_unfinished(shard_folder(self.path, checkpoint, 0).parent)

    def statistic(self, name: str, checkpoint: int = 0) -> ShardedArray:
        """One statistic of all samples.

        Args:
            name: Its name, such as ``l2``.
            checkpoint: Number of the checkpoint.

        Returns:
            The array, memory-mapped; each file is compared with its checksum when it is first read.

        Raises:
            RunDirectoryError: The run has not stored it, or shards are missing.
        """
        manifest = self.read_json(MANIFEST)
        lengths = manifest.get("shards") or []
        paths = [shard_folder(self.path, checkpoint, shard) / f"{name}.npy" for shard in range(len(lengths))]
        if isinstance(self.path, RemotePath):  # the manifest tells, without a request for each
            files = manifest.get("files", {})
            missing = [path for path in paths if path.name not in files.get(relative(path.parent, self.path), {})]
        else:
            missing = [path for path in paths if not path.is_file()]
        if missing or not paths:
            raise RunDirectoryError(f"{self.path} has no {name!r} ({len(missing)} shards are missing): audit again")
        return ShardedArray(paths, lengths, self._checks(manifest, paths))

    def stored(self, checkpoint: int = 0) -> set[str]:
        """Names of the statistics that are stored.

        Args:
            checkpoint: Number of the checkpoint.

        Returns:
            The names.
        """
        place = shard_folder(self.path, checkpoint, 0)
        recorded = self.read_json(MANIFEST).get("files", {}).get(relative(place, self.path))
        return {Path(name).stem for name in recorded or (path.name for path in place.glob("*.npy"))}

    def write_table(self, table: pa.Table, name: str = TABLE) -> None:
        """Writes a table of the run, and its checksum into the manifest.

        Args:
            table: The table.
            name: Its file: the run's table, or :data:`~gradsift.store.tables.TOKENS`.
        """
        write_table(table, self.path / name, replaces=always, kind=RunDirectoryError)
        files = self.read_json(MANIFEST).get("files", {})
        self.update({"files": files | {".": files.get(".", {}) | {name: sha256_of(self.path / name)}}})

    def read_table(self, name: str = TABLE) -> pa.Table:
        """A table of the run.

        Args:
            name: Its file.

        Raises:
            RunDirectoryError: It is missing or damaged.
        """
        if (check := self._checks(self.read_json(MANIFEST), [self.path / name])) is not None:
            check(self.path / name)
        return read_table(self.path / name)

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the JSON files.

        Args:
            name: Its name.

        Returns:
            What it holds.

        Raises:
            RunDirectoryError: It is missing or damaged.
        """
        try:
            if name == MANIFEST:
                return self._once(MANIFEST, lambda: read_manifest(self.path))
            needs_digest = self.read_json(MANIFEST).get("format") != 1
            return from_json((self.path / name).read_bytes().decode(), needs_digest=needs_digest)
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"{self.path} is no run directory, or corrupt: {name} cannot be read ({error})"
            ) from error

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes one of the JSON files, whole or not at all.

        Args:
            name: Its name.
            content: What it shall hold.
        """
        self._write_text(name, to_json(content))

    def update(self, details: Mapping[str, Any]) -> None:
        """Adds to the manifest.

        Args:
            details: Names to values.
        """
        self.write_json(MANIFEST, self.read_json(MANIFEST) | dict(details))

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes ``config.yaml``, whole or not at all.

        Args:
            config: What it shall hold.
        """
        self._write_text(CONFIG, with_digest(yaml.safe_dump(dict(config), sort_keys=False)))

    def finish(self) -> None:
        """Marks the run as whole, flushes it to disk and gives it its final name; what it replaces is gone only then."""
        with writing(self.final, RunDirectoryError):
            flush_below(self.path)
            self.update({"complete": True})
            refuse_if_taken(self.final, self._overwrite)
            publish(self.path, self.final)
            self.path = self.final
        self.close()

    @cached_property
    def _recorded(self) -> dict[str, dict[str, str]]:
        """Checksums that an earlier try has put into the manifest."""
        found: dict[str, dict[str, str]] = self.read_json(MANIFEST).get("files", {})
        return found

    def _create(self, fingerprint: str, config: Mapping[str, Any]) -> None:
        """Makes the ``.part`` with its first two files, in one step."""
        begun = {"format": FORMAT, "fingerprint": fingerprint, "complete": False}
        begun["batch_size"] = (config.get("settings") or {}).get("batch_size")
        if isinstance(self.path, RemotePath):
            self.write_config(config)
            self.write_json(MANIFEST, begun)
            return
        place = self.path.with_name(aside(self.final, "new").name)
        fresh = RunDirectory(place, self.final)
        try:
            place.mkdir()
            fresh.write_config(config)
            fresh.write_json(MANIFEST, begun)
            if self.path.exists():
                self.path.rmdir()
            place.rename(self.path)
        finally:
            remove(place)

    def _once(self, name: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a file holds; one in a store is read once, until it is written."""
        if not isinstance(self.path, RemotePath):
            return read()
        if name not in self._contents:
            self._contents[name] = read()
        return dict(self._contents[name])

    def _write_text(self, name: str, text: str) -> None:
        self._contents.pop(name, None)
        with new_file(self.path / name, replaces=always, kind=RunDirectoryError) as file:
            file.write_text(text, encoding="utf-8", newline="\n")

    def _checks(self, manifest: Mapping[str, Any], paths: Sequence[Location]) -> Callable[[Location], None] | None:
        """What compares each of these files with its checksum, once; ``None`` where the run is of the first format."""
        if manifest.get("format") == 1:
            return None
        known = {p: manifest.get("files", {}).get(relative(p.parent, self.path), {}).get(p.name) for p in paths}
        return comparing(known, self._checked)
