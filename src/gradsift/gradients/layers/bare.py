"""Parameters that no layer owns: a position embedding, a class token, a scale, used in plain tensor operations.

Autograd has summed their gradient over the batch before any hook sees it. So while the model runs, such a parameter is
replaced, where an operation broadcasts it over the samples, by copies of itself, one a sample: the gradients of the
copies are the per-sample gradients. What is made of a parameter alone before that, such as its exponential or its quotient
by a norm, is followed, and the gradients of its copies are pulled back to the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap
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


class _Made(NamedTuple):
    """A tensor that was made of one parameter alone: by which function of it, and the parameter's value."""

    tensor: Tensor
    name: str
    value: Tensor
    function: Callable[[Tensor], Tensor] | None = None  # None where it is the parameter itself


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
        self._made = {
            id(parameter): _Made(parameter, name, parameter.detach()) for name, parameter in parameters.items()
        }
        self._size, self._used, self._take = size, used, take

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), keywords: Any = None
    ) -> Any:
        """Runs an operation, with copies in place of watched parameters where they are broadcast."""
        if not torch.is_grad_enabled():  # what is made here is a constant
            return function(*arguments, **(keywords or {}))
        before = arguments
        if self._made and len(arguments) >= 2:
            if function in ELEMENTWISE:
                first, second = arguments[:2]
                if isinstance(first, Tensor) and isinstance(second, Tensor):
                    rank = max(first.ndim, second.ndim)
                    arguments = (self._copies(first, rank), self._copies(second, rank), *arguments[2:])
            elif function is Tensor.expand and self._is_expanded_over_samples(arguments):
                arguments = (self._copies(arguments[0], arguments[0].ndim), *arguments[1:])
        result = function(*arguments, **(keywords or {}))
        if self._made and all(now is then for now, then in zip(arguments, before, strict=True)):
            self._follow(function, arguments, keywords or {}, result)
        return result

    def _follow(self, function: Callable[..., Any], arguments: Any, keywords: Mapping[str, Any], result: Any) -> None:
        """Notes what was made of one watched tensor alone, or with others that are no function of the samples."""
        tensors = [(place, value) for place, value in enumerate(arguments) if isinstance(value, Tensor)]
        watched = [(place, self._made[id(value)]) for place, value in tensors if id(value) in self._made]
        if len(watched) != 1 or not isinstance(result, Tensor):
            return
        ((place, source),) = watched
        if id(result) in self._made:  # changed in place: it is the same function of the parameter no longer
            if source.function is not None:
                del self._made[id(result)]
            return
        others = [value for where, value in tensors if where != place]
        if others and (result.shape != source.tensor.shape or any(value.requires_grad for value in others)):
            return

        def made(value: Tensor) -> Tensor:
            inner = value if source.function is None else source.function(value)
            found: Tensor = function(*arguments[:place], inner, *arguments[place + 1 :], **keywords)
            return found

        self._made[id(result)] = _Made(result, source.name, source.value, made)

    def _is_expanded_over_samples(self, arguments: tuple[Any, ...]) -> bool:
        sizes = arguments[1] if isinstance(arguments[1], tuple | list) else arguments[1:]
        return arguments[0].ndim == len(sizes) and sizes[0] == self._size

    def _copies(self, operand: Tensor, rank: int) -> Tensor:
        """One copy of a watched parameter for each sample, shaped to broadcast as it does; anything else as it is."""
        source = self._made.get(id(operand))
        if source is None or operand.ndim > rank or (operand.ndim == rank and (rank == 0 or operand.shape[0] != 1)):
            return operand
        own = operand.shape[1:] if operand.ndim == rank else operand.shape
        shape = (self._size, *(1 for _ in range(rank - 1 - len(own))), *own)
        copies = operand.detach().reshape(1, *shape[1:]).expand(shape).requires_grad_()
        self._used(source.name)
        full = tuple(operand.shape)
        copies.register_hook(lambda gradient: self._arrived(source, gradient.reshape(self._size, *full)))
        return copies

    def _arrived(self, source: _Made, gradient: Tensor) -> None:
        """Takes the gradients of the copies of a tensor, shape (n, ...), as gradients of its parameter."""
        if source.function is not None:
            with torch.enable_grad():
                pull = vjp(source.function, source.value)[1]
                gradient = vmap(lambda one: pull(one)[0])(gradient)
        self._take(source.name, Dense(gradient.reshape(self._size, *source.value.shape)))
