"""A run directory: written as ``.part``, renamed when whole, resumed where it stopped.

Layout::

    runs/x/
      config.yaml      what was asked for; replays the run
      manifest.json    versions, fingerprints, coverage, shards
      scores.parquet   the table
      gradients/checkpoint-000/shard-00000/{loss,l1,l2,residual,features,projection,prediction,label}.npy
      tokens.json      of texts: how much of the gradient comes through each token of the samples on the page's cards
      report.html
      timing.json      host, seconds: all that differs between two equal runs
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gradsift.errors import RunDirectoryError, SettingError
from gradsift.store.arrays import ShardedArray
from gradsift.store.configuration import read_config
from gradsift.writing import writing

FORMAT = 1
"""Version of the layout, kept in the manifest."""


class RunDirectory:
    """A run directory on disk.

    Use :meth:`begin` to write one and :meth:`open` to read one.

    Args:
        path: Where the files lie now (``.part`` while it is written).
        final: Where they will lie once whole.
        overwrite: Whether a whole run that lies there may be replaced.
    """

    def __init__(self, path: Path, final: Path, *, overwrite: bool = False) -> None:
        self.path, self.final, self._overwrite = path, final, overwrite

    @classmethod
    def begin(
        cls, output: str | Path, fingerprint: str, config: Mapping[str, Any], *, overwrite: bool = False
    ) -> RunDirectory:
        """Starts a run directory, or takes up the ``.part`` of the same run.

        Args:
            output: Where the whole directory will lie.
            fingerprint: Hash of model, data and settings.
            config: What goes into ``config.yaml``; on resume the file that is there is kept.
            overwrite: Whether a whole directory of an earlier run may be replaced.

        Returns:
            The directory, open for writing.

        Raises:
            RunDirectoryError: The place is taken, holds something else, belongs to another run, or cannot be written.
        """
        final = Path(output)
        if not final.name or final.name == "..":
            raise RunDirectoryError(f"{str(final)!r} is no name for a run directory: choose another place")
        _refuse_if_taken(final, overwrite)
        part = final.with_name(final.name + ".part")
        run = cls(part, final, overwrite=overwrite)
        if part.exists():
            found = run.read_json("manifest.json")
            if found.get("fingerprint") != fingerprint:
                raise RunDirectoryError(
                    f"{part} was begun with another model, data set or settings, and its shards must not be mixed with "
                    "this run's: delete it, or choose another place for the output"
                )
            return run
        with writing(part, RunDirectoryError):
            # config.yaml first: a directory with a manifest always has its batch size on record.
            fresh = final.with_name(f".{final.name}.{os.getpid()}.new")
            shutil.rmtree(fresh, ignore_errors=True)  # of a try of this process that failed, on a full disk perhaps
            fresh.mkdir(parents=True)
            (fresh / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
            (fresh / "manifest.json").write_text(
                _json({"format": FORMAT, "fingerprint": fingerprint, "complete": False})
            )
            fresh.rename(part)
        return run

    @classmethod
    def joining(cls, output: str | Path) -> RunDirectory:
        """A run directory that another process has begun, to write shards into.

        Args:
            output: Where the whole directory will lie.

        Returns:
            The directory.
        """
        final = Path(output)
        return cls(final.with_name(final.name + ".part"), final)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Opens a whole run directory for reading.

        Args:
            path: Where it lies.

        Returns:
            The directory.

        Raises:
            RunDirectoryError: There is no whole run directory of this format.
        """
        final = Path(path)
        run = cls(final, final)
        if not final.is_dir():
            part = final.with_name(final.name + ".part")
            hint = f"; {part} is an unfinished run, give the same command again to finish it" if part.exists() else ""
            raise RunDirectoryError(f"{final} is no run directory{hint}")
        manifest = run.read_json("manifest.json")
        if not manifest.get("complete"):
            raise RunDirectoryError(f"{final} is not a whole run: give the same audit command again to finish it")
        if manifest.get("format") != FORMAT:
            raise RunDirectoryError(
                f"{final} has format {manifest.get('format')}, this gradsift reads {FORMAT}: audit again"
            )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.yaml`` says."""
        try:
            return read_config(self.path / "config.yaml")
        except SettingError as error:
            raise RunDirectoryError(f"{error}: the run is corrupt, audit again") from error

    def has_shard(self, checkpoint: int, shard: int) -> bool:
        """Whether a shard is whole.

        Args:
            checkpoint: Number of the checkpoint.
            shard: Number of the shard.

        Returns:
            True if it needs no work.
        """
        return self._shard(checkpoint, shard).is_dir()

    def write_shard(self, checkpoint: int, shard: int, statistics: Mapping[str, np.ndarray]) -> None:
        """Writes a shard, whole or not at all.

        Args:
            checkpoint: Number of the checkpoint.
            shard: Number of the shard.
            statistics: Name to array, first axis = samples of the shard.
        """
        place = self._shard(checkpoint, shard)
        part = place.with_name(place.name + ".part")
        with writing(part, RunDirectoryError):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name, array in statistics.items():
                np.save(part / f"{name}.npy", array, allow_pickle=False)
            part.rename(place)

    def statistic(self, name: str, checkpoint: int = 0) -> ShardedArray:
        """One statistic of all samples.

        Args:
            name: Its name, such as ``l2``.
            checkpoint: Number of the checkpoint.

        Returns:
            The array, memory-mapped.

        Raises:
            RunDirectoryError: The run has not stored it, or shards are missing.
        """
        lengths = self.read_json("manifest.json").get("shards") or []
        paths = [self._shard(checkpoint, shard) / f"{name}.npy" for shard in range(len(lengths))]
        missing = [path for path in paths if not path.is_file()]
        if missing or not paths:
            raise RunDirectoryError(f"{self.path} has no {name!r} ({len(missing)} shards are missing): audit again")
        return ShardedArray(paths, lengths)

    def stored(self, checkpoint: int = 0) -> set[str]:
        """Names of the statistics that are stored.

        Args:
            checkpoint: Number of the checkpoint.

        Returns:
            The names.
        """
        return {path.stem for path in self._shard(checkpoint, 0).glob("*.npy")}

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the JSON files.

        Args:
            name: Its name.

        Returns:
            What it holds.

        Raises:
            RunDirectoryError: It is missing or broken.
        """
        try:
            loaded = json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"{self.path} is no run directory, or corrupt: {name} cannot be read ({error})"
            ) from error
        if not isinstance(loaded, dict):
            raise RunDirectoryError(f"{self.path / name} is corrupt: it holds no object")
        return loaded

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes one of the JSON files, whole or not at all.

        Args:
            name: Its name.
            content: What it shall hold.
        """
        with writing(self.path, RunDirectoryError):
            fresh = self.path / f".{name}.new"
            fresh.write_text(_json(content))
            fresh.replace(self.path / name)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes ``config.yaml``, whole or not at all.

        Args:
            config: What it shall hold.
        """
        with writing(self.path, RunDirectoryError):
            fresh = self.path / ".config.yaml.new"
            fresh.write_text(yaml.safe_dump(dict(config), sort_keys=False))
            fresh.replace(self.path / "config.yaml")

    def finish(self) -> None:
        """Marks the run as whole and gives it its final name."""
        self.write_json("manifest.json", self.read_json("manifest.json") | {"complete": True})
        _refuse_if_taken(self.final, self._overwrite)
        with writing(self.final, RunDirectoryError):
            old = self.final.with_name(f".{self.final.name}.{os.getpid()}.old")
            if self.final.exists():
                self.final.rename(old)
            self.path.rename(self.final)
            shutil.rmtree(old, ignore_errors=True)
        self.path = self.final

    def _shard(self, checkpoint: int, shard: int) -> Path:
        return self.path / "gradients" / f"checkpoint-{checkpoint:03d}" / f"shard-{shard:05d}"


def _refuse_if_taken(final: Path, overwrite: bool) -> None:
    """Refuses a place that holds anything but an empty folder, or a run that may be replaced."""
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    try:
        manifest = RunDirectory(final, final).read_json("manifest.json")
    except RunDirectoryError:
        manifest = {}
    if not {"format", "fingerprint"} <= manifest.keys():
        raise RunDirectoryError(f"{final} exists and is no run directory: choose another place for the output")
    if not overwrite:
        raise RunDirectoryError(f"{final} holds a whole run: pass --overwrite (overwrite=True) or another place")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
