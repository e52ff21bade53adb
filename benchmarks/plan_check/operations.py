"""Part on operations: counted by the formulas of the page, and timed."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from frame.rows import machine
from torch import Tensor, nn

from gradsift.gradients import PerSampleGradients, Projection, Reductions
from plan_check.prediction import ROWS

DIM = 512


def linear(positions: int, inputs: int, outputs: int) -> tuple[nn.Module, Tensor, dict[str, int]]:
    shape = (positions, inputs) if positions > 1 else (inputs,)
    return nn.Linear(inputs, outputs, bias=False), torch.randn(*shape), {"T": positions, "p": outputs, "q": inputs}


def convolution(side: int, inputs: int, outputs: int, kernel: int = 3) -> tuple[nn.Module, Tensor, dict[str, int]]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return layer, torch.randn(inputs, side, side), {"T": side**2, "p": outputs, "q": inputs * kernel**2}


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor, dict[str, int]]]] = {
    "Linear 512 → 512, one row": lambda: linear(1, 512, 512),
    "Linear 128 → 512, 64 rows": lambda: linear(64, 128, 512),
    "Linear 512 → 512, 32 rows": lambda: linear(32, 512, 512),
    "Linear 512 → 512, 512 rows": lambda: linear(512, 512, 512),
    "Conv 3 × 3, 16 → 16, 32 × 32": lambda: convolution(32, 16, 16),
    "Conv 3 × 3, 64 → 64, 16 × 16": lambda: convolution(16, 64, 64),
    "Conv 3 × 3, 64 → 64, 8 × 8": lambda: convolution(8, 64, 64),
    "Conv 3 × 3, 256 → 256, 4 × 4": lambda: convolution(4, 256, 256),
}


class Alone(nn.Module):
    """A layer whose output meets fixed numbers, so that its gradient is as full as in the middle of a network."""

    def __init__(self, layer: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.layer = layer
        with torch.no_grad():
            self.register_buffer("weights", torch.randn(layer(example[None]).shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * self.weights).flatten(1).sum(dim=1)


class Sum:
    """The model's output is the loss."""

    def outputs(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return model(batch[0])

    def losses(self, outputs: Tensor, _batch: tuple[Tensor, ...]) -> Tensor:
        return outputs


def counted(shape: dict[str, int], sides: tuple[int, int]) -> dict[str, int]:
    """Operations a sample by the page's formulas; a multiplication and an addition are two."""
    positions, p, q = shape["T"], shape["p"], shape["q"]
    r, s = sides
    direct, ghost = 2 * positions * p * q + 2 * p * q, 2 * positions**2 * (p + q)
    return {
        "forward": 2 * positions * p * q,
        "to the input": 2 * positions * p * q,
        "L2": 2 * (p + q) if positions == 1 else min(direct, ghost),
        "projection": 2 * positions * (p * r + q * s + r * s),
    }


def measure(asked: argparse.Namespace) -> None:
    """Times every layer that is missing."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, make in LAYERS.items():
        if ROWS.have(part="operations", case=name):
            continue
        layer, example, shape = make()
        size = int(min(256, max(8, 2**31 // (8 * shape["T"] * shape["p"] * shape["q"]))))
        measured = timed(Alone(layer, example).eval(), torch.randn(size, *example.shape), asked.rounds)
        sides = Projection(DIM).sides(tuple(layer.weight.shape))
        row = {"case": name, "batch": size, "ms": measured, "operations": counted(shape, sides), "sides": list(sides)}
        ROWS.add({"part": "operations", **row, "machine": machine(threads=1)})
        print(name, {one: round(value, 4) for one, value in measured.items()}, flush=True)


def timed(model: nn.Module, inputs: Tensor, rounds: int) -> dict[str, float]:
    """Milliseconds a sample: of a forward pass, and of what else comes on top of it."""
    asked = {"L2": Reductions(), "projection": Reductions(l2=False, projection=Projection(DIM))}
    reducers = {
        one: PerSampleGradients(model, Sum(), (inputs,), layers="all", reductions=r) for one, r in asked.items()
    }
    frozen = copy.deepcopy(model).requires_grad_(False)
    leaf = inputs.clone().requires_grad_()
    jobs: dict[str, Callable[[], object]] = {
        "forward": lambda: frozen(inputs),
        "to the input": lambda: torch.autograd.grad(frozen(leaf).sum(), leaf),
        "L2": lambda: reducers["L2"]((inputs,)),
        "projection": lambda: reducers["projection"]((inputs,)),
    }
    spent: dict[str, list[float]] = {one: [] for one in jobs}
    for turn in range(rounds + 1):
        for one, job in jobs.items():
            began = time.perf_counter()
            job()
            if turn:  # the first round warms up
                spent[one].append(1000 * (time.perf_counter() - began) / len(inputs))
    forward = np.array(spent["forward"])
    return {
        one: float(np.median(np.array(values) - (forward if one != "forward" else 0))) for one, values in spent.items()
    }
