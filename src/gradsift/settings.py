"""The settings of an audit: one field for each flag of the command line and each line of ``config.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from gradsift.errors import SettingError
from gradsift.gradients import Layers, Precision
from gradsift.ranges import NOTHING, SWITCH, TEXT, TEXTS, check_fields, one_of, share, whole

AUTO = one_of("auto")
RANGES = {
    "layers": TEXT | TEXTS,
    "detector": TEXT | NOTHING,
    "detectors": TEXTS | NOTHING,
    "contamination": share(0.5, "the share of samples to flag, in (0, 0.5]", advice="(for 5 % write 0.05)") | AUTO,
    "hold_classes": SWITCH,
    "projection": whole(1, 2**20, "at least 1 dimension and at most 1048576, a whole number"),
    "projection_kind": one_of("kronecker", "sparse", "gaussian"),
    "projection_per_layer": SWITCH,
    "batch_size": whole(1) | AUTO,
    "shard_size": whole(1),
    "precision": one_of("float32", "bfloat16", "float16"),
    "seed": whole(0, 2**32 - 1),
}
"""What each field may hold."""


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
        check_fields(self, RANGES)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AuditSettings:
        """Settings from ``config.yaml`` or flags.

        Args:
            values: Field names to values; lists become tuples.

        Returns:
            The settings.

        Raises:
            SettingError: A name is unknown, or a value outside its range.
        """
        if not isinstance(values, dict):
            raise SettingError(f"the settings are a {type(values).__name__}, not names with values")
        known = {field.name for field in fields(cls)}
        unknown = sorted(map(str, set(values) - known))
        if unknown:
            raise SettingError(
                f"unknown settings {', '.join(unknown[:10])}: the known ones are {', '.join(sorted(known))}"
            )
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for ``config.yaml``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for k, v in values.items()}
