"""What is settled before the first shard, as plain values: what shards depend on, and all that completes a run later.

Whoever completes a run needs neither the model nor the data set that it is of.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

from torch import nn

from gradsift.data import fingerprint_samples
from gradsift.data.fingerprint import glimpse
from gradsift.gradients import device_of
from gradsift.gradients.probe import Probe
from gradsift.gradients.projection import VERSION
from gradsift.preparation import Preparation
from gradsift.settings import AuditSettings
from gradsift.store import fingerprint_model
from gradsift.store.partition import Partition
from gradsift.tasks import Task, kind_of
from gradsift.trajectory import Trajectory

logger = logging.getLogger(__name__)

SHARDS_DO_NOT_DEPEND_ON = ("contamination", "hold_classes", "cross_fit_heads", "batch_size", "findings")
"""Settings that may change before a run is taken up again."""


@dataclass(frozen=True)
class Settled:
    """What is known of an audit before its first shard.

    Attributes:
        samples: Number of samples.
        shard_size: Samples a shard.
        kind: What labels are; ``None`` where there are none.
        class_names: Names of the classes, where they are known.
        detectors: Names of the detectors that get a column.
        ranking: Name of the one that ranks.
        cross_fit_heads: Whether heads are cross-fitted on the features.
        trajectory: Fingerprint of what was recorded along training.
        device: What gradients are computed on, in words.
        details: What the manifest says of model, data and checks.
    """

    samples: int
    shard_size: int
    kind: Any
    class_names: list[str] | None
    detectors: list[str]
    ranking: str
    cross_fit_heads: bool
    trajectory: str | None
    device: str
    details: dict[str, Any]

    @classmethod
    def of(cls, identity: Mapping[str, Any], ready: Preparation, measured: Probe, device: str) -> Settled:
        """What a preparation settles.

        Args:
            identity: What :func:`identity_of` gave.
            ready: What was prepared.
            measured: What the checks before the audit measured.
            device: What gradients are computed on, in words.

        Returns:
            Plain values.
        """
        return cls(
            samples=len(ready.samples),
            shard_size=ready.shard_size,
            kind=kind_of(ready.task),
            class_names=None if ready.class_names is None else [str(name) for name in ready.class_names],
            detectors=list(ready.detectors),
            ranking=ready.detector,
            cross_fit_heads=ready.cross_fit_heads,
            trajectory=identity["trajectory"],
            device=device,
            details=details_of(identity, ready, measured),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settled:
        """From what :meth:`to_dict` gave.

        Args:
            values: Names to values; others are ignored.

        Returns:
            The same.
        """
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file of JSON."""
        return asdict(self)

    @property
    def partition(self) -> Partition:
        """The shards."""
        return Partition(self.samples, self.shard_size)


def beside_data(
    model: nn.Module, ready: Preparation, trajectory: Trajectory | None, settings: AuditSettings
) -> dict[str, Any]:
    """All that decides what shards hold, but the data.

    Args:
        model: The model.
        ready: What was prepared.
        trajectory: What was recorded along training.
        settings: The settings.

    Returns:
        Plain values.
    """
    return {
        "model": fingerprint_model(model),
        "task": _describe(ready.task),
        "encoding": getattr(ready.samples.source, "encoding", None),
        "reductions": repr(ready.gradients.reductions),
        "projection version": VERSION,
        "parameters": list(ready.gradients.parameters),
        "device": device_of(model).type,
        "trajectory": trajectory.fingerprint() if trajectory is not None else None,
        "trajectory described": trajectory.describe() if trajectory is not None else None,
        "settings": of_shards(settings),
    }


def identity_of(ready: Preparation, beside: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what shards hold.

    Args:
        ready: What was prepared.
        beside: What :func:`beside_data` gave.

    Returns:
        Plain values.
    """
    data, covered = ready.fingerprint or fingerprint_samples(ready.samples)
    logger.info("the fingerprint of the data covers %s", covered)
    return {"data": data, "data covers": covered, **beside}


def signs_of(ready: Preparation, beside: Mapping[str, Any]) -> dict[str, Any]:
    """The same, but a glimpse of the data: by it a worker tells in a moment whether it has come to the right run."""
    return {"data": glimpse(ready.samples), **beside}


def of_shards(settings: AuditSettings) -> dict[str, Any]:
    """Settings that decide what shards hold.

    Args:
        settings: All settings.

    Returns:
        Names to plain values.
    """
    return {name: value for name, value in settings.to_dict().items() if name not in SHARDS_DO_NOT_DEPEND_ON}


def details_of(identity: Mapping[str, Any], ready: Preparation, measured: Probe) -> dict[str, Any]:
    """What the manifest says of an audit of a model.

    Args:
        identity: What :func:`identity_of` gave.
        ready: What was prepared.
        measured: What the checks before the audit measured.

    Returns:
        Plain values.
    """
    return {
        **about(identity, identity["data covers"]),
        "model_fingerprint": identity["model"],
        "encoding": identity["encoding"],
        "coverage": str(ready.gradients.coverage),
        "parameters": identity["parameters"],
        "probe": {"alone_versus_batch": measured.alone_versus_batch, "precision_noise": measured.precision_noise},
        "precision": identity["settings"]["precision"],
        "projection_version": VERSION,
        "trajectory": identity["trajectory described"],
    }


def about(identity: Mapping[str, Any], covered: str) -> dict[str, Any]:
    """What the manifest says of every audit.

    Args:
        identity: ``data`` and ``task``.
        covered: What the fingerprint of the data covers, in words.

    Returns:
        Plain values.
    """
    return {
        "data_fingerprint": identity["data"],
        "data_fingerprint_covers": covered,
        "task": identity["task"],
        "versions": {name: version(name) for name in ("gradsift", "torch", "numpy", "scikit-learn", "pyarrow")},
    }


def _describe(task: Task) -> str:
    """A task in words, with its settings; without addresses, which differ between two processes."""
    names = list(getattr(task, "__dict__", {})) or [n for c in type(task).__mro__ for n in getattr(c, "__slots__", ())]
    values = {name: getattr(task, name, None) for name in names}
    values = {
        name: fingerprint_model(value) if isinstance(value, nn.Module) else value for name, value in values.items()
    }
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(task).__module__}.{type(task).__qualname__} {values}")
