"""Engine *ray*: a pool of actors, each of which loads the model once and fills one lease of shards after the other."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradsift.engines.base import Load, Share, Stage
from gradsift.engines.ray_pool import Pool
from gradsift.errors import GradsiftError, SettingError
from gradsift.progress import progress
from gradsift.store.partition import Partition

logger = logging.getLogger(__name__)

REACHES = 5.0
"""Seconds in which an address must answer."""
SETTINGS = b"\x04"
"""Type of the first frame of both sides in HTTP/2, which Ray speaks (RFC 9113, section 3.4)."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)
"""What a client begins with."""


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
            raise SettingError(f"workers is a whole number, 1 or more; given {self.workers}")
        if self.cpus_per_worker <= 0 or (self.gpus_per_worker or 0) < 0:
            raise SettingError("an actor holds more than 0 CPUs and no negative number of GPUs")
        if importlib.util.find_spec("ray") is None:
            raise SettingError("engine ray needs Ray: pip install gradsift[ray], on all machines")

    def refuse_unreachable(self) -> None:
        """Asks whether something answers at the address, before work is wasted; Ray itself takes minutes.

        Raises:
            SettingError: Nobody answers.
        """
        name, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if not port.isdigit():
            return  # this machine, auto, or what Ray alone understands
        try:
            with socket.create_connection((name.strip("[]"), int(port)), timeout=REACHES) as connection:
                connection.sendall(GREETING)
                answer = connection.recv(9)
        except (OSError, OverflowError) as error:
            raise SettingError(
                f"nobody answers at {self.address} ({error}): give the address that ray start --head has printed"
            ) from error
        if answer[3:4] != SETTINGS and not os.environ.get("RAY_USE_TLS"):
            raise SettingError(
                f"what answers at {self.address} is not Ray, or its dashboard: give the address that ray start --head has "
                "printed, whose port is 6379 unless you chose another"
            )

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills all shards; those of an actor that dies are given to others."""
        self.refuse_unreachable()
        with connected(self.address) as started:
            pool = Pool(self, stage, len(partition), grows=not started)
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


@contextmanager
def connected(address: str | None) -> Iterator[bool]:
    """A connection to Ray; one that is there already is used, and stays.

    Args:
        address: As for :class:`Ray`.

    Yields:
        Whether Ray was started for this alone, on this machine.

    Raises:
        SettingError: Ray does not answer at the address, or another version does.
    """
    import ray

    if ray.is_initialized():
        yield False
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            ray.init("local", include_dashboard=False, **quiet)  # another one may run on this machine
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingError(
            f"no connection to Ray at {address or 'this machine'}: {' '.join(str(error).split()):.300}. Start a cluster "
            "with ray start --head, of the same versions of Ray and Python on all machines"
        ) from error
    try:
        yield address is None
    finally:
        ray.shutdown()
