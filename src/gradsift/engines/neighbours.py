"""Stage *neighbours*: every sample's nearest neighbours among references that are drawn beforehand, block by block.

It needs neither model nor data set: features are read from the shards, and only those of a worker's own samples; those of
the references travel with the stage. Of what follows the passes it is what takes longest; see docs/scale.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradsift.detectors import WrongLabelPosterior, get_detector
from gradsift.detectors.found_neighbours import FoundNeighbourhood, Search
from gradsift.detectors.neighbours import CHUNK, SHARD, Nearest, kept_cosines
from gradsift.engines.base import Engine, Share
from gradsift.engines.local import Local
from gradsift.errors import RunDirectoryError
from gradsift.locations import Location
from gradsift.progress import progress
from gradsift.settled import Settled
from gradsift.store import ArrayMatrix, RunDirectory
from gradsift.store.partition import Partition
from gradsift.store.processes import gathered, leading, rank_and_count
from gradsift.store.shards import is_intact, shard_entry, shard_folder, worker, write_shard
from gradsift.writing import remove, writing

FOLDER = 2
"""Number of the checkpoint under which they lie until the run is whole: the model is 0, cross-fitted heads are 1."""
BLOCK = SHARD
"""Samples a block."""
WORTH = 65_536
"""Fewer samples are searched in one process sooner than workers start."""


def neighbours_by_shard(
    engine: Engine, run: RunDirectory, settled: Settled, seed: int, *, show_progress: bool = True
) -> FoundNeighbourhood | None:
    """Has an engine's workers find the neighbours that the posterior will ask; all processes call it.

    Args:
        engine: The engine.
        run: The run directory, with all shards of the passes.
        settled: What was settled before the first one.
        seed: Seed of the audit.
        show_progress: Whether to show a progress bar.

    Returns:
        The neighbours; ``None`` where nothing asks for them, or one process finds them as soon.
    """
    alone = isinstance(engine, Local) and rank_and_count()[1] == 1
    detectors = [get_detector(name, seed=seed) for name in settled.detectors]
    posterior = next((detector for detector in detectors if isinstance(detector, WrongLabelPosterior)), None)
    if alone or posterior is None or settled.samples < WORTH or "features" not in run.stored():
        return None
    search = Search(posterior.neighbours, posterior.references, posterior.random_state)
    stage = gathered(leading(lambda: FindNeighbours.of(run, search, settled.samples)))[0]
    engine.map(stage, stage.partition, show_progress=show_progress)
    folders = [shard_folder(run.path, FOLDER, block) for block in range(len(stage.partition))]
    return FoundNeighbourhood(search, folders, stage.partition.lengths)


def forget_neighbours(run: RunDirectory) -> None:
    """Removes what workers have found, before the run gets its final name.

    Args:
        run: The run directory.
    """
    with writing(run.path, RunDirectoryError):
        remove(shard_folder(run.path, FOLDER, 0).parent)


class FindNeighbours:
    """The stage.

    Args:
        final: Where the run directory will lie.
        search: What is searched.
        samples: Number of samples.
        theirs: Features of the references, shape (r, D).
        block: Samples a block, a multiple of those that one process reads together: so the same is found to the last bit.

    Attributes:
        device: What it computes on.
        partition: The blocks.
    """

    device = "cpu"

    def __init__(self, final: Location, search: Search, samples: int, theirs: np.ndarray, block: int) -> None:
        self._final = final.absolute() if isinstance(final, Path) else final
        self._search, self._theirs = search, theirs
        self.partition = Partition(samples, block)

    @classmethod
    def of(cls, run: RunDirectory, search: Search, samples: int) -> FindNeighbours:
        """Reads the references' features.

        Args:
            run: The run directory, with all shards of the passes.
            search: What is searched.
            samples: Number of samples.

        Returns:
            The stage.
        """
        references, _ = search.among(samples)
        return cls(run.final, search, samples, run.statistic("features").rows(references), BLOCK)

    def setup(self) -> None:
        """Opens the run directory."""
        self._run = RunDirectory.joining(self._final)
        references, count = self._search.among(self.partition.samples)
        self._nearest = Nearest(ArrayMatrix(self._run.statistic("features")), references, count, self._theirs)
        self._kept = kept_cosines(count)

    def run(self, shards: Sequence[int], *, show_progress: bool = False) -> Share:
        """Finds and writes the neighbours of some blocks; those that are whole are left as they are."""
        began, computing, computed = time.perf_counter(), time.process_time(), 0
        mark = f"{self._run.fingerprint} {self._search}"
        with progress("neighbours", self.partition.count(shards), show=show_progress) as bar:
            for block in shards:
                place, positions = shard_folder(self._run.path, FOLDER, block), self.partition.positions(block)
                entry = shard_entry(place)
                if entry.get("run") != mark or not is_intact(place, entry["files"]):
                    near, cosines = self._nearest.of(positions)
                    write_shard(place, {"neighbour": near, "cosine": cosines[:, self._kept]}, mark)
                    computed += 1
                bar.advance(len(positions))
        seconds, computing = time.perf_counter() - began, time.process_time() - computing
        return Share(worker(), len(shards), computed, self.partition.count(shards), seconds, computing, CHUNK)
