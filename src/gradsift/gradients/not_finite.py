"""Statistics that are NaN or infinite: of which samples, and in which layer that begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from gradsift.data.batch import rows_not_finite
from gradsift.errors import DataError


def refuse_not_finite(
    stored: Mapping[str, Tensor], positions: np.ndarray, begins: Callable[[], str] = lambda: ""
) -> None:
    """Refuses statistics with NaN or infinite numbers.

    Args:
        stored: Name to values, first axis = samples.
        positions: Position of every row.
        begins: Says where that begins, as :func:`where_it_begins`; called where something is not finite.

    Raises:
        DataError: Some are not finite; names the samples, and the layer where it is known.
    """
    for name, values in stored.items():
        broken = [int(positions[row]) for row in rows_not_finite(values)]
        if broken:
            where = begins()
            raise DataError(
                f"{name} is NaN or infinite for the samples at positions {', '.join(map(str, broken[:10]))}"
                + (f": it begins in {where}. Look" if where else ": look")
                + " at these samples, and at the model's weights; in half precision, try float32"
            )


def where_it_begins(model: nn.Module, losses: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter]) -> str:
    """Runs one more pass, forward and back, that looks at the output of every layer and at its gradient.

    Args:
        model: The model.
        losses: Runs the pass; gives a loss a sample.
        parameters: The parameters whose gradients are wanted.

    Returns:
        Words such as ``the output of layer 'conv1' (Conv2d)``; empty where this pass gives finite numbers.
    """
    watch = _Watch()
    handles = [
        module.register_forward_hook(partial(watch.looked_at, f"layer {name!r} ({type(module).__name__})"))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        with torch.enable_grad():
            total = losses().sum()
            trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
            if not watch.places and total.requires_grad and trained:
                watch.note("the losses", [total])
                found = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
                for name, gradient in zip(trained, found, strict=True):
                    watch.note(f"the gradient of parameter {name!r}", [gradient])
    finally:
        for handle in handles:
            handle.remove()
    return watch.places[0] if watch.places else ""


class _Watch:
    """Notes where numbers are not finite, in the order in which they are computed."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._behind = "the loss"

    def note(self, place: str, values: Iterable[Any]) -> bool:
        """Notes a place whose numbers are not finite; gives whether they are finite."""
        finite = all(bool(torch.isfinite(value).all()) for value in values if isinstance(value, Tensor))
        if not finite:
            self.places.append(place)
        return finite

    def looked_at(self, layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """A layer has given its output."""
        leaves = [leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        if self.note(f"the output of {layer}", leaves):
            for leaf in leaves:
                if leaf.requires_grad:
                    leaf.register_hook(partial(self._came_back, layer))

    def _came_back(self, layer: str, gradient: Tensor) -> None:
        """The gradient has come back to the output of a layer."""
        if self.note(f"the gradient, on its way back from {self._behind} to {layer}", [gradient]):
            self._behind = layer
