"""The steps of recurrent layers, forwards and backwards, each in a few operations without a graph.

Once a step's gates are known it is linear in what arrives from behind. So the forward run keeps, for all steps at once, the
factors by which its backward run multiplies; gradients of the gates are kept for all steps, and of them the gradients of
weights, inputs and samples follow in one product each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""Hidden state, and for LSTM the cell's, each of shape (n, width)."""


class Steps(ABC):
    """One layer in one direction on a batch of sequences: run forwards on construction, backwards when asked.

    Args:
        projected: Inputs after their linear map, shape (n, t, gates).
        state: The first state.
        weight: Matrix of the hidden state, shape (gates, hidden).
        bias: Its bias, shape (gates,).
        projection: Matrix of an LSTM's projection, shape (hidden, width).

    Attributes:
        hidden: First hidden state and that after each step, shape (t + 1, n, hidden).
        memory: The cell's last state, of an LSTM.
    """

    def __init__(
        self, projected: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None
    ) -> None:
        self.weight, self.projection = weight.to(projected), None if projection is None else projection.to(projected)
        size, length, _ = projected.shape
        self.hidden = projected.new_empty(length + 1, size, state[0].shape[1])
        self.hidden[0] = state[0]
        self.memory: Tensor | None = None
        with torch.autocast(projected.device.type, enabled=False):
            self.forwards(projected, state, None if bias is None else bias.to(projected))

    @abstractmethod
    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""

    @abstractmethod
    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards.

        Args:
            outputs: Gradient of the hidden states after the steps, shape (n, t, hidden).
            memory: Gradient of the cell's last state, of an LSTM.

        Returns:
            Gradients of the projected inputs and of the hidden states after their linear map, each of shape
            (n, t, gates); of what an LSTM's projection gave, shape (n, t, hidden); of the first state.
        """


class LSTMSteps(Steps):
    """``c_t = f c_{t-1} + i g``, ``h_t = P (o tanh(c_t))``, with P the projection where there is one."""

    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""
        length, size, width = len(self.hidden) - 1, len(state[0]), state[1].shape[1]
        projected = projected if bias is None else projected + bias
        gates, candidates = projected.new_empty(length, size, 4, width), projected.new_empty(length, size, width)
        memory, squashed_memory = projected.new_empty(length + 1, size, width), torch.empty_like(candidates)
        unprojected = self.hidden[1:] if self.projection is None else torch.empty_like(candidates)
        memory[0] = state[1]
        recurrent = self.weight.t()
        for time in range(length):
            gate = gates[time]
            torch.addmm(projected[:, time], self.hidden[time], recurrent, out=gate.view(size, -1))
            torch.tanh(gate[:, 2], out=candidates[time])
            gate.sigmoid_()
            torch.mul(gate[:, 1], memory[time], out=memory[time + 1]).addcmul_(gate[:, 0], candidates[time])
            torch.tanh(memory[time + 1], out=squashed_memory[time])
            torch.mul(gate[:, 3], squashed_memory[time], out=unprojected[time])
            if self.projection is not None:
                torch.mm(unprojected[time], self.projection.t(), out=self.hidden[time + 1])
        self.memory, self.unprojected = memory[-1].clone(), unprojected
        self._cell_factors = gates[:, :, 3] * (1 - squashed_memory.square())
        self._forgetting = gates[:, :, 1].clone()
        factors = gates * (1 - gates)
        torch.mul(gates[:, :, 0], 1 - candidates.square(), out=factors[:, :, 2])
        factors[:, :, 0] *= candidates
        factors[:, :, 1] *= memory[:-1]
        factors[:, :, 3] *= squashed_memory
        self._factors = factors

    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards."""
        length, size, _, width = self._factors.shape
        by_gates = outputs.new_empty(size, length, 4, width)
        by_projected = None if self.projection is None else torch.empty_like(outputs)
        by_state = outputs.new_zeros(size, outputs.shape[2])
        by_memory = outputs.new_zeros(size, width) if memory is None else memory
        for time in reversed(range(length)):
            by_hidden, by_gate, factors = outputs[:, time] + by_state, by_gates[:, time], self._factors[time]
            if by_projected is not None and self.projection is not None:
                by_projected[:, time] = by_hidden
                by_hidden = by_hidden @ self.projection
            by_memory = torch.addcmul(by_memory, by_hidden, self._cell_factors[time])
            torch.mul(by_memory[:, None], factors[:, :3], out=by_gate[:, :3])
            torch.mul(by_hidden, factors[:, 3], out=by_gate[:, 3])
            by_memory *= self._forgetting[time]
            by_state = by_gate.view(size, -1) @ self.weight
        gradient = by_gates.flatten(2)
        return gradient, gradient, by_projected, (by_state, by_memory)


