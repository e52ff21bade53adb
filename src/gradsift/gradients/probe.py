"""The checks before a run that say when numbers would be wrong.

A sample's score must belong to that sample: two reads of the data set give the same sample, the model is in eval mode,
and the gradient of a sample alone equals its gradient in a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_flatten

from gradsift.data import Samples
from gradsift.errors import DataError, ModelError
from gradsift.gradients.batches import each_batch, on_batch
from gradsift.gradients.not_finite import refuse_not_finite
from gradsift.gradients.row_order import check_row_order, scale_of

if TYPE_CHECKING:
    from gradsift.gradients.per_sample import PerSampleGradients

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
"""By the dtype of a model's weights, the largest relative difference between a norm alone and in a batch that passes for
rounding."""
TOLERANCE_OF_HALF = 5e-2
"""The same for weights of half precision, or quantised: another shape of batch or padding rounds otherwise."""
GATHER = (
    "gather the full state dict (torch.distributed.checkpoint.state_dict.get_model_state_dict with "
    "StateDictOptions(full_state_dict=True)), and load it into a model that is not sharded. One that is larger than a GPU "
    "can be audited on the CPU, or as adapters on a base in 4 bits"
)
"""The way out for a model of which each process holds a part."""


@dataclass(frozen=True)
class Probe:
    """What the checks have measured.

    Attributes:
        alone_versus_batch: Largest relative difference of a gradient norm, sample alone against in a batch.
        precision_noise: For half-precision passes the median relative error of the gradient norm against float32.
    """

    alone_versus_batch: float
    precision_noise: float | None = None


def check_mode(model: nn.Module) -> None:
    """Refuses layers that make a sample's gradient depend on chance or on its neighbours in the batch.

    Args:
        model: The model.

    Raises:
        ModelError: A BatchNorm or Dropout layer is in train mode, a BatchNorm has no running statistics, parameters
            lie on several devices or none at all.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is {model!r}: it must be a torch.nn.Module (an object, with its weights loaded)")
    _refuse_hidden_layers(model)
    devices = {str(parameter.device) for parameter in model.parameters()}
    if len(devices) != 1 or "meta" in devices:
        raise ModelError(
            f"the model's parameters lie on {sorted(devices) or 'no device (there are none)'}, one device is needed: "
            'move it as a whole, for example model.to("cpu")'
        )
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, _BatchNorm) and not module.track_running_stats:
            raise ModelError(
                f"layer {name!r} ({kind}) has no running statistics, so samples of a batch depend on each "
                "other: train it with track_running_stats=True"
            )
        if module.training and (isinstance(module, _BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0)):
            raise ModelError(
                f"layer {name!r} ({kind}) is in train mode, so a sample's gradient would depend on chance or on its "
                "batch: call model.eval() before the audit"
            )


def refuse_without_derivative(model: nn.Module) -> None:
    """Refuses layers through which no gradient goes back, where it is needed.

    Quantised layers of bitsandbytes repack their weight in the first pass without gradients, where the processor has
    AVX512-BF16, and from then on run a kernel without a derivative: gradients behind them are NaN, or silently wrong.

    Args:
        model: The model.

    Raises:
        ModelError: There is such a layer; says how to switch its kernel off.
    """
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        repacked = getattr(state, "packing_format_for_cpu", False)
        will_be = getattr(module, "support_avx512bf16_for_cpu", False) and not module.training
        if (repacked or will_be) and any(parameter.device.type == "cpu" for parameter in module.parameters()):
            raise ModelError(
                f"layer {name!r} ({type(module).__name__}) of bitsandbytes runs a CPU kernel that has no derivative: "
                "gradients would be NaN or wrong. Right after the model is loaded, set "
                "layer.support_avx512bf16_for_cpu = False for every such layer, or use a GPU"
            )


