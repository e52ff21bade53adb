"""The driver of engine *ray*: actors, the leases that each has, and what happens when one dies."""

from __future__ import annotations

import logging
import queue
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from gradsift.engines.base import Share, Stage
from gradsift.engines.leases import Leases
from gradsift.engines.ray_worker import Failure, Worker, versions
from gradsift.errors import GradsiftError, SettingError
from gradsift.progress import Bar

if TYPE_CHECKING:
    from gradsift.engines.on_ray import Ray

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Leases that an actor has at a time: the next one waits there while one is filled."""
DEATHS = 3
"""So many actors may die of one shard, before the shard is named."""
LISTENS = 10.0
"""Seconds without an answer, after which the connection is looked at."""
LOADING = -1
"""Stands for a shard where an actor died before its first one."""


@dataclass(eq=False)
class Member:
    """An actor of the pool.

    Attributes:
        actor: Its handle.
        loaded: Whether it has loaded model and data.
        leases: What it fills, in order, and what waits there.
    """

    actor: Any
    loaded: bool = False
    leases: deque[range] = field(default_factory=deque)


class Pool:
    """Actors and the shards that are left to do.

    Answers come through callbacks: ``ray.wait`` looks at all calls that are out, which takes 0.05 s with 20,000 of them.

    Args:
        settings: The engine.
        stage: The stage.
        shards: Number of shards.
        grows: Whether machines may come to the cluster.

    Attributes:
        lost: The errors of Ray itself, when it is no more.
        dead: Those of them that tell of one actor: it has ended, was ended for its memory, or cannot be reached.
        calls: How many calls were answered.
    """

    def __init__(self, settings: Ray, stage: Stage, shards: int, *, grows: bool = True) -> None:
        import ray

        self._ray, self._settings, self.calls = ray, settings, 0
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
        self._size = min(self._fitting(grows), shards)
        self._stage = ray.put(stage)
        self._leases = Leases(shards, self._size)
        self._deaths = Counter[int]()
        self._members: dict[Member, None] = {}
        self._early: dict[Member, None] = {}  # those that hold a lease and have not loaded yet
        self._pending: dict[
            Future[Any], tuple[Member, Callable[[Member, Any], None]]
        ] = {}  # with what its answer is for
        self._answers: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._shares: dict[str, Share] = {}

    def fill(self, bar: Bar) -> list[Share]:
        """Fills the shards.

        Args:
            bar: Counts samples.

        Returns:
            What each worker has done.

        Raises:
            GradsiftError: A worker failed; the error is the worker's, with its place.
        """
        self._bar = bar
        for _ in range(self._size):
            self._start()
        for member in self._members:  # waits there while the actor loads, so that none waits for the driver then
            self._lend(member, self._leases.take())
            self._early[member] = None
        while len(self._leases) or any(member.leases for member in self._members):
            call = self._answer()
            if call not in self._pending:
                continue  # of an actor that is gone
            member, take = self._pending.pop(call)
            self.calls += 1
            try:
                result = call.result()
            except self.dead as error:
                self._lost(member, error)
                continue
            if isinstance(result, Failure):
                raise result.raised()
            take(member, result)
        return list(self._shares.values())

    def close(self) -> None:
        """Ends the actors."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._pending.clear()
        self._members.clear()
        self._early.clear()

    def _answer(self) -> Future[Any]:
        """The next call that is done; looks at the connection where none is for a while."""
        while True:
            try:
                return self._answers.get(timeout=LISTENS)
            except queue.Empty:
                self._ray.cluster_resources()

    def _fitting(self, grows: bool) -> int:
        """How many actors there are to be: as many as were asked for, or as the cluster's machines hold at once."""
        there = [machine["Resources"] for machine in self._ray.nodes() if machine["Alive"]]
        holds = {kind: needed for kind, needed in self._holds.items() if needed}
        fitting = sum(min(int(of.get(kind, 0) // needed) for kind, needed in holds.items()) for of in there)
        if fitting:
            return self._settings.workers or fitting
        most = " and ".join(f"{max((of.get(kind, 0) for of in there), default=0):g} {kind}s" for kind in self._holds)
        words = (
            f"no machine of the cluster has the {self._holds['CPU']:g} CPUs and {self._holds['GPU']:g} GPUs that a worker "
            f"holds; of each, a machine has at most {most}"
        )
        if self._settings.workers is None or not grows:
            raise SettingError(f"{words}. Give smaller --cpus-per-worker or --gpus-per-worker, or start such a machine")
        logger.warning("%s: the run waits until one comes", words)  # a cluster may start machines when it is asked
        return self._settings.workers

    def _start(self) -> None:
        """Starts an actor; it gets shards once it is ready."""
        member = Member(self._make.remote([self._stage]))
        self._members[member] = None
        self._ask(member, member.actor.setup.remote(versions()), self._has_loaded)

    def _ask(self, member: Member, call: Any, take: Callable[[Member, Any], None]) -> None:
        future: Future[Any] = call.future()
        self._pending[future] = member, take
        future.add_done_callback(self._answers.put)

    def _has_loaded(self, member: Member, _name: str) -> None:
        """An actor is ready."""
        member.loaded = True
        self._early.pop(member, None)
        self._give(member)

    def _has_filled(self, lease: range, member: Member, share: Share) -> None:
        """A lease is filled; one that was passed on meanwhile does not count."""
        if lease not in member.leases:
            self._give(member)
            return
        member.leases.remove(lease)
        if share.computed:
            self._leases.learn(share.computed, share.seconds)
        known = self._shares.get(share.worker)
        self._shares[share.worker] = share if known is None else known + share
        self._bar.advance(share.samples)
        self._give(member)

    def _give(self, member: Member) -> None:
        """Gives an actor leases, where some are left; one that would be idle takes that of an actor that still loads."""
        while len(member.leases) < IN_FLIGHT and (lease := self._leases.take(ahead=bool(member.leases))):
            self._lend(member, lease)
        if not member.leases and self._early:
            other, _ = self._early.popitem()
            self._lend(member, other.leases.popleft())

    def _lend(self, member: Member, lease: range) -> None:
        """Hands a lease to an actor."""
        member.leases.append(lease)
        self._ask(member, member.actor.run.remote(lease), partial(self._has_filled, lease))

    def _lost(self, member: Member, error: Exception) -> None:
        """Takes back what a dead actor had, and starts another one in its place."""
        self._ray.kill(member.actor)  # one that lives and is not reached would hold its CPUs
        del self._members[member]
        self._early.pop(member, None)
        self._pending = {call: asked for call, asked in self._pending.items() if asked[0] is not member}
        for lease in member.leases:
            self._leases.give_back(lease)
        reason = str(error).strip().partition("\n")[0]
        back = " and ".join(f"{lease[0]} to {lease[-1]}" for lease in member.leases) or "none"
        logger.warning("a worker has died, its shards that are not whole are computed again (%s): %s", back, reason)
        blamed = (
            ([*member.leases[0]] if member.leases else []) if member.loaded else [LOADING]
        )  # leases are run in order
        self._deaths.update(blamed)
        if blamed and max(self._deaths[shard] for shard in blamed) >= DEATHS:
            doing = f"at shard {blamed[0]}" if member.loaded else "while it loaded model and data"
            raise GradsiftError(
                f"{DEATHS} workers died one after the other {doing} ({reason}): the machine has likely run out of memory. "
                "Give each worker more (--cpus-per-worker), or a smaller --batch-size; the same command goes on"
            )
        for other in self._members:
            if other.loaded:
                self._give(other)
        self._start()
