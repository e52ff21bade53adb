"""Leaving a model as it was found: frozen for a while, hooks taken off again, precision of the passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from gradsift.data.batch import map_tensors

T = TypeVar("T")

Precision = Literal["float32", "bfloat16", "float16"]
"""Precision of the passes; reductions are made in float32 at least."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of a wrapper for several processes or for compilation.

    Args:
        model: A model, or ``DistributedDataParallel``, ``DataParallel`` or ``torch.compile`` around one.

    Returns:
        The model itself; its parameters have the names that the user knows.
    """
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's wrapper
            model = inner
        else:
            return model


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Freezes all parameters, so that a backward pass computes gradients of activations alone.

    Args:
        model: The model; ``requires_grad`` of its parameters is put back on leaving.

    Yields:
        Nothing.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def evaluated(run: Callable[[], T]) -> T:
    """Runs passes of which no gradient is wanted.

    They run without recording gradients, unless the task itself differentiates in them, as for forces that are the gradient
    of an energy.

    Args:
        run: What to run, such as ``lambda: task.outputs(model, batch)``; tensors or what holds them.

    Returns:
        What it gave, detached.
    """
    try:
        with torch.no_grad():
            return run()
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
    with torch.enable_grad():
        return map_tensors(Tensor.detach, run())  # type: ignore[no-any-return]  # the kind that run gives


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts a model into eval mode for a while.

    Args:
        model: The model; every module's own mode is put back on leaving.

    Yields:
        Nothing.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def precision_of(model: nn.Module, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a model's passes run.

    Args:
        model: The model, for its device.
        precision: ``"float32"`` leaves the passes as they are; otherwise autocast to half precision.

    Returns:
        A context manager.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device_of(model).type, dtype=getattr(torch, precision))


def reducing(device: torch.device) -> AbstractContextManager[object]:
    """The context in which gradients are reduced: without autocast, so in float32 at least.

    Args:
        device: Where the gradients lie.

    Returns:
        A context manager.
    """
    return torch.autocast(device.type, enabled=False)


@contextmanager
def in_full_float32() -> Iterator[None]:
    """Lets a GPU multiply float32 numbers in full for a while.

    By default its convolutions round them to 10 bits (TF32), in a batch otherwise than for a sample alone; backends that
    are compared would then differ by a thousandth.

    Yields:
        Nothing.
    """
    backends = torch.backends
    switches: tuple[Any, ...] = (backends.cuda.matmul, backends.cudnn) if torch.cuda.is_available() else ()
    try:
        before = [switch.allow_tf32 for switch in switches]
    except RuntimeError:  # the user has chosen by torch's newer switches, which cannot be mixed with these
        yield
        return
    for switch in switches:
        switch.allow_tf32 = False
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


def coarsest_dtype(model: nn.Module) -> torch.dtype:
    """The dtype in which a model rounds most: frozen weights count, as every pass goes through them.

    Args:
        model: The model.

    Returns:
        The floating dtype of least precision among its parameters; quantised weights count as bfloat16.
    """
    real = [p for p in model.parameters() if p.is_floating_point() or p.is_complex()]
    dtypes = {p.dtype.to_real() for p in real} | (
        {torch.bfloat16} if len(real) < len(list(model.parameters())) else set()
    )
    return min(dtypes, key=lambda dtype: dtype.itemsize)


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters.

    Args:
        model: The model.

    Returns:
        The device of its first parameter.
    """
    return next(model.parameters()).device
