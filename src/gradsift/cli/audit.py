"""``gradsift audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gradsift.audit import audit as audit_data_set
from gradsift.cli.console import print_json, print_table, resumable, say
from gradsift.cli.predictions import audit_files
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
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load_column
from gradsift.errors import SettingError
from gradsift.settings import AuditSettings
from gradsift.store.configuration import read_config
from gradsift.table import Audit


def audit(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory to write, such as runs/x.")],
    model: ModelOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a model: .npz with probabilities (or logits) and features, or a table with one column a class."
        ),
    ] = None,
    out_of_fold: Annotated[
        bool, typer.Option("--out-of-fold", help="Each prediction comes from a model that has not seen its sample.")
    ] = False,
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
    config: Annotated[Path | None, typer.Option(help="config.yaml of a run: does the same again.")] = None,
    layers: Annotated[
        str,
        typer.Option(
            help="`last` (the weight of the last linear layer), `all`, or glob patterns with commas: `head.*,encoder.3.*`."
        ),
    ] = "last",
    detector: Annotated[
        str | None,
        typer.Option(
            help="Ranks and flags: posterior (default for classes), l2, isolation_forest, loss, ... or module:Class."
        ),
    ] = None,
    detectors: DetectorsOption = None,
    contamination: Annotated[str, typer.Option(help='Share to flag, in (0, 0.5], or "auto".')] = "auto",
    hold_classes: Annotated[
        bool, typer.Option("--hold-classes", help="Every given class loses the same share of its samples.")
    ] = False,
    groups: Annotated[
        str | None, typer.Option(help="Column of groups, each of which loses the same share of its samples.")
    ] = None,
    projection: ProjectionOption = 512,
    per_layer: PerLayerOption = False,
    batch_size: BatchSizeOption = "auto",
    shard_size: ShardSizeOption = 2048,
    precision: PrecisionOption = "float32",
    seed: Annotated[int, typer.Option(help="Seed of projections and detectors.")] = 0,
    trajectory: Annotated[
        Path | None, typer.Option(help="What a Recorder has saved: adds scores averaged along training.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a whole run directory.")] = False,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Scores every training sample and writes a run directory with the table and the report.

    A transformers model: **gradsift audit --model DIR --data reviews.parquet --text text --label label -o runs/x**

    A LoRA adapter: **gradsift audit --model DIR --data chats.jsonl --messages messages --layers all -o runs/x**

    Your own model: **gradsift audit --model my.model:make --weights model.safetensors --data train.parquet -o runs/x**

    Any framework: **gradsift audit --predictions predictions.npz --data train.csv --out-of-fold -o runs/x**

    A run that was killed resumes when the same command is given again.
    """
    if config is not None:
        given = [name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"]  # type: ignore[union-attr]  # it has one for every parameter
        others = sorted(set(given) - {"config", "output", "overwrite", "as_json", "trust_run", "trust"})
        if others:
            flags = ", ".join("--" + name.replace("_", "-") for name in others)
            raise SettingError(
                f"--config does the same again, so {flags} would be ignored: leave them out, or the --config"
            )
        source, settings = _replayed(config, Trust.given(config, trust_run, trust))
    else:
        source = Source(
            model=needed(model, "--model") if predictions is None else model,
            data=needed(data, "--data"),
            predictions=str(predictions) if predictions else None,
            out_of_fold=out_of_fold,
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
            trajectory=str(trajectory) if trajectory else None,
            groups=groups,
        )
        values: dict[str, Any] = {
            "layers": patterns(layers),
            "detector": detector,
            "detectors": detectors.split(",") if detectors else None,
            "contamination": number(contamination, "--contamination", float),
            "hold_classes": hold_classes,
            "projection": projection,
            "projection_per_layer": per_layer,
            "batch_size": number(batch_size, "--batch-size", int),
            "shard_size": shard_size,
            "precision": precision,
            "seed": seed,
        }
        settings = AuditSettings.from_dict(values)
    with resumable("the audit"):
        result = run_audit(source, settings, output, overwrite)
    if as_json:
        print_json(summary(result))
        return
    show(result)


def run_audit(source: Source, settings: AuditSettings, output: Path, overwrite: bool) -> Audit:
    """Loads what the source names and audits it.

    Args:
        source: Model and data.
        settings: Settings.
        output: Run directory.
        overwrite: Whether a whole one may be replaced.

    Returns:
        The audit.
    """
    if source.predictions is not None:
        return audit_files(source, settings, output, overwrite)
    model, loaded, task = source.load()
    return audit_data_set(
        model,
        loaded.dataset,
        task=task,
        class_names=loaded.class_names,
        output=output,
        overwrite=overwrite,
        trajectory=source.trajectory,
        groups=load_column(source.data, source.groups) if source.groups else None,
        source=source.to_dict() | {"feature_names": loaded.feature_names, "left_out": loaded.left_out},
        **settings.to_dict(),
    )


def summary(result: Audit) -> dict[str, Any]:
    """What ``--json`` prints.

    Args:
        result: The audit.

    Returns:
        Plain values.
    """
    return {
        "run": str(result.run.path),
        "samples": len(result),
        "flagged": len(result.flagged),
        "contamination": result.details["contamination"],
        "coverage": result.details["coverage"],
        "data_fingerprint_covers": result.details["data_fingerprint_covers"],
        "warnings": result.warnings,
        "worst": result.worst(10).select(["position", "id", "score", "reason"]).to_pylist(),
    }


def show(result: Audit) -> None:
    """Prints an audit for a person.

    Args:
        result: The audit.
    """
    say(f"Gradients: {result.details['coverage']}.")
    covered = result.details["data_fingerprint_covers"]
    if covered != "all samples":
        say(f"Data fingerprint: {covered}. Changes of the others go unnoticed when the run is resumed or trimmed.")
    for first in (True, False):
        for notice in result.notices:
            if notice.first == first:
                say(f"Warning: {notice.words}", "yellow")
        if first:
            say(result.cut, "bold")
    rows = [
        {
            "rank": str(row["rank"]),
            "position": str(row["position"]),
            "score": f"{row['score']:.4g}",
            "reason": row["reason"],
        }
        for row in result.worst(5).to_pylist()
    ]
    print_table(rows, "The worst samples")
    path = result.run.path
    say(f"Table: {path / 'scores.parquet'}\nReport: {path / 'report.html'}")


def _replayed(config: Path, trust: Trust) -> tuple[Source, AuditSettings]:
    """What a configuration asks for; its detectors may be code, too."""
    saved = read_config(config)
    settings = AuditSettings.from_dict(saved.get("settings", {}))
    source = Source.from_config(saved.get("source", {}), trust)
    for name in {settings.detector, *(settings.detectors or ())} - {None}:
        if ":" in str(name):
            trust.check(str(name), "detector")
    return source, settings
