"""The mean loss whose curvature is asked for: a model, its task, some parameters, and the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.gradients import Precision
from gradsift.gradients.batches import each_batch
from gradsift.tasks import Task


@dataclass(frozen=True)
class MeanLoss:
    """The mean loss of n samples as a function of p weights, ``L(theta) = 1/n sum_i l_i(theta)``, without weight decay.

    Attributes:
        model: The model, in eval mode.
        task: What a sample's loss is.
        parameters: Full name to parameter: the weights theta; all others are constants.
        batches: The samples, on the model's device; they are gone through anew for every product.
        count: Number of samples n.
        precision: Precision of the passes.
    """

    model: nn.Module
    task: Task
    parameters: Mapping[str, nn.Parameter]
    batches: Iterable[Batch]
    count: int
    precision: Precision = "float32"


class Batches:
    """Some samples of a data set in batches on the model's device, as often as they are asked for.

    Args:
        samples: The data set.
        positions: Which of its samples.
        batch_size: Samples a batch.
        model: The model, for its device.
    """

    def __init__(self, samples: Samples, positions: np.ndarray, batch_size: int, model: nn.Module) -> None:
        self._samples, self._positions, self._batch_size, self._model = samples, positions, batch_size, model

    def __iter__(self) -> Iterator[Batch]:
        """Gives one batch after the other."""
        batches = each_batch(
            lambda _, batch: batch,
            self._samples.batch,
            self._positions,
            self._batch_size,
            model=self._model,
            finite=False,
        )
        return (batch for _, batch in batches)


def wide(dtype: torch.dtype) -> torch.dtype:
    """Precision in which vectors of parameters are held.

    Args:
        dtype: The parameters' own.

    Returns:
        The same, float32 at least.
    """
    return dtype if dtype == torch.float64 else torch.float32
