"""The settings of an audit: each field is an argument of the API, a line of ``config.yaml`` and a command-line option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from gradsift.errors import SettingError
from gradsift.fields import check_settings, setting
from gradsift.gradients import Layers, Precision
from gradsift.ranges import share, whole

GRADIENTS, SCORES = "Gradients", "Scores and flags"
"""Themes of the settings."""


@dataclass(frozen=True)
class AuditSettings:
    """What an audit is asked to do; the help of each field says what it is."""

    layers: Layers = setting(
        "Gradients of which parameters: `last` (the weight of the last linear layer), `all`, or glob patterns such as "
        "`head.*,encoder.3.*`.",
        "last",
        panel=GRADIENTS,
    )
    detector: str | None = setting(
        "The detector whose score ranks and flags: posterior (default for classes), l2, isolation_forest, loss, ... or "
        "module:Class.",
        None,
        panel=SCORES,
    )
    detectors: tuple[str, ...] | None = setting(
        "All detectors that get a column of scores. Default: the usual ones for the task.", None, panel=SCORES
    )
    contamination: float | Literal["auto"] = setting(
        "Share of the samples to flag, in (0, 0.5], or auto.",
        "auto",
        panel=SCORES,
        number=share(0.5, "the share of samples to flag, in (0, 0.5]", advice="(for 5 % write 0.05)"),
    )
    hold_classes: bool = setting("Every given class loses the same share of its samples.", False, panel=SCORES)
    projection: int = setting(
        "Dimensions of the random projection, where gradients are not kept in factors.",
        512,
        panel=GRADIENTS,
        number=whole(1, 2**20, "at least 1 dimension and at most 1048576, a whole number"),
    )
    projection_kind: Literal["kronecker", "sparse", "gaussian"] = setting(
        "The random projection.", "kronecker", panel=GRADIENTS
    )
    projection_per_layer: bool = setting(
        "Keep a projection of each layer, instead of one of all layers.", False, panel=GRADIENTS, flags=["--per-layer"]
    )
    batch_size: int | Literal["auto"] = setting(
        "Samples a batch; auto finds it, and halves it when memory runs out.", "auto", panel=GRADIENTS, number=whole(1)
    )
    cross_fit_heads: Literal["auto", "always", "never"] = setting(
        "Predict with heads that are cross-fitted on the last layer's features. auto does so where the body is frozen.",
        "auto",
        panel=SCORES,
    )
    shard_size: int = setting(
        "Samples a shard; a killed run loses one shard at most. Fewer where a shard would take more than 128 MiB.",
        2048,
        panel=GRADIENTS,
        number=whole(1),
    )
    precision: Precision = setting("Precision of the passes.", "float32", panel=GRADIENTS)
    seed: int = setting("Seed of projections and detectors.", 0, panel=SCORES, number=whole(0, 2**32 - 1))
    findings: bool = setting(
        "Also look for near duplicates, outliers, broken inputs and rare classes.",
        True,
        panel=SCORES,
    )

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: A setting is outside its range.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # YAML and JSON know no numpy
                object.__setattr__(self, field.name, value.item())
        check_settings(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AuditSettings:
        """Settings from ``config.yaml``.

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
