"""Engine *ray*: a pool of actors, each of which loads the model once and fills one shard after the other."""

from __future__ import annotations

import importlib.util
import logging
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradsift.engines.base import Load, Share, Stage
from gradsift.engines.ray_worker import Failure, Worker, versions
from gradsift.errors import GradsiftError, SettingError
from gradsift.progress import Bar, progress
from gradsift.store.partition import Partition

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Shards that an actor has at a time: the next one waits there while one is computed."""
DEATHS = 3
"""So many actors may die of one shard, before the shard is named."""
REACHES = 5.0
"""Seconds in which an address must answer."""


@dataclass(frozen=True)
class Ray:
    """Runs stages in actors of Ray, on this machine or on a cluster; all machines must see the run directory.

    Attributes:
        address: ``host:6379`` of the cluster, ``ray://host:10001`` of its client server, or ``auto``; this machine where
            left out.
        workers: Number of actors; as many as there are CPUs, or with a model on a GPU GPUs, where left out.
        cpus_per_worker: CPUs that each actor holds, and threads that it computes with.
        gpus_per_worker: GPUs that each actor holds; 0.5 puts two actors on one. A whole one where the run's device is a GPU
            and this is left out.
        load: How an actor gets model, data set and task; those of this process travel to it where left out.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1
    gpus_per_worker: float | None = None
    load: Load | None = None

    def __post_init__(self) -> None:
        """Checks the numbers, and that Ray is installed.

        Raises:
            SettingError: A number is outside its range, or Ray is missing.
        """
        if self.workers is not None and self.workers < 1:
            raise SettingError(f"workers is a whole number from 1 on, given {self.workers}")
        if self.cpus_per_worker <= 0 or (self.gpus_per_worker or 0) < 0:
            raise SettingError("an actor holds more than 0 CPUs and no negative number of GPUs")
        if importlib.util.find_spec("ray") is None:
            raise SettingError("engine ray needs Ray: pip install gradsift[ray], on all machines")

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills all shards; those of an actor that dies are given to others."""
        with connected(self.address):
            pool = Pool(self, stage, len(partition))
            with progress("gradients", partition.samples, show=show_progress) as bar:
                try:
                    return pool.fill(bar)
                except pool.lost as error:
                    reason = str(error).strip().partition("\n")[0]
                    raise GradsiftError(
                        f"the connection to Ray was lost ({reason}): give the same command again, whole shards are kept"
                    ) from error
                finally:
                    pool.close()


class Pool:
    """Actors and the shards that are left to do.

    Args:
        settings: The engine.
        stage: The stage.
        shards: Number of shards.

    Attributes:
        lost: The errors of Ray itself, when it is no more.
        dead: Those of them that tell of one actor: it has ended, was ended for its memory, or cannot be reached.
    """

    def __init__(self, settings: Ray, stage: Stage, shards: int) -> None:
        import ray

        self._ray, self._settings = ray, settings
        self.lost = ray.exceptions.RayError
        self.dead = (
            ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError,
            ray.exceptions.WorkerCrashedError,
        )  # fmt: skip
        gpus = settings.gpus_per_worker
        if gpus is None:
            gpus = float(getattr(stage, "device", "cpu") != "cpu")
        self._holds = {"CPU": float(settings.cpus_per_worker), "GPU": float(gpus)}
        remote: Any = ray.remote(Worker)
        self._make = remote.options(
            num_cpus=self._holds["CPU"], num_gpus=self._holds["GPU"], max_restarts=0, max_task_retries=0
        )
        self._size = min(settings.workers or self._fitting(), shards)
        self._stage = ray.put(stage)
        self._left = deque(range(shards))
        self._deaths: dict[int, int] = {}
        self._pending: dict[Any, tuple[Any, int | None]] = {}  # call -> actor, shard (None: setup)

    def fill(self, bar: Bar) -> list[Share]:
        """Fills the shards.

        Args:
            bar: Counts samples.

        Returns:
            What each worker has done.

        Raises:
            GradsiftError: A worker failed; the error is the worker's, with its place.
        """
        shares: dict[str, Share] = {}
        for _ in range(self._size):
            self._start()
        while self._pending:
            (call,), _ = self._ray.wait(list(self._pending), num_returns=1)
            actor, shard = self._pending.pop(call)
            try:
                result = self._ray.get(call)
            except self.dead as error:
                self._lost(actor, shard, error)
                continue
            if isinstance(result, Failure):
                raise result.raised()
            if isinstance(result, Share):
                known = shares.get(result.worker)
                shares[result.worker] = result if known is None else known + result
                bar.advance(result.samples)
                self._give(actor, 1)
            else:
                self._give(actor, IN_FLIGHT)
        return list(shares.values())

    def close(self) -> None:
        """Ends the actors."""
        for actor in {id(actor): actor for actor, _ in self._pending.values()}.values():
            self._ray.kill(actor)
        self._pending.clear()

    def _fitting(self) -> int:
        """How many actors the cluster holds at once."""
        there = self._ray.cluster_resources()
        fitting = [int(there.get(kind, 0) // needed) for kind, needed in self._holds.items() if needed]
        if not min(fitting):
            raise SettingError(
                f"no machine of the cluster has the {self._holds['CPU']:g} CPUs and {self._holds['GPU']:g} GPUs that a "
                f"worker holds; the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs in all"
            )
        return min(fitting)

    def _start(self) -> None:
        """Starts an actor; it gets shards once it is ready."""
        actor = self._make.remote([self._stage])
        self._pending[actor.setup.remote(versions())] = (actor, None)

    def _give(self, actor: Any, count: int) -> None:
        """Gives an actor some of the shards that are left."""
        for _ in range(min(count, len(self._left))):
            shard = self._left.popleft()
            self._pending[actor.run.remote([shard])] = (actor, shard)

    def _lost(self, actor: Any, shard: int | None, error: Exception) -> None:
        """Takes back what a dead actor had, and starts another one in its place."""
        self._ray.kill(actor)  # one that lives and is not reached would hold its CPUs
        calls = [call for call, (owner, _) in self._pending.items() if owner is actor]
        waiting = [self._pending.pop(call)[1] for call in calls]
        back = sorted(one for one in (shard, *waiting) if one is not None)
        self._left.extendleft(reversed(back))
        blamed = -1 if not back else back[0]  # calls of an actor run in their order
        self._deaths[blamed] = self._deaths.get(blamed, 0) + 1
        reason = str(error).strip().partition("\n")[0]
        logger.warning("a worker has died, its shards %s are computed again: %s", back, reason)
        if self._deaths[blamed] >= DEATHS:
            doing = "while it loaded model and data" if blamed < 0 else f"at shard {blamed}"
            raise GradsiftError(
                f"{DEATHS} workers died one after the other {doing} ({reason}): the machine has likely run out of memory. "
                "Give each worker more (--cpus-per-worker), or a smaller --batch-size; the same command goes on"
            )
        self._start()


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to Ray; one that is there already is used, and stays.

    Args:
        address: As for :class:`Ray`.

    Yields:
        Nothing.

    Raises:
        SettingError: Nobody answers at the address, or another version does.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None:
        _refuse_if_unreachable(address)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingError(
            f"no connection to Ray at {address or 'this machine'}: {' '.join(str(error).split()):.300}. Start a cluster "
            "with ray start --head, of the same versions of Ray and Python on all machines"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_if_unreachable(address: str) -> None:
    """Asks whether something answers, which takes Ray itself minutes."""
    name, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # auto, or what Ray alone understands
    try:
        socket.create_connection((name.strip("[]"), int(port)), timeout=REACHES).close()
    except (OSError, OverflowError) as error:
        raise SettingError(
            f"nobody answers at {address} ({error}): give the address that ray start --head has printed"
        ) from error
