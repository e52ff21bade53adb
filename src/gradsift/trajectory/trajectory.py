"""What was recorded along training: for each checkpoint and sample a few numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

from gradsift.errors import DataError, RunDirectoryError

Mode = Literal["train", "eval"]
"""``"eval"``: passes over the whole data set at one state of the model, the reference. ``"train"``: training's own passes,
each sample at the weights, dropout and augmentation of its step."""

STATISTICS = ("loss", "residual_l1", "residual_l2", "l1", "l2", "margin")
"""Loss; norms of its gradient with respect to the model's output; norms of the chosen layers' gradient; the given label's
logit less the largest other one. What has no meaning for a task is not there."""


@dataclass(frozen=True)
class Trajectory:
    """Statistics of every sample at every checkpoint.

    Attributes:
        mode: How they were taken.
        statistics: Name to float32 array of shape (checkpoints, n); NaN where a sample was not seen.
        steps: Optimizer step at the end of each checkpoint.
        recorded_at: For ``mode="train"`` the step at which each number was taken, shape (checkpoints, n), -1 if never.
    """

    mode: Mode
    statistics: Mapping[str, np.ndarray]
    steps: Sequence[int]
    recorded_at: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of checkpoints."""
        return len(self.steps)

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(next(iter(self.statistics.values())).shape[1])

    def mean(self, name: str) -> np.ndarray:
        """A statistic averaged over the checkpoints at which a sample was seen.

        Args:
            name: One of :data:`STATISTICS`.

        Returns:
            Shape (n,), float64; the order is that of the sum along training.

        Raises:
            DataError: It was not recorded, or some samples never were.
        """
        if name not in self.statistics:
            raise DataError(f"the trajectory holds no {name!r}, only {', '.join(self.statistics)}")
        values = np.asarray(self.statistics[name], dtype=np.float64)
        seen = np.isfinite(values).sum(axis=0)
        never = np.flatnonzero(seen == 0)
        if len(never):
            raise DataError(
                f"{len(never)} samples were never recorded along training, at positions {', '.join(map(str, never[:10]))}: "
                "was the whole data set trained on, for at least one epoch?"
            )
        return np.nansum(values, axis=0) / seen

    def compared(self, reference: Trajectory) -> dict[str, dict[str, float]]:
        """How far these numbers are from those of another mode, checkpoint by checkpoint.

        Args:
            reference: The trajectory to compare with, usually of eval passes.

        Returns:
            Statistic to the median relative difference and Spearman's rank correlation, averaged over the checkpoints
            that end at the same step.
        """
        found: dict[str, dict[str, float]] = {}
        pairs = [
            (place, list(reference.steps).index(step))
            for place, step in enumerate(self.steps)
            if step in reference.steps
        ]
        for name in self.statistics.keys() & reference.statistics.keys():
            differences, correlations = [], []
            for own, other in pairs:
                a, b = self.statistics[name][own], reference.statistics[name][other]
                both = np.isfinite(a) & np.isfinite(b)
                if both.sum() > 2:
                    scale = np.maximum(np.abs(b[both]), 1e-12)
                    differences.append(float(np.median(np.abs(a[both] - b[both]) / scale)))
                    correlations.append(float(spearmanr(a[both], b[both]).statistic))
            if differences:
                found[name] = {
                    "median_relative_difference": float(np.mean(differences)),
                    "rank_correlation": float(np.mean(correlations)),
                }
        return found

    def fingerprint(self) -> str:
        """SHA-256 of all numbers, in hexadecimal."""
        digest = hashlib.sha256(f"{self.mode}{list(self.steps)}".encode())
        for name in sorted(self.statistics):
            digest.update(name.encode() + np.ascontiguousarray(self.statistics[name]).tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> Path:
        """Writes an ``.npz`` file.

        Args:
            path: Where to.

        Returns:
            The path.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"mode": self.mode, "steps": [int(step) for step in self.steps]})
        arrays: dict[str, Any] = {f"statistic_{name}": values for name, values in self.statistics.items()}
        if self.recorded_at is not None:
            arrays["recorded_at"] = self.recorded_at
        with path.open("wb") as file:
            np.savez(file, about=np.asarray(about), **arrays)
        return path

    @classmethod
    def open(cls, path: str | Path) -> Trajectory:
        """Reads what :meth:`save` has written.

        Args:
            path: The file.

        Returns:
            The trajectory.

        Raises:
            RunDirectoryError: It is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                statistics = {
                    name.removeprefix("statistic_"): archive[name]
                    for name in archive.files
                    if name.startswith("statistic_")
                }
                recorded = archive["recorded_at"] if "recorded_at" in archive.files else None
                return cls(about["mode"], statistics, about["steps"], recorded)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise RunDirectoryError(f"{path} is no trajectory that Recorder.save has written ({error})") from error
