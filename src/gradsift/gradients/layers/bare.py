"""Parameters that no layer owns: a position embedding, a class token, a scale, used in plain tensor operations.

Autograd has summed their gradient over the batch before any hook sees it. So while the model runs, such a parameter is
replaced, where an operation broadcasts it over the samples, by copies of itself, one a sample: the gradients of the
copies are the per-sample gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradsift.gradients.forms import Dense, Form

ELEMENTWISE = {
    getattr(owner, name)
    for name in ("add", "sub", "mul", "div", "true_divide", "add_", "sub_", "mul_", "div_")
    for owner in (torch, Tensor)
    if hasattr(owner, name)
} | {
    getattr(Tensor, f"__{prefix}{name}__")
    for name in ("add", "sub", "mul", "truediv")
    for prefix in ("", "r", "i")
    if hasattr(Tensor, f"__{prefix}{name}__")
}
"""Operations that broadcast their two operands."""


class BareParameters(TorchFunctionMode):
    """Replaces parameters by one copy a sample in elementwise operations and in ``expand``.

    A use of another kind is left alone; the comparison with the one-sample loop then gives the parameter to the next
    backend.

    Args:
        parameters: Full name to parameter, those to watch.
        size: Number of samples n.
        used: Called with a name for each use, while the model runs.
        take: Called with a name and the per-sample gradients, inside the backward pass.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        size: int,
        used: Callable[[str], None],
        take: Callable[[str, Form], None],
    ) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._size, self._used, self._take = size, used, take

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), keywords: Any = None
    ) -> Any:
        """Runs an operation, with copies in place of watched parameters where they are broadcast."""
        if self._names and len(arguments) >= 2:
            if function in ELEMENTWISE:
                first, second = arguments[:2]
                if isinstance(first, Tensor) and isinstance(second, Tensor):
                    rank = max(first.ndim, second.ndim)
                    arguments = (self._copies(first, rank), self._copies(second, rank), *arguments[2:])
            elif function is Tensor.expand and self._is_expanded_over_samples(arguments):
                arguments = (self._copies(arguments[0], arguments[0].ndim), *arguments[1:])
        return function(*arguments, **(keywords or {}))

    def _is_expanded_over_samples(self, arguments: tuple[Any, ...]) -> bool:
        sizes = arguments[1] if isinstance(arguments[1], tuple | list) else arguments[1:]
        return arguments[0].ndim == len(sizes) and sizes[0] == self._size

    def _copies(self, operand: Tensor, rank: int) -> Tensor:
        """One copy of a watched parameter for each sample, shaped to broadcast as it does; anything else as it is."""
        name = self._names.get(id(operand))
        if name is None or operand.ndim > rank or (operand.ndim == rank and (rank == 0 or operand.shape[0] != 1)):
            return operand
        own = operand.shape[1:] if operand.ndim == rank else operand.shape
        shape = (self._size, *(1 for _ in range(rank - 1 - len(own))), *own)
        copies = operand.detach().reshape(1, *shape[1:]).expand(shape).requires_grad_()
        self._used(name)
        full = tuple(operand.shape)
        copies.register_hook(lambda gradient: self._take(name, Dense(gradient.reshape(self._size, *full))))
        return copies
