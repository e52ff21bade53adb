"""Layers that call no other layers for their linear maps, such as multi-head attention and recurrent layers.

Hooks see layers alone. For the time of a pass such a layer runs an equal forward of which every linear map is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradsift.gradients.forms import Dense, Factored, Form, at_least_float32
from gradsift.gradients.layers import find_forward
from gradsift.gradients.layers.linear_map import NotRewritableError, RewrittenForward
from gradsift.gradients.uses import RuleMismatchError, begin_graph

WHOLE = slice(None)


class Rewritable(NamedTuple):
    """How a layer is run instead, and the full names of the wanted parameters in it."""

    forward: RewrittenForward
    names: frozenset[str]


def rewritable(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[nn.Module, Rewritable]:
    """Layers to run by another forward, and what each owns.

    Args:
        model: The model.
        parameters: Full name to parameter, what is wanted.

    Returns:
        The layers, without those that hold no wanted parameter.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    found = {}
    for module in model.modules():
        forward, own = find_forward(module), frozenset(names[id(p)] for p in module.parameters() if id(p) in names)
        if forward is not None and own:
            found[module] = Rewritable(forward, own)
    return found


class Rewritten:
    """Gives layers another forward on entering, and their own one back on leaving.

    Args:
        layers: From :func:`rewritable`.
        parameters: Full name to parameter, what is wanted.
        size: Number of samples n.
        used: Called with a name for each use, while the model runs.
        take: Called with a name and the per-sample gradients, inside the backward pass.
    """

    def __init__(
        self,
        layers: Mapping[nn.Module, Rewritable],
        parameters: Mapping[str, nn.Parameter],
        size: int,
        used: Callable[[str], None],
        take: Callable[[str, Form], None],
    ) -> None:
        self._layers, self._size, self._used, self._take = layers, size, used, take
        self._names = {id(parameter): name for name, parameter in parameters.items()}

    def __enter__(self) -> None:
        # The fast path of transformer encoders calls no layers at all, where no parameter requires a gradient.
        self._fast_path = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        for module, (forward, _) in self._layers.items():
            module.forward = partial(self._run, module, forward)

    def __exit__(self, *_: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._fast_path)
        for module in self._layers:
            del module.forward

    def _run(self, module: nn.Module, forward: RewrittenForward, *inputs: Any, **keywords: Any) -> Any:
        try:
            return forward(module, partial(self._linear, module), *inputs, **keywords)
        except NotRewritableError as error:
            raise RuleMismatchError(str(error), self._layers[module].names) from error

    def _linear(
        self,
        module: nn.Module,
        source: Tensor,
        weight: str,
        bias: str | None,
        *,
        rows: slice = WHOLE,
        bias_rows: slice = WHOLE,
        computed: Tensor | None = None,
    ) -> Tensor:
        """See :class:`~gradsift.gradients.layers.linear_map.LinearMap`."""
        if len(source) != self._size:
            problem = f"{type(module).__name__} ran on {len(source)} rows for {self._size} samples"
            raise RuleMismatchError(problem, self._layers[module].names)
        matrix: nn.Parameter = getattr(module, weight)
        offset: nn.Parameter | None = None if bias is None else getattr(module, bias)
        flat = matrix.flatten(1)  # of a bilinear layer's weight, which has three axes; else the matrix itself
        output = computed
        if output is None:
            output = nn.functional.linear(source, flat[rows], None if offset is None else offset[bias_rows])
        name, bias_name = self._names.get(id(matrix)), self._names.get(id(offset))
        if name is None and bias_name is None:
            return output
        for used in (name, bias_name):
            if used is not None:
                self._used(used)
        output = begin_graph(output)
        held = [source.detach()]

        def arrived(gradient: Tensor) -> None:
            left = at_least_float32(gradient).reshape(self._size, -1, gradient.shape[-1])
            seen = at_least_float32(held.pop()).reshape(self._size, 1, -1, flat.shape[1])
            if name is not None:
                self._take(name, Factored(_placed(left, rows, len(matrix))[:, None], seen, matrix.shape))
            if bias_name is not None and offset is not None:
                self._take(bias_name, Dense(_placed(left.sum(dim=1), bias_rows, len(offset))))

        output.register_hook(arrived)
        return output


def _placed(gradient: Tensor, rows: slice, count: int) -> Tensor:
    """Gradient of all rows, zero but for those that were used; the last axis."""
    if rows == WHOLE:
        return gradient
    return nn.functional.pad(gradient, (rows.start, count - rows.stop))
