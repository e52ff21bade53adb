"""The settings of an audit: one field for each flag of the command line and each line of ``config.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from gradsift.errors import SettingError
from gradsift.gradients import Layers, Precision


@dataclass(frozen=True)
class AuditSettings:
    """What an audit is asked to do.

    Attributes:
        layers: Whose gradients: ``"last"``, ``"all"``, or glob patterns.
        detector: The detector whose score ranks and flags; ``None`` chooses: see docs/decisions/0009-defaults.md.
        detectors: All detectors that get a column; ``None`` chooses the usual ones for the task.
        contamination: Share of samples to flag, in (0, 0.5], or ``"auto"``.
        hold_classes: Whether every given class loses the same share of its samples.
        projection: Dimensions of the random projection, where gradients are not kept in factors.
        projection_kind: ``"kronecker"``, ``"sparse"`` or ``"gaussian"``.
        projection_per_layer: Whether ``projection`` dimensions are kept of every layer, instead of their sum.
        batch_size: Samples a batch, or ``"auto"``.
        shard_size: Samples a shard; fewer where they would take more than 128 MiB.
        precision: Precision of the passes.
        seed: Seed of projections and detectors.
    """

    layers: Layers = "last"
    detector: str | None = None
    detectors: tuple[str, ...] | None = None
    contamination: float | Literal["auto"] = "auto"
    hold_classes: bool = False
    projection: int = 512
    projection_kind: Literal["kronecker", "sparse", "gaussian"] = "kronecker"
    projection_per_layer: bool = False
    batch_size: int | Literal["auto"] = "auto"
    shard_size: int = 2048
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: A setting is outside its range.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # YAML and JSON know no numpy
                object.__setattr__(self, field.name, value.item())
        share = self.contamination
        if share != "auto" and not (isinstance(share, Real | np.floating) and 0 < share <= 0.5):
            raise SettingError(
                f"contamination is the share of samples to flag, in (0, 0.5], or 'auto'; given {share!r} "
                "(for 5 % write 0.05)"
            )
        if self.batch_size != "auto" and not (isinstance(self.batch_size, Integral) and self.batch_size >= 1):
            raise SettingError(f"batch_size is a whole number from 1, or 'auto'; given {self.batch_size!r}")
        if not (isinstance(self.shard_size, Integral) and self.shard_size >= 1):
            raise SettingError(f"shard_size is a whole number from 1; given {self.shard_size!r}")
        if self.precision not in ("float32", "bfloat16", "float16"):
            raise SettingError(f"precision is float32, bfloat16 or float16; given {self.precision!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AuditSettings:
        """Settings from ``config.yaml`` or flags.

        Args:
            values: Field names to values; lists become tuples.

        Returns:
            The settings.

        Raises:
            SettingError: A name is unknown.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingError(f"unknown settings {', '.join(unknown)}: the known ones are {', '.join(sorted(known))}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for ``config.yaml``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for k, v in values.items()}