class GRUSteps(Steps):
    """``n = tanh(a + r b)``, ``h_t = n + z (h_{t-1} - n)``, with a of the input and b of the hidden state."""

    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""
        length, size, width = len(self.hidden) - 1, *state[0].shape
        recurred, gates = projected.new_empty(length, size, 3, width), projected.new_empty(length, size, 2, width)
        candidates = projected.new_empty(length, size, width)
        recurrent, by_input = self.weight.t(), projected.unflatten(2, (3, width))
        for time in range(length):
            previous, by_hidden, gate = self.hidden[time], recurred[time], gates[time]
            if bias is None:
                torch.mm(previous, recurrent, out=by_hidden.view(size, -1))
            else:
                torch.addmm(bias, previous, recurrent, out=by_hidden.view(size, -1))
            torch.add(by_input[:, time, :2], by_hidden[:, :2], out=gate).sigmoid_()
            torch.addcmul(by_input[:, time, 2], gate[:, 0], by_hidden[:, 2], out=candidates[time]).tanh_()
            torch.lerp(candidates[time], previous, gate[:, 1], out=self.hidden[time + 1])
        reset, self._updates = gates[:, :, 0], gates[:, :, 1].clone()
        self._candidate_factors = (1 - self._updates) * (1 - candidates.square())
        factors = torch.empty_like(recurred)
        torch.mul(self._candidate_factors, reset, out=factors[:, :, 2])
        torch.mul(factors[:, :, 2], (1 - reset) * recurred[:, :, 2], out=factors[:, :, 0])
        torch.mul(self.hidden[:-1] - candidates, self._updates * (1 - self._updates), out=factors[:, :, 1])
        self._factors = factors

    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards."""
        length, size, _, width = self._factors.shape
        recurred, total = outputs.new_empty(size, length, 3, width), torch.empty_like(outputs)
        by_state = outputs.new_zeros(size, width)
        for time in reversed(range(length)):
            by_hidden, by_gate = torch.add(outputs[:, time], by_state, out=total[:, time]), recurred[:, time]
            torch.mul(by_hidden[:, None], self._factors[time], out=by_gate)
            by_state = torch.addmm(by_hidden * self._updates[time], by_gate.view(size, -1), self.weight)
        projected = recurred.clone()
        torch.mul(total, self._candidate_factors.transpose(0, 1), out=projected[:, :, 2])
        return projected.flatten(2), recurred.flatten(2), None, (by_state,)


class PlainSteps(Steps):
    """``h_t = tanh(a + b)``, with a of the input and b of the hidden state."""

    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""
        projected, recurrent = projected if bias is None else projected + bias, self.weight.t()
        for time in range(projected.shape[1]):
            torch.addmm(projected[:, time], self.hidden[time], recurrent, out=self.hidden[time + 1])
            self.squash(self.hidden[time + 1])
        self._factors = self.slope(self.hidden[1:])

    @staticmethod
    def squash(values: Tensor) -> None:
        """The activation, in place."""
        values.tanh_()

    @staticmethod
    def slope(squashed: Tensor) -> Tensor:
        """The activation's slope at its values."""
        return 1 - squashed.square()

    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards."""
        by_gates = torch.empty_like(outputs)
        by_state = outputs.new_zeros(len(outputs), outputs.shape[2])
        for time in reversed(range(outputs.shape[1])):
            torch.mul(outputs[:, time] + by_state, self._factors[time], out=by_gates[:, time])
            by_state = by_gates[:, time] @ self.weight
        return by_gates, by_gates, None, (by_state,)


class RectifiedSteps(PlainSteps):
    """``h_t = max(a + b, 0)``."""

    @staticmethod
    def squash(values: Tensor) -> None:
        """The activation, in place."""
        values.relu_()

    @staticmethod
    def slope(squashed: Tensor) -> Tensor:
        """The activation's slope at its values."""
        return (squashed > 0).to(squashed)


def steps_of(module: nn.RNNBase) -> type[Steps]:
    """How a layer steps.

    Args:
        module: ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``.

    Returns:
        The class.
    """
    if isinstance(module, nn.LSTM):
        return LSTMSteps
    if isinstance(module, nn.GRU):
        return GRUSteps
    return PlainSteps if module.mode == "RNN_TANH" else RectifiedSteps


class RunBackwards(torch.autograd.Function):
    """Puts a run that is over into the graph.

    Its inputs after the run are the tensors whose gradients the run gives: inputs after their linear map, hidden states
    after theirs, what an LSTM's projection gave, and the first state.
    """

    @staticmethod
    def forward(
        ctx: Any, run: Steps, _projected: Tensor, _recurred: Tensor, _shrunk: Tensor | None, *_state: Tensor
    ) -> tuple[Tensor, ...]:
        """Hidden states after the steps, shape (n, t, hidden), and the cell's last state, of an LSTM."""
        ctx.run = run
        outputs = run.hidden[1:].transpose(0, 1).contiguous()
        return (outputs,) if run.memory is None else (outputs, run.memory.clone())

    @staticmethod
    def backward(ctx: Any, outputs: Tensor, memory: Tensor | None = None) -> tuple[Any, ...]:  # type: ignore[override]  # *grads
        """Gradients of the inputs."""
        projected, recurred, shrunk, state = ctx.run.backwards(outputs, memory)
        return (None, projected, recurred, shrunk, *state)
