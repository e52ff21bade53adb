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
        if not self._told and _is_float16_on_cpu(model):
            self._told = True
            logger.warning(
                "train_fn gave a model in float16 on the CPU, where it trains several times slower than in float32 and "
                "rounding swallows small steps. Train it in float32, such as from_pretrained(...).float()"
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


def _is_float16_on_cpu(model: Any) -> bool:
    """Whether parameters on the CPU are in float16; checkpoints are often stored, and then loaded, in it."""
    return isinstance(model, nn.Module) and any(
        parameter.dtype == torch.float16 and parameter.device.type == "cpu" for parameter in model.parameters()
    )
