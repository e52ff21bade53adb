"""What was recorded along training: for each checkpoint and sample a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

from gradsift.errors import DataError, RunDirectoryError
from gradsift.locations import Location, as_location
from gradsift.trajectory.files import ABOUT, open_arrays, save_arrays
from gradsift.trajectory.identity import DataIdentity

Mode = Literal["train", "eval"]
"""``"eval"``: passes over the whole data set at one state of the model, the reference. ``"train"``: training's own passes,
each sample at the weights, dropout and augmentation of its step."""

STATISTICS = ("loss", "residual_l1", "residual_l2", "l1", "l2", "margin")
"""Loss; norms of its gradient with respect to the model's output; norms of the chosen layers' gradient; the given label's
logit less the largest other one. What has no meaning for a task is not there."""

RECORDED_AT, PREDICTIONS = "recorded_at", "predictions"


@dataclass(frozen=True)
class Trajectory:
    """Statistics of every sample at every checkpoint.

    Attributes:
        mode: How they were taken.
        statistics: Name to float32 array of shape (checkpoints, n); NaN where a sample was not seen.
        steps: Optimizer step at the end of each checkpoint.
        recorded_at: For ``mode="train"`` the step at which each number was taken, shape (checkpoints, n), -1 if never.
        predictions: Predicted probabilities of classes, averaged over the checkpoints, shape (n, K), where there are
            classes.
        data: The data set that it was recorded on, where that is known.
    """

    mode: Mode
    statistics: Mapping[str, np.ndarray]
    steps: Sequence[int]
    recorded_at: np.ndarray | None = None
    predictions: np.ndarray | None = None
    data: DataIdentity | None = None

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
            that end at the same step; statistics that both hold.
        """
        compared: dict[str, dict[str, float]] = {}
        own_steps, other_steps = list(self.steps), list(reference.steps)
        pairs = [(place, other_steps.index(step)) for place, step in enumerate(own_steps) if step in other_steps]
        if own_steps == other_steps:  # also where the loop counts no steps, so that all are zero
            pairs = [(place, place) for place in range(len(own_steps))]
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
                compared[name] = {
                    "median_relative_difference": float(np.mean(differences)),
                    "rank_correlation": float(np.mean(correlations)),
                }
        return compared

    def describe(self) -> dict[str, Any]:
        """How it was recorded, in plain values for the manifest."""
        return {
            "mode": self.mode,
            "steps": [int(step) for step in self.steps],
            "statistics": sorted(self.statistics),
            "data": self.data.to_dict() if self.data is not None else None,
        }

    def fingerprint(self) -> str:
        """SHA-256 of all numbers, in hexadecimal."""
        digest = hashlib.sha256(f"{self.mode}{list(self.steps)}".encode())
        for name in sorted(self.statistics):
            digest.update(name.encode() + np.ascontiguousarray(self.statistics[name]).tobytes())
        if self.predictions is not None:
            digest.update(np.ascontiguousarray(self.predictions).tobytes())
        return digest.hexdigest()

    def save(self, path: str | Location) -> Location:
        """Writes a folder of plain ``.npy`` arrays, one a statistic, with ``trajectory.json`` beside them.

        A save that is there is replaced in one step: whenever the process ends, one of the two is whole.

        Args:
            path: A new folder, or one that holds a trajectory already.

        Returns:
            The path.

        Raises:
            RunDirectoryError: Something else lies there, or it cannot be written.
        """
        path = as_location(path)
        if path.exists() and not (path / ABOUT).is_file():
            raise RunDirectoryError(f"{path} exists and holds no trajectory: choose another place")
        arrays = dict(self.statistics)
        arrays |= {} if self.recorded_at is None else {RECORDED_AT: self.recorded_at}
        arrays |= {} if self.predictions is None else {PREDICTIONS: self.predictions}
        save_arrays(path, self.describe(), arrays)
        return path

    @classmethod
    def open(cls, path: str | Location) -> Trajectory:
        """Reads what :meth:`save` has written; arrays are memory-mapped.

        Args:
            path: The folder.

        Returns:
            The trajectory.

        Raises:
            RunDirectoryError: It is no such folder.
        """
        path = as_location(path)
        try:
            about, arrays = open_arrays(path)
            statistics = {name: arrays[name] for name in about["statistics"]}
            recorded, predictions = arrays.get(RECORDED_AT), arrays.get(PREDICTIONS)
            data = DataIdentity.from_dict(about.get("data"))
            return cls(about["mode"], statistics, about["steps"], recorded, predictions, data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{path} is no trajectory that Recorder.save has written ({error})") from error