def _is_a(thing: object, module: str, *classes: str) -> bool:
    """Whether it is of a class of a module, which takes half a second to import and is there if it is."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, tuple(getattr(loaded, name) for name in classes))


def _refuse_hidden_layers(model: nn.Module) -> None:
    """Refuses models whose layers or weights cannot be seen from here."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and any(True for _ in module.parameters()):
            raise ModelError(
                f"{f'layer {name!r}' if name else 'the model'} is a TorchScript module, which does not show what its "
                "layers take in and give out: build the Python model that it was made of, and load "
                "scripted.state_dict() into it"
            )
        if _is_a(module, "torch.distributed.fsdp", "FullyShardedDataParallel", "FSDPModule"):
            raise ModelError(
                f"{f'layer {name!r}' if name else 'the model'} is sharded by FSDP, so no process holds whole gradients: "
                f"{GATHER}"
            )
    for name, parameter in model.named_parameters():
        if _is_a(parameter, "torch.distributed.tensor", "DTensor"):
            raise ModelError(
                f"parameter {name!r} is a DTensor, sharded over processes (FSDP2 or tensor parallelism): {GATHER}"
            )


def check_two_reads(samples: Samples, positions: np.ndarray) -> None:
    """Reads some samples twice.

    Args:
        samples: The data set.
        positions: Which samples to read.

    Raises:
        DataError: The second read gives another sample.
    """
    for position in positions:
        first, second = (tree_flatten(samples.sample(int(position)))[0] for _ in range(2))
        if len(first) != len(second) or not all(_same(a, b) for a, b in zip(first, second, strict=True)):
            raise DataError(
                f"the data set gives another sample at position {position} when it is read a second time "
                "(random augmentation?): audit it with the transform that is used for evaluation"
            )


def probe(
    gradients: PerSampleGradients,
    samples: Samples,
    in_float32: Callable[[], PerSampleGradients] | None,
    *,
    batch_size: int = 64,
) -> Probe:
    """Runs the checks on a few samples spread over the data set, and on some batches where only losses tell their order.

    Args:
        gradients: The gradients that will be computed, with ``l2`` among the reductions.
        samples: The data set.
        in_float32: For half-precision passes, gives the same gradients in float32; otherwise ``None``.
        batch_size: Samples a batch of the passes that follow.

    Returns:
        What was measured.

    Raises:
        DataError: The collate function reorders samples.
        ModelError: A sample's gradient alone differs from its gradient in a batch.
    """
    positions = samples.evenly_spaced(8)
    check_two_reads(samples, positions)
    batch, whole = on_batch(lambda _, batch: (batch, gradients(batch)), samples.batch, positions)
    each = [reduced for _, reduced in each_batch(lambda _, batch: gradients(batch), samples.batch, positions, 1)]
    refuse_not_finite({"loss": whole.losses, **whole.statistics}, positions, lambda: gradients.where_not_finite(batch))
    together, alone = whole.statistics["l2"], torch.cat([single.statistics["l2"] for single in each])
    noise = None
    if in_float32 is not None:
        reference = in_float32()(batch).statistics["l2"]
        noise = float(((together - reference).abs() / reference.clamp(min=1e-12)).median())
    difference = float(((together - alone).abs() / scale_of(together)).max())
    # Backends that take samples one by one never see a mixture in their gradients; the losses are always those of a batch.
    losses, losses_alone = whole.losses.to(together), torch.cat([single.losses for single in each]).to(together)
    difference = max(difference, float(((losses - losses_alone).abs() / scale_of(losses)).max()))
    tolerance = TOLERANCE.get(gradients.coarsest, TOLERANCE_OF_HALF) if noise is None else max(10 * noise, 0.2)
    difference = max(difference, check_row_order(gradients, samples, batch_size, tolerance))
    if not difference <= tolerance:
        raise ModelError(
            f"the gradient norm or loss of a sample alone differs from that in a batch by {100 * difference:.3g} % "
            f"(allowed: {100 * tolerance:.3g} %): something in the model mixes the samples of a batch, depends on "
            "padding, or is random. Call model.eval(), and look for batch statistics and random layers; where "
            "the rest of the batch are negatives, gradsift.tasks.Contrastive holds a bank of them"
            + (f"; look at the collate function {samples.collation.name}, too" if samples.collation.compares else "")
        )
    return Probe(difference, noise)


def _same(first: object, second: object) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        first, second = first.detach(), second.detach()
        missing = torch.isnan(first) & torch.isnan(second) if first.shape == second.shape else None
        return missing is not None and first.dtype == second.dtype and bool(((first == second) | missing).all())
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return first is second or bool(first == second) or (first != first and second != second)  # NaN
