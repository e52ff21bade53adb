"""Which modules geometry looks at, and what it sees of them: one feature vector a sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch
from gradsift.errors import ModelError, SettingError
from gradsift.gradients import Layers
from gradsift.gradients.layers import find_rule
from gradsift.gradients.selection import last_layer
from gradsift.tasks import Task

Pooling = Literal["mean", "flatten"]
"""What becomes of positions of an image or a sequence: their mean, or all of them side by side."""


def select_modules(model: nn.Module, task: Task, layers: Layers, example: Batch) -> dict[str, nn.Module]:
    """The modules that a selection names, those that ran, in the order in which they ran.

    Args:
        model: The model.
        task: The task.
        layers: ``"all"``: every linear and convolutional layer; ``"last"``: the linear layer that runs last; or glob
            patterns over names of modules of any kind, such as ``"encoder.layer.*"``.
        example: A batch, to see what runs.

    Returns:
        Name to module.

    Raises:
        SettingError: None matches.
    """
    if layers == "last":
        module = last_layer(model, task, example)
        return {name: candidate for name, candidate in model.named_modules() if candidate is module}
    patterns = [layers] if isinstance(layers, str) else list(layers)
    known = {
        name: module
        for name, module in model.named_modules()
        if (_is_matrix(module) if layers == "all" else any(fnmatchcase(name, pattern) for pattern in patterns))
    }
    ran: dict[str, nn.Module] = {}
    with watching(known, lambda name, _inputs: ran.setdefault(name, known[name])), torch.no_grad():
        task.outputs(model, example)
    if not ran:
        names = [name for name, module in model.named_modules() if _is_matrix(module)]
        raise SettingError(f"no module that runs matches layers={layers!r}; layers are: {', '.join(names[:40])}")
    return ran


def _is_matrix(module: nn.Module) -> bool:
    """Whether the module is a linear or convolutional layer, of torch or of GPT-2."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return isinstance(module, kinds) or (type(module).__name__ == "Conv1D" and find_rule(module) is not None)


@contextmanager
def watching(modules: dict[str, nn.Module], see: Any) -> Iterator[None]:
    """Shows each module's input when it runs.

    Args:
        modules: Name to module.
        see: Called with the name and the first input, detached or not as it is.

    Yields:
        Nothing.
    """

    def hook_of(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            see(name, inputs[0] if inputs else next(iter(keywords.values())))

        return hook

    handles = [module.register_forward_pre_hook(hook_of(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def features(hidden: Tensor, module: nn.Module, pooling: Pooling, batch: Batch, name: str) -> Tensor:
    """One feature vector a sample from a module's input.

    Args:
        hidden: Shape (n, D), (n, T, D) of sequences, or (n, C, ...) of convolutions.
        module: Its module; convolutions have their channels second.
        pooling: What becomes of positions.
        batch: The batch; ``attention_mask`` says which tokens count.
        name: The module's name, for the message.

    Returns:
        Shape (n, D).

    Raises:
        ModelError: The input has not one row a sample.
    """
    size = next((len(tensor) for tensor in _tensors(batch)), 0)
    if hidden.ndim < 2 or len(hidden) != size:
        raise ModelError(
            f"the input of {name} has shape {tuple(hidden.shape)} for {size} samples: name layers that see samples one by "
            "one"
        )
    if hidden.ndim == 2 or pooling == "flatten":
        return hidden.flatten(1)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return hidden.flatten(2).mean(dim=2)
    mask = batch.get("attention_mask") if isinstance(batch, dict) else None
    if isinstance(mask, Tensor) and mask.shape == hidden.shape[:2]:
        weights = mask.to(hidden.dtype)[..., None]
        return (hidden * weights).flatten(1, -2).sum(dim=1) / weights.sum(dim=1)
    return hidden.flatten(1, -2).mean(dim=1)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, dict):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, list | tuple):
        for part in batch:
            yield from _tensors(part)
