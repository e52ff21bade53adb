"""A training that says what all of them will take, once the first one was timed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from gradsift.evidence import TrainFunction


class TimedTraining:
    """Calls a training function, and prices the plan after its first call.

    Args:
        train_fn: The training function, whose name, arguments and ``accepts`` it takes over.
        tell: Called once with the price in words.
        planned: Most trainings by stage, on all samples.
        share: Share of the samples that the first call trains on.
    """

    def __init__(
        self, train_fn: TrainFunction, tell: Callable[[str], None], planned: Mapping[str, float], share: float = 1.0
    ) -> None:
        functools.update_wrapper(self, train_fn)
        self.__qualname__ = getattr(train_fn, "__qualname__", type(train_fn).__qualname__)
        if hasattr(train_fn, "accepts"):  # of an object its class may say so
            self.accepts = train_fn.accepts
        self._train_fn, self._tell, self._planned, self._share, self._told = train_fn, tell, planned, share, False

    def __call__(self, dataset: Any, /, **options: Any) -> Any:
        """Trains.

        Args:
            dataset: The data set.
            **options: Seed and callbacks.

        Returns:
            The model.
        """
        started = time.perf_counter()
        model = self._train_fn(dataset, **options)
        if not self._told:
            self._told = True
            seconds = time.perf_counter() - started
            parts = [
                f"{stage} at most {_duration(number * seconds / self._share)}"
                for stage, number in self._planned.items()
                if number
            ]
            self._tell(f"The first training took {_duration(seconds)}: {', '.join(parts)}.")
        return model


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
