"""Whether a model's outputs are logits or probabilities already, and logits out of probabilities."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradsift.data import Samples
from gradsift.data.batch import Batch, to_model
from gradsift.errors import SettingError

logger = logging.getLogger(__name__)

Outputs = Literal["auto", "logits", "probabilities"]
"""What a model gives for classes; ``"auto"`` looks at some of its outputs."""
Link = Literal["softmax", "sigmoid"]
"""What turns a task's logits into probabilities."""

LOOKED_AT = 64
"""Samples whose outputs must all be probabilities before a model is said to give them."""
SUM_TOLERANCE = 5e-3
"""How far the probabilities of one sample may be from a sum of one; half precision rounds to 4e-3."""

_SQUASHES = {
    "softmax": "softmax",
    "special_softmax": "softmax",
    "sigmoid": "sigmoid",
    "special_expit": "sigmoid",
    "log_softmax": "log_softmax",
    "log_sigmoid": "logsigmoid",
    "logsigmoid": "logsigmoid",
}
_RESHAPING = ("squeeze", "unsqueeze", "reshape", "view", "flatten", "contiguous", "clone", "float", "double", "to")
_PICKING = ("__getitem__", "select", "narrow")

T = TypeVar("T")


def check_outputs(outputs: str) -> Outputs:
    """Checks the setting of a task.

    Args:
        outputs: What was given.

    Returns:
        The same.

    Raises:
        SettingError: It is none of the three.
    """
    if outputs not in ("auto", "logits", "probabilities"):
        raise SettingError(f"outputs is 'auto', 'logits' or 'probabilities', given {outputs!r}")
    return outputs  # type: ignore[return-value]  # it is one of the three


class LastSquash(TorchFunctionMode):
    """Remembers the last softmax or sigmoid of a forward pass, layer or function, and what it was applied to.

    Probabilities that round to 0 or 1 have lost their logits; these are still there one operation earlier.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kind: str | None = None
        self._logits: Tensor | None = None
        self._result: Any = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation of torch and looks at it."""
        result, name = function(*args, **(kwargs or {})), getattr(function, "__name__", "")
        if name in _SQUASHES and args and isinstance(args[0], Tensor):
            self._kind, self._logits, self._result = _SQUASHES[name], args[0], result
        elif args and args[0] is self._result and name in (*_RESHAPING, *_PICKING):
            known = self._logits is not None and (name in _RESHAPING or self._kind == "sigmoid")
            self._logits = function(self._logits, *args[1:], **(kwargs or {})) if known else None
            self._result = result
        return result

    def kind_of(self, output: Tensor) -> str | None:
        """The operation that an output comes out of.

        Args:
            output: The model's output.

        Returns:
            ``"softmax"``, ``"sigmoid"``, ``"log_softmax"``, ``"logsigmoid"``, or ``None`` for any other.
        """
        return self._kind if output is self._result else None

    def logits_of(self, output: Tensor, link: Link) -> Tensor:
        """The logits behind probabilities, up to a constant that a softmax does not see.

        Args:
            output: The model's output, probabilities.
            link: What turns the task's logits into probabilities.

        Returns:
            Of the shape of the output: what went into the softmax or sigmoid, where that is known; else ``log p``, or
            ``log p - log(1 - p)``.
        """
        if self._logits is not None and self.kind_of(output) == link:
            return self._logits
        limits = torch.finfo(output.dtype)
        logs = output.clamp(min=limits.tiny).log()
        return logs if link == "softmax" else logs - torch.log1p(-output.clamp(max=1 - limits.eps / 2))


def read_outputs(task: T, model: nn.Module, batches: Iterable[Batch]) -> T:
    """Finds out whether a model gives logits or probabilities, where the task leaves that open.

    Outputs are probabilities where those of all samples looked at are: each row in [0, 1] with the sum 1; for independent
    labels, numbers in [0, 1] out of a sigmoid or softmax. A warning says what was assumed, and how to say otherwise.

    Args:
        task: The task.
        model: The model.
        batches: Some samples; read until one shows logits.

    Returns:
        The task, told what the outputs are; itself where it says so already or reads no classes.
    """
    if getattr(task, "outputs_are", None) != "auto":
        return task
    reader: Any = copy.copy(task)
    reader.outputs_are = "logits"
    seen, kinds = 0, set[str | None]()
    for batch in batches:
        with torch.no_grad(), LastSquash() as squash:
            output = reader.outputs(model, to_model(batch, model))
        kinds.add(squash.kind_of(output))
        seen += len(output)
        if not _are_probabilities(output, reader.link):
            _warn_of_misfit(reader.link, kinds)
            return reader  # type: ignore[no-any-return]  # a copy of the task
    name, certain = type(task).__name__, reader.link == "softmax" or kinds <= {"softmax", "sigmoid"}
    if certain:
        reader.outputs_are = "probabilities"
        logger.warning(
            "the model's outputs are probabilities (%s samples looked at: %s): they are read as such, with the loss "
            '-log p of the given label. Should they be logits, pass task=%s(outputs="logits")',
            *(seen, "each sum is 1" if reader.link == "softmax" else "all in [0, 1], out of its last layer", name),
        )
    elif seen >= LOOKED_AT:
        logger.warning(
            "all outputs of %s samples lie between 0 and 1; they are read as logits. Should they be probabilities, pass "
            'task=%s(outputs="probabilities")',
            *(seen, name),
        )
    return reader  # type: ignore[no-any-return]  # a copy of the task


def some_batches(samples: Samples, size: int = 8) -> Iterator[Batch]:
    """Samples drawn with a fixed seed, a few at a time.

    Args:
        samples: The data set.
        size: Samples a batch.

    Yields:
        Batches of up to :data:`LOOKED_AT` samples in all.
    """
    chosen = np.random.default_rng(0).permutation(len(samples))[:LOOKED_AT]
    for start in range(0, len(chosen), size):
        yield samples.batch(np.sort(chosen[start : start + size]))


def _are_probabilities(output: Tensor, link: Link) -> bool:
    inside = bool(((output >= 0) & (output <= 1 + SUM_TOLERANCE)).all())
    if link == "sigmoid" or not inside:
        return inside
    if output.ndim < 2 or output.shape[-1] < 2:
        return False
    return bool(((output.sum(dim=-1) - 1).abs() <= SUM_TOLERANCE).all())


def _warn_of_misfit(link: Link, kinds: set[str | None]) -> None:
    """Says that the last operation of the model and the task's loss do not belong together."""
    misfits = {"sigmoid", "logsigmoid"} if link == "softmax" else {"log_softmax", "logsigmoid"}
    for kind in sorted(misfits & kinds, key=str):
        logger.warning(
            "the model's last operation is %s, and the task takes its outputs for logits, which go through %s: leave that "
            "operation out, or pass the task that the model was trained with",
            *(kind, link),
        )
