"""The default engine: this process, or those of ``accelerate launch`` and ``torchrun``."""

from __future__ import annotations

from dataclasses import dataclass

from gradsift.engines.base import Load, Share, Stage
from gradsift.store.partition import Partition
from gradsift.store.processes import gathered, rank_and_count, together


@dataclass(frozen=True)
class Local:
    """Runs a stage in this process. Where there are several, each fills every so-manyth shard."""

    load: Load | None = None

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills all shards; where it fails in one process, it fails in all."""
        rank, count = rank_and_count()
        mine = range(rank, len(partition), count)

        def fill() -> Share:
            stage.setup()
            return stage.run(mine, show_progress=show_progress and rank == 0)

        shares: list[Share] = gathered(together(fill))
        return shares
