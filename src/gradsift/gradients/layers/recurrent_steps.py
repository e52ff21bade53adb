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
        shrinking: Matrix of an LSTM's projection, shape (hidden, width).

    Attributes:
        hidden: First hidden state and that after each step, shape (t + 1, n, hidden).
        memory: The cell's last state, of an LSTM.
    """

    def __init__(
        self, projected: Tensor, state: State, weight: Tensor, bias: Tensor | None, shrinking: Tensor | None
    ) -> None:
        self.weight, self.shrinking = weight.to(projected), None if shrinking is None else shrinking.to(projected)
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
        gates, fresh = projected.new_empty(length, size, 4, width), projected.new_empty(length, size, width)
        memory, squashed = projected.new_empty(length + 1, size, width), torch.empty_like(fresh)
        leaving = self.hidden[1:] if self.shrinking is None else torch.empty_like(fresh)
        memory[0] = state[1]
        back = self.weight.t()
        for time in range(length):
            gate = gates[time]
            torch.addmm(projected[:, time], self.hidden[time], back, out=gate.view(size, -1))
            torch.tanh(gate[:, 2], out=fresh[time])
            gate.sigmoid_()
            torch.mul(gate[:, 1], memory[time], out=memory[time + 1]).addcmul_(gate[:, 0], fresh[time])
            torch.tanh(memory[time + 1], out=squashed[time])
            torch.mul(gate[:, 3], squashed[time], out=leaving[time])
            if self.shrinking is not None:
                torch.mm(leaving[time], self.shrinking.t(), out=self.hidden[time + 1])
        self.memory, self.unshrunk = memory[-1].clone(), leaving
        self._through = gates[:, :, 3] * (1 - squashed.square())
        self._kept = gates[:, :, 1].clone()
        factors = gates * (1 - gates)
        torch.mul(gates[:, :, 0], 1 - fresh.square(), out=factors[:, :, 2])
        factors[:, :, 0] *= fresh
        factors[:, :, 1] *= memory[:-1]
        factors[:, :, 3] *= squashed
        self._factors = factors

    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards."""
        length, size, _, width = self._factors.shape
        gates = outputs.new_empty(size, length, 4, width)
        shrunk = None if self.shrinking is None else torch.empty_like(outputs)
        carried = outputs.new_zeros(size, outputs.shape[2])
        cell = outputs.new_zeros(size, width) if memory is None else memory
        for time in reversed(range(length)):
            hidden, gate, factors = outputs[:, time] + carried, gates[:, time], self._factors[time]
            if shrunk is not None and self.shrinking is not None:
                shrunk[:, time] = hidden
                hidden = hidden @ self.shrinking
            cell = torch.addcmul(cell, hidden, self._through[time])
            torch.mul(cell[:, None], factors[:, :3], out=gate[:, :3])
            torch.mul(hidden, factors[:, 3], out=gate[:, 3])
            cell *= self._kept[time]
            carried = gate.view(size, -1) @ self.weight
        gradient = gates.flatten(2)
        return gradient, gradient, shrunk, (carried, cell)


class GRUSteps(Steps):
    """``n = tanh(a + r b)``, ``h_t = n + z (h_{t-1} - n)``, with a of the input and b of the hidden state."""

    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""
        length, size, width = len(self.hidden) - 1, *state[0].shape
        recurred, gates = projected.new_empty(length, size, 3, width), projected.new_empty(length, size, 2, width)
        fresh = projected.new_empty(length, size, width)
        back, new = self.weight.t(), projected.unflatten(2, (3, width))
        for time in range(length):
            before, by_state, gate = self.hidden[time], recurred[time], gates[time]
            if bias is None:
                torch.mm(before, back, out=by_state.view(size, -1))
            else:
                torch.addmm(bias, before, back, out=by_state.view(size, -1))
            torch.add(new[:, time, :2], by_state[:, :2], out=gate).sigmoid_()
            torch.addcmul(new[:, time, 2], gate[:, 0], by_state[:, 2], out=fresh[time]).tanh_()
            torch.lerp(fresh[time], before, gate[:, 1], out=self.hidden[time + 1])
        reset, self._kept = gates[:, :, 0], gates[:, :, 1].clone()
        self._fresh = (1 - self._kept) * (1 - fresh.square())
        factors = torch.empty_like(recurred)
        torch.mul(self._fresh, reset, out=factors[:, :, 2])
        torch.mul(factors[:, :, 2], (1 - reset) * recurred[:, :, 2], out=factors[:, :, 0])
        torch.mul(self.hidden[:-1] - fresh, self._kept * (1 - self._kept), out=factors[:, :, 1])
        self._factors = factors

    def backwards(self, outputs: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, State]:
        """Runs backwards."""
        length, size, _, width = self._factors.shape
        recurred, total = outputs.new_empty(size, length, 3, width), torch.empty_like(outputs)
        carried = outputs.new_zeros(size, width)
        for time in reversed(range(length)):
            hidden, gate = torch.add(outputs[:, time], carried, out=total[:, time]), recurred[:, time]
            torch.mul(hidden[:, None], self._factors[time], out=gate)
            carried = torch.addmm(hidden * self._kept[time], gate.view(size, -1), self.weight)
        projected = recurred.clone()
        torch.mul(total, self._fresh.transpose(0, 1), out=projected[:, :, 2])
        return projected.flatten(2), recurred.flatten(2), None, (carried,)


class PlainSteps(Steps):
    """``h_t = tanh(a + b)``, with a of the input and b of the hidden state."""

    def forwards(self, projected: Tensor, state: State, bias: Tensor | None) -> None:
        """Runs forwards and keeps factors."""
        projected, back = projected if bias is None else projected + bias, self.weight.t()
        for time in range(projected.shape[1]):
            torch.addmm(projected[:, time], self.hidden[time], back, out=self.hidden[time + 1])
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
        gates = torch.empty_like(outputs)
        carried = outputs.new_zeros(len(outputs), outputs.shape[2])
        for time in reversed(range(outputs.shape[1])):
            torch.mul(outputs[:, time] + carried, self._factors[time], out=gates[:, time])
            carried = gates[:, time] @ self.weight
        return gates, gates, None, (carried,)


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
    def backward(ctx: Any, outputs: Tensor, memory: Tensor | None = None) -> tuple[Any, ...]:  # type: ignore[override]
        """Gradients of the inputs."""
        projected, recurred, shrunk, state = ctx.run.backwards(outputs, memory)
        return (None, projected, recurred, shrunk, *state)
