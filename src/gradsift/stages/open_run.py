"""Stage *open*: the run directory that an audit writes, a temporary one where none is named."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsift.locations import Location, as_location
from gradsift.store import RunDirectory, fingerprint_settings
from gradsift.store.processes import gathered, leading


@dataclass(frozen=True)
class OpenRun:
    """A run directory that is being written.

    Attributes:
        run: The directory.
        final: Where it will lie once whole.
        batch_size: Samples a batch, as on record: a resumed run keeps the size that it began with.
        temporary: Folder that holds it where the user named none.
    """

    run: RunDirectory
    final: Location
    batch_size: int
    temporary: str | None

    def remove_with(self, result: object) -> None:
        """Removes a temporary run once nothing refers to its result any longer.

        Args:
            result: What reads the run.
        """
        if self.temporary is not None:
            weakref.finalize(result, shutil.rmtree, self.temporary, ignore_errors=True)


@contextmanager
def open_run(
    output: str | Location | None, identity: Mapping[str, Any], config: dict[str, Any], *, overwrite: bool = False
) -> Iterator[OpenRun]:
    """Begins a run directory, or takes up the one that a killed process of the same run has left.

    Args:
        output: Where the whole directory will lie; a temporary folder where ``None``.
        identity: All that decides what the shards hold.
        config: What goes into ``config.yaml``: ``settings`` with a ``batch_size``, and ``source``.
        overwrite: Whether a whole run, or unfinished work of another one, may be replaced.

    Yields:
        The run. A temporary folder is removed where what follows fails.
    """
    temporary = leading(lambda: tempfile.mkdtemp(prefix="gradsift-")) if output is None else None
    with contextlib.ExitStack() as undone:
        if temporary is not None:
            undone.callback(shutil.rmtree, temporary, ignore_errors=True)
        final = as_location(output) if output is not None else Path(gathered(temporary)[0]) / "run"
        fingerprint = fingerprint_settings(identity)
        begun = leading(lambda: RunDirectory.begin(final, fingerprint, config, overwrite=overwrite))
        run = undone.enter_context(begun or RunDirectory.joining(final))
        batch_size = int(run.read_json("manifest.json")["batch_size"])
        config["settings"] |= {"batch_size": batch_size}  # what shards do not depend on may have changed
        leading(lambda: run.write_config(config))
        yield OpenRun(run, final, batch_size, temporary)
        undone.pop_all()
