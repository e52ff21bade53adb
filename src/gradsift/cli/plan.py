"""``gradsift plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from gradsift.cli.console import console, print_json
from gradsift.cli.source import (
    BaseOption,
    DataOption,
    DeviceOption,
    DtypeOption,
    IgnoreOption,
    ImageOption,
    LabelOption,
    LengthOption,
    MessagesOption,
    ModelOption,
    PromptOption,
    ReductionOption,
    ResponseOption,
    Source,
    TargetOption,
    TaskOption,
    TextOption,
    TransformOption,
    WeightsOption,
    needed,
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
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Predicts time, memory and disk of an audit from a few batches; nothing is written.

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
    settings = AuditSettings.from_dict({"layers": patterns(layers), "precision": precision})
    loaded_model, loaded, loaded_task = source.load()
    found = predict(loaded_model, loaded.dataset, task=loaded_task, settings=settings)
    if as_json:
        print_json(found.to_dict())
        return
    console.print(f"{found.samples:,} samples, batches of {found.batch_size}. Gradients: {found.coverage}.")
    console.print(
        f"[bold]About {_time(found.seconds)}[/], {found.memory_bytes / 2**20:,.0f} MiB of memory beyond the data set, "
        f"{found.disk_bytes / 2**20:,.0f} MiB on disk."
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
