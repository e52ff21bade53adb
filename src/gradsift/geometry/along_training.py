"""Collapse along training, through a recorder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.geometry.advice import best_checkpoint
from gradsift.geometry.collapse import Collapse, collapse
from gradsift.geometry.layers import Pooling
from gradsift.gradients import Layers
from gradsift.store.processes import leading
from gradsift.trajectory import Recorder


class CollapseAlongTraining:
    """Measures collapse after every eval pass of a recorder.

    Args:
        recorder: The recorder of the training; its model, task and data are measured.
        layers: Modules whose collapse is measured.
        pooling: What becomes of positions; see :func:`~gradsift.geometry.collapse`.
        max_samples: A random part of this size, the same at every step.
        seed: Seed of the part.

    Attributes:
        steps: Optimizer steps at which it was measured.
        found: What was found, one for each step.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        layers: Layers = "all",
        pooling: Pooling = "mean",
        max_samples: int = 5000,
        seed: int = 0,
    ) -> None:
        self._recorder, self._layers, self._pooling = recorder, layers, pooling
        size = len(recorder.samples)
        chosen = np.random.default_rng(seed).choice(size, min(max_samples, size), replace=False)
        self._part = recorder.samples.keep(np.sort(chosen))
        self.steps: list[int] = []
        self.found: list[Collapse] = []
        recorder.listeners.append(self._measure)

    def _measure(self, step: int) -> None:
        seen = leading(
            lambda: collapse(
                self._recorder.model,
                self._part,
                task=self._recorder.task,
                layers=self._layers,
                pooling=self._pooling,
                show_progress=False,
            )
        )
        if seen is not None:
            self.steps.append(step)
            self.found.append(seen)

    @property
    def best_step(self) -> int:
        """The step at which gradients should tell best: where nearest class means agree most with predictions."""
        return self.steps[best_checkpoint(self.found)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: steps, and each layer's measures in their order."""
        names = [layer.name for layer in self.found[0].layers] if self.found else []
        measures = ("variability", "frame", "simplex", "nearest_mean", "nearest_mean_given")
        return {
            "steps": self.steps,
            "accuracy": [collapse.accuracy for collapse in self.found],
            "layers": {
                name: {m: [getattr(collapse.layers[place], m) for collapse in self.found] for m in measures}
                for place, name in enumerate(names)
            },
        }
