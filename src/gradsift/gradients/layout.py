"""The memory layout in which convolutions run fastest, chosen for each of them from its shape alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import is_traced

SMALL_MAP, MANY_CHANNELS, FEW_CHANNELS = 16, 256, 48
"""On a CPU, channels last make a convolution up to 1.6 times faster; but where an output map has no more positions than the
first and at least so many channels as the second they make it twice as slow. With fewer channels than the third, forming
per-sample gradients loses more by it than the passes gain."""


@contextmanager
def fast_layout(model: nn.Module, *, entries: bool) -> Iterator[None]:
    """Hands every two-dimensional convolution its input in the layout that suits it; values stay the same.

    Channels last on a CPU in float32, with two exceptions; as it comes elsewhere.

    Args:
        model: The model.
        entries: Whether entries of per-sample gradients will be formed, rather than projections alone.

    Yields:
        Nothing.
    """
    handles = [
        module.register_forward_pre_hook(partial(_lay_out, entries))
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.weight.device.type == "cpu"
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _lay_out(entries: bool, module: nn.Conv2d, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    source = inputs[0] if inputs else None
    if not isinstance(source, Tensor) or source.ndim != 4 or source.dtype != torch.float32 or is_traced(source):
        return None
    positions = source.shape[2] * source.shape[3] // (module.stride[0] * module.stride[1])
    small = positions <= SMALL_MAP and module.out_channels >= MANY_CHANNELS
    narrow = entries and 4 < module.in_channels < FEW_CHANNELS  # the image itself is turned at no cost
    layout = torch.contiguous_format if small or narrow else torch.channels_last
    return (source.contiguous(memory_format=layout), *inputs[1:])
