"""What is compared, its rows, and how it is asked and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from frame.rows import Rows
from torch import Tensor, nn

from gradsift.influence import Influence, InnerProduct
from gradsift.influence.forward import ForwardInfluence

ROWS = Rows("forward_influence.jsonl", key=("part", "seed", "setting"))
SEEDS = 5
Data = tuple[Tensor, Tensor]
PAPER = "Adam, 1 step of 5e-3"
"""The reference code's optimiser, rate and number of steps."""
METHODS: dict[str, Callable[..., Influence]] = {
    "forward, SGD": lambda **s: ForwardInfluence(**s),
    "forward, SGD, 5 steps": lambda **s: ForwardInfluence(steps=5, **s),
    "forward, Adam": lambda **s: ForwardInfluence(optimizer="adam", **s),
    f"forward, {PAPER}": lambda **s: ForwardInfluence(optimizer="adam", rate=5e-3, **s),
    "inner product": lambda **s: InnerProduct(**s),
    "cosine": lambda **s: InnerProduct(cosine=True, **s),
}


def timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """What some work gives; its seconds are noted."""
    start = time.perf_counter()
    found = work()
    seconds[name] = time.perf_counter() - start
    return found


def answers(
    methods: Mapping[str, Callable[..., Influence]],
    model: nn.Module,
    data: Any,
    targets: Any,
    seconds: dict[str, float],
    *,
    each: bool = True,
    task: Any = "classification",
) -> dict[str, np.ndarray]:
    """Signed influence on targets by each method, with the seconds that it took."""

    def work(make: Callable[..., Influence]) -> np.ndarray:
        return make(show_progress=False, task=task).fit(model, data).influence(targets, each=each)

    return {name: timed(seconds, name, partial(work, make)) for name, make in methods.items()}


def kept_targets(**settings: Any) -> Influence:
    """Forward influence that asks about memorised targets, too."""
    return ForwardInfluence(memorised_below=0.0, **settings)
