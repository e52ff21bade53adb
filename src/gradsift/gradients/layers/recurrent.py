"""Recurrent layers, which run a whole sequence in one call: every linear map is seen with all steps at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gradsift.gradients.layers.linear_map import LinearMap, NotRewritableError
from gradsift.gradients.layers.recurrent_steps import LSTMSteps, RunBackwards, State, steps_of


def recurrent_forward(module: nn.RNNBase, linear: LinearMap, inputs: Any, state: Any = None) -> tuple[Tensor, Any]:
    """``nn.RNN``, ``nn.GRU`` and ``nn.LSTM``: all layers and directions.

    Args:
        module: The layer.
        linear: Applies a linear map of the layer to a tensor whose first axis is the sample.
        inputs: Shape (n, t, width), or (t, n, width) without ``batch_first``.
        state: First state, shape (layers x directions, n, width); for LSTM a pair.

    Returns:
        The outputs, and the last state, as the layer itself gives them.

    Raises:
        NotRewritableError: The sequences are packed, there is no axis of samples, or the layer drops out.
    """
    if not isinstance(inputs, Tensor) or inputs.ndim != 3:
        raise NotRewritableError("recurrent layers on packed sequences, or without an axis of samples")
    if module.training and module.dropout and module.num_layers > 1:
        raise NotRewritableError("recurrent layers with dropout in train mode")
    steps = inputs if module.batch_first else inputs.transpose(0, 1)
    first = _first_states(module, state, len(steps), steps)
    directions = 2 if module.bidirectional else 1
    last: list[State] = []
    for layer in range(module.num_layers):
        sides = []
        for direction in range(directions):
            outputs, end = _one_way(module, linear, steps, first[len(last)], layer, backwards=direction == 1)
            sides.append(outputs)
            last.append(end)
        steps = torch.cat(sides, dim=-1) if directions == 2 else sides[0]
    final = tuple(torch.stack(kind) for kind in zip(*last, strict=True))
    outputs = steps if module.batch_first else steps.transpose(0, 1)
    return outputs, final if isinstance(module, nn.LSTM) else final[0]


def _first_states(module: nn.RNNBase, state: Any, size: int, like: Tensor) -> list[State]:
    """The first state of each layer and direction; zero where none is given."""
    count = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or module.hidden_size]
    widths += [module.hidden_size] if isinstance(module, nn.LSTM) else []
    if state is None:
        return [tuple(like.new_zeros(size, width) for width in widths)] * count
    kinds = state if isinstance(module, nn.LSTM) else (state,)
    return [tuple(kind[number] for kind in kinds) for number in range(count)]


def _one_way(
    module: nn.RNNBase, linear: LinearMap, inputs: Tensor, state: State, layer: int, *, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: outputs (n, t, width) and the last state."""
    ending = f"_l{layer}" + ("_reverse" if backwards else "")
    bias_in, bias_back = (f"bias_ih{ending}", f"bias_hh{ending}") if module.bias else (None, None)
    matrix, projection = f"weight_hh{ending}", f"weight_hr{ending}" if module.proj_size else None
    projected = linear(inputs.flip(1) if backwards else inputs, f"weight_ih{ending}", bias_in)
    with torch.no_grad():
        run = steps_of(module)(
            projected,
            state,
            getattr(module, matrix),
            None if bias_back is None else getattr(module, bias_back),
            None if projection is None else getattr(module, projection),
        )
    nothing = projected.new_zeros(())  # stands for what the run has computed: of it the gradient alone is wanted
    recurred = linear(run.hidden[:-1].transpose(0, 1), matrix, bias_back, computed=nothing.expand(projected.shape))
    shrunk = None
    if projection is not None and isinstance(run, LSTMSteps):
        unprojected = run.unprojected.transpose(0, 1)
        shrunk = linear(unprojected, projection, None, computed=nothing.expand(*projected.shape[:2], module.proj_size))
    outputs, *memory = RunBackwards.apply(run, projected, recurred, shrunk, *state)
    return outputs.flip(1) if backwards else outputs, (outputs[:, -1], *memory)
