"""``gradsift audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gradsift.audit import audit as audit_data_set
from gradsift.cli.console import print_json, print_table, resumable, say
from gradsift.cli.options import JsonOption, Options, with_options
from gradsift.cli.predictions import audit_files
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load_column
from gradsift.errors import SettingError
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.store.configuration import read_config


@with_options(Source, AuditSettings)
def audit(
    options: Options,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory to write, such as runs/x.")],
    config: Annotated[Path | None, typer.Option(help="config.yaml of a run: does the same again.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a whole run directory.")] = False,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scores every training sample and writes a run directory with the table and the report.

    A transformers model: **gradsift audit --model DIR --data reviews.parquet --text text --label label -o runs/x**

    A LoRA adapter: **gradsift audit --model DIR --data chats.jsonl --messages messages --layers all -o runs/x**

    Your own model: **gradsift audit --model my.model:make --weights model.safetensors --data train.parquet -o runs/x**

    Any framework: **gradsift audit --predictions predictions.npz --data train.csv --out-of-fold -o runs/x**

    A run that was killed resumes when the same command is given again.
    """
    if config is None:
        source, settings = options.make(Source), options.make(AuditSettings)
    elif options.typed:
        flags = ", ".join(options.typed)
        raise SettingError(
            f"--config does the same again, so {flags} would be ignored: leave them out, or the --config"
        )
    else:
        source, settings = _replayed(config, Trust.given(config, trust_run, trust))
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
        "flagged": len(result.flagged_positions),
        "contamination": result.details["contamination"],
        "coverage": result.details["coverage"],
        "data_fingerprint_covers": result.details["data_fingerprint_covers"],
        "warnings": result.warnings,
        "worst": result.worst(10, previews=False).select(["position", "id", "wrong_probability", "score", "reason"]).to_pylist(),
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
            **({} if row["wrong_probability"] is None else {"P(wrong)": f"{100 * row['wrong_probability']:.0f} %"}),
            "score": f"{row['score']:.4g}",
            "reason": row["reason"],
        }
        for row in result.worst(5, previews=False).to_pylist()
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
