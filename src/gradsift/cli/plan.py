"""``gradsift plan``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gradsift.cli.console import print_json, say
from gradsift.cli.source import (
    BaseOption,
    BatchSizeOption,
    DataOption,
    DetectorsOption,
    DeviceOption,
    DtypeOption,
    IgnoreOption,
    ImageOption,
    LabelOption,
    LengthOption,
    MessagesOption,
    ModelOption,
    PerLayerOption,
    PrecisionOption,
    ProjectionOption,
    PromptOption,
    ReductionOption,
    ResponseOption,
    ShardSizeOption,
    Source,
    TargetOption,
    TaskOption,
    TextOption,
    TransformOption,
    WeightsOption,
    needed,
    number,
    patterns,
)
from gradsift.plan import plan as predict
from gradsift.settings import AuditSettings


def plan(
    model: ModelOption = None,
    weights: WeightsOption = None,
    base: BaseOption = None,
    dtype: DtypeOption = "float32",
    data: DataOption = None,
    text: TextOption = None,
    label: LabelOption = None,
    image: ImageOption = None,
    messages: MessagesOption = None,
    prompt: PromptOption = None,
    response: ResponseOption = None,
    target: TargetOption = None,
    reduction: ReductionOption = "mean",
    max_length: LengthOption = None,
    transform: TransformOption = None,
    ignore: IgnoreOption = None,
    task: TaskOption = None,
    device: DeviceOption = "cpu",
    layers: Annotated[str, typer.Option(help='"last", "all", or glob patterns with commas.')] = "last",
    detectors: DetectorsOption = None,
    projection: ProjectionOption = 512,
    per_layer: PerLayerOption = False,
    batch_size: BatchSizeOption = "auto",
    shard_size: ShardSizeOption = 2048,
    precision: PrecisionOption = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Predicts time, memory and disk of an audit from a few batches; nothing is left on disk.

    For example: **gradsift plan --model my.model:make --weights model.safetensors --data train.parquet --layers all**
    """
    source = Source(
        model=needed(model, "--model"),
        data=needed(data, "--data"),
        weights=str(weights) if weights else None,
        label=label,
        image=image,
        transform=transform,
        ignore=ignore,
        task=task,
        device=device,
        base=base,
        dtype=dtype,
        text=text,
        messages=messages,
        prompt=prompt,
        response=response,
        target=target,
        reduction=reduction,
        max_length=max_length,
    )
    values: dict[str, Any] = {
        "layers": patterns(layers),
        "detectors": detectors.split(",") if detectors else None,
        "projection": projection,
        "projection_per_layer": per_layer,
        "batch_size": number(batch_size, "--batch-size", int),
        "shard_size": shard_size,
        "precision": precision,
    }
    settings = AuditSettings.from_dict(values)
    loaded_model, loaded, loaded_task = source.load()
    found = predict(loaded_model, loaded.dataset, task=loaded_task, settings=settings)
    if as_json:
        print_json(found.to_dict())
        return
    say(f"{found.samples:,} samples, batches of {found.batch_size}. Gradients: {found.coverage}.")
    stages = found.stages
    say(
        f"About {_time(found.seconds)}, {_range(found.seconds_low, found.seconds_high)}: "
        f"{_time(stages['prepare'])} to begin, {_time(stages['gradients'])} of gradients, "
        f"{_time(stages['scores'] + stages['report'])} of scores and page.",
        "bold",
    )
    on_device = found.device_memory_bytes
    say(
        f"{_size(found.memory_bytes)} of memory beyond model and data set"
        + (f", {_size(on_device)} on the device" if on_device is not None else "")
        + f"; {_size(found.disk_bytes + found.table_bytes)} on disk, {_size(found.disk_bytes)} of it gradients."
    )
    say(f"From {found.probed:,} of the samples.")


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 120:
        return 1, "seconds"
    return (60, "minutes") if seconds < 7200 else (3600, "hours")


def _number(value: float) -> str:
    """Two digits at least, none that says nothing."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _time(seconds: float) -> str:
    scale, unit = _unit(seconds)
    return f"{_number(seconds / scale)} {unit}"


def _range(low: float, high: float) -> str:
    scale, unit = _unit(high)
    return f"{_number(low / scale)} to {_number(high / scale)} {unit}"


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 10 * 2**30 else f"{count / 2**30:,.0f} GiB"
