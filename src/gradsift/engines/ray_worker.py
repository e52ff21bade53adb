"""What runs inside an actor of Ray: one model, one data set, shard after shard."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import gradsift.errors
from gradsift.engines.base import Share, Stage
from gradsift.errors import GradsiftError, SettingError
from gradsift.imports import user_frames
from gradsift.store.shards import worker

Done = TypeVar("Done")
PACKAGES = ("gradsift", "torch", "numpy", "ray")


@dataclass(frozen=True)
class Failure:
    """An exception as it comes back: Ray would wrap it, and some cannot be pickled.

    Attributes:
        kind: Name of its class.
        message: What it says; errors about samples name them.
        worker: Where it was raised.
        frames: Where the user's own code failed; empty where it did not.
    """

    kind: str
    message: str
    worker: str
    frames: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """From an exception that was caught.

        Args:
            error: The exception.

        Returns:
            Plain values.
        """
        frames = "".join(traceback.format_list(user_frames(error)))
        return cls(type(error).__name__, str(error), worker(), frames)

    def raised(self) -> GradsiftError:
        """The same error here, which says where it was raised."""
        kind = getattr(gradsift.errors, self.kind, None)
        where = f"on worker {self.worker}"
        if isinstance(kind, type) and issubclass(kind, GradsiftError) and self.kind != "SampleError":
            return kind(f"{self.message} ({where})")
        return GradsiftError(f"{self.kind}: {self.message} ({where})" + (f"\n{self.frames}" if self.frames else ""))


class Worker:
    """The class of the actors.

    Args:
        stage: A list with the reference to the stage, which is read in :meth:`setup` alone, once the versions fit.
    """

    def __init__(self, stage: list[Any]) -> None:
        self._reference = stage

    def setup(self, expected: Mapping[str, str]) -> str | Failure:
        """Loads model and data.

        Args:
            expected: Versions that the driver runs with.

        Returns:
            The worker's name, or what went wrong.
        """
        return _caught(lambda: self._load(expected))

    def run(self, shards: Sequence[int]) -> Share | Failure:
        """Fills some shards.

        Args:
            shards: Their numbers.

        Returns:
            What was done, or what went wrong.
        """
        return _caught(lambda: self._stage.run(shards))

    def _load(self, expected: Mapping[str, str]) -> str:
        refuse_other_versions(expected)
        import ray

        self._stage: Stage = ray.get(self._reference[0])
        self._stage.setup()
        return worker()


def _caught(work: Callable[[], Done]) -> Done | Failure:
    """What some work gives, or what went wrong, which is raised again where the user sees it."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  # of any kind
        return Failure.of(error)


def versions() -> dict[str, str]:
    """Versions of what shards depend on, in this process."""
    return {"python": ".".join(map(str, sys.version_info[:2]))} | {name: version(name) for name in PACKAGES}


def refuse_other_versions(expected: Mapping[str, str]) -> None:
    """Refuses to work for a driver of other versions.

    Args:
        expected: Its versions.

    Raises:
        SettingError: Names what differs.
    """
    own = versions()
    differ = [name for name in expected if expected[name] != own.get(name)]
    if differ:
        words = ", ".join(f"{name} {own.get(name)} on the worker and {expected[name]} here" for name in differ)
        raise SettingError(f"a worker has other versions: {words}. Install the same on all machines")
