"""The user's own training: how it is called, and what is said of the model that it gives."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from gradsift.errors import SettingError

logger = logging.getLogger(__name__)

Predict = Callable[[Any, Any], Any]
"""``predict(model, dataset) -> probabilities``, shape (n, K)."""


class TrainFunction(Protocol):
    """The user's own training, which cross-fitting and verification call."""

    def __call__(self, dataset: Any, /, *, seed: int) -> Any:
        """Trains from scratch.

        Args:
            dataset: The same kind of data set as the whole one, without the samples that are held out.
            seed: Seeds initialisation and shuffling.

        Returns:
            The model of the last epoch: a torch module, an estimator, or whatever the metric reads.
        """
        ...


class UserTraining:
    """Calls the user's training, and says once where its model is slow to train.

    Args:
        train_fn: The training.
    """

    def __init__(self, train_fn: TrainFunction) -> None:
        self._train_fn, self._told = train_fn, False

    def model(self, dataset: Any, where: str, **options: Any) -> Any:
        """Trains.

        Args:
            dataset: The data set.
            where: For the note of an error of the user's: in which step, on which samples.
            **options: Seed and callbacks.

        Returns:
            The model.

        Raises:
            SettingError: The training returned nothing.
        """
        try:
            model = self._train_fn(dataset, **options)
        except Exception as error:
            error.add_note(f"raised by train_fn, {where}")
            raise
        if model is None:
            raise SettingError("train_fn returned None, it must return the trained model")
        half = _half_on_cpu(model)
        if half is not None and not self._told:
            self._told = True
            logger.warning(
                "train_fn gave a model in %s on the CPU, where it trains many times slower than in float32. "
                "Train it in float32, such as from_pretrained(...).float()",
                half,
            )
        return model


def takes(function: Any, name: str) -> bool:
    """Whether a function takes an argument of a name.

    Args:
        function: The function, or any object that is called.
        name: The argument.

    Returns:
        True where its signature names it, or takes any keyword.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin
        return False
    return name in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _half_on_cpu(model: Any) -> str | None:
    """The half precision of parameters on the CPU; checkpoints are often stored, and then loaded, in it."""
    if not isinstance(model, nn.Module):
        return None
    halves = {
        str(parameter.dtype).removeprefix("torch.")
        for parameter in model.parameters()
        if parameter.device.type == "cpu" and parameter.dtype in (torch.float16, torch.bfloat16)
    }
    return min(halves, default=None)
