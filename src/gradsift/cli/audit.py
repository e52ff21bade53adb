"""``gradsift audit``."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer

from gradsift.audit import audit as audit_data_set
from gradsift.audit import audit_part
from gradsift.cli.commands import ABOVE
from gradsift.cli.console import print_json, resumable, say
from gradsift.cli.limit import FailAboveOption, Verdict, given_share, read_limit
from gradsift.cli.next_step import correct_command, merge_command, trusting
from gradsift.cli.options import PLACE, JsonOption, Options, flag, with_options
from gradsift.cli.predictions import audit_files
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.cli.worst import print_worst
from gradsift.data import Samples
from gradsift.data.files import Loaded, load_column
from gradsift.engines import EngineSettings, Part
from gradsift.errors import SettingError
from gradsift.fields import ranges_of
from gradsift.jobs import PartDone
from gradsift.locations import Location, as_location
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.store.configuration import read_config
from gradsift.store.unfinished import refuse_before_work


@with_options(Source, AuditSettings, EngineSettings)
def audit(
    options: Options,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar=PLACE, help="Run directory to write, such as runs/x.")
    ],
    config: Annotated[str | None, typer.Option(metavar=PLACE, help="config.yaml of a run: repeats that run.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run directory where it is there already.")
    ] = False,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    fail_above: FailAboveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scores every training sample and writes a run directory with the table and the report.

    A transformers model: **gradsift audit --model DIR --data reviews.parquet --text text --label label -o runs/x**

    A LoRA adapter: **gradsift audit --model DIR --data chats.jsonl --messages messages --layers all -o runs/x**

    Your own model: **gradsift audit --model my.model:make --weights model.safetensors --data train.parquet -o runs/x**

    Any framework: **gradsift audit --predictions predictions.npz --data train.csv --out-of-fold -o runs/x**

    Many machines: **--part 17/256** in each job of an array, then **gradsift merge runs/x**; or **--engine ray --address
    HOST:6379**.

    To resume a killed run, give the same command again.
    """
    engine = options.make(EngineSettings)
    typed = sorted(set(options.typed) - {flag(name) for name in ranges_of(EngineSettings)})
    limit = read_limit(fail_above)
    if config is None:
        source, settings = options.make(Source), options.make(AuditSettings)
    elif typed:
        flags = ", ".join(typed)
        raise SettingError(
            f"--config repeats a run with its own settings, so {flags} would be ignored: leave out these, or --config"
        )
    else:
        source, settings = _replayed(config, Trust.given(as_location(config), trust_run, trust))
    if limit is not None and given_share(settings.to_dict()):
        raise SettingError("--fail-above judges the share that the audit finds: leave --contamination at auto")
    if limit is not None and engine.part is not None:
        raise SettingError("--fail-above judges a whole audit: give it to gradsift show, once the parts are merged")
    refuse_before_work(as_location(output), overwrite)
    if engine.part is not None:
        with resumable("the part"):
            _show_part(run_part(source, settings, output, overwrite, Part.read(engine.part)), source, as_json)
        return
    with resumable("the audit"):
        result = run_audit(source, settings, output, overwrite, engine)
    present(result, source, limit, as_json)


def run_audit(
    source: Source,
    settings: AuditSettings,
    output: str | Location,
    overwrite: bool,
    engine: EngineSettings | None = None,
) -> Audit:
    """Loads what the source names and audits it.

    Args:
        source: Model and data.
        settings: Settings.
        output: Run directory.
        overwrite: Whether a whole one may be replaced.
        engine: What computes the gradients; this process where left out.

    Returns:
        The audit.
    """
    engine = engine or EngineSettings()
    if source.predictions is not None:
        if engine.engine != "local":
            raise SettingError("--predictions needs no model and so no engine: leave --engine out")
        return audit_files(source, settings, output, overwrite)
    runs = engine.make(Loading(source))
    model, loaded, task = source.load()
    return audit_data_set(
        model,
        loaded.dataset,
        task=task,
        class_names=loaded.class_names,
        output=output,
        overwrite=overwrite,
        engine=runs,
        trajectory=source.trajectory,
        groups=load_column(source.data, source.groups) if source.groups else None,
        test_set=source.load_test(loaded),
        source=_on_record(source, loaded),
        **settings.to_dict(),
    )


def run_part(source: Source, settings: AuditSettings, output: str, overwrite: bool, part: Part) -> PartDone:
    """Loads what the source names and computes one part.

    Args:
        source: Model and data.
        settings: Settings.
        output: Run directory of all parts.
        overwrite: Refused.
        part: Which part.

    Returns:
        What was done.

    Raises:
        SettingError: There are predictions instead of a model, or a whole run shall be replaced.
    """
    if source.predictions is not None or overwrite:
        raise SettingError(
            "--part computes gradients of a model into a new run: leave --predictions and --overwrite out"
        )
    model, loaded, task = source.load()
    return audit_part(
        model,
        loaded.dataset,
        (part.number, part.count),
        output=output,
        task=task,
        trajectory=source.trajectory,
        class_names=loaded.class_names,
        source=_on_record(source, loaded),
        **settings.to_dict(),
    )


@dataclass(frozen=True)
class Loading:
    """Loads what a source names, in a worker on whatever machine.

    Attributes:
        source: Model and data.
        folder: Where the command was given.
    """

    source: Source
    folder: str = field(default_factory=os.getcwd)

    def __call__(self) -> tuple[Any, Any, Any]:
        """Model, data set and task; the paths of the source are as in the folder where the command was given."""
        with contextlib.suppress(OSError):  # a folder that this machine has not; absolute paths do without
            os.chdir(self.folder)
        model, loaded, task = self.source.load()
        return model, loaded.dataset, task


def present(result: Audit, source: Source, limit: float | None, as_json: bool) -> None:
    """Prints a new audit.

    Args:
        result: The audit.
        source: Where its data come from.
        limit: The largest share that is no failure.
        as_json: Whether it is printed as JSON.

    Raises:
        Exit: With code 3, where the share lies above the limit.
    """
    verdict = Verdict.of(result, limit)
    if as_json:
        print_json(summary(result, verdict))
    else:
        tell(result, warned=True)
        print_worst(result, 5, None if result.train_set is None else Samples(result.train_set))
        path = result.run.path
        say(f"Table: {path / 'scores.parquet'}\nReport: {path / 'report.html'}")
        if limit is not None:
            say(verdict.sentence(), "bold")
        named = source.to_dict()
        say(f"Next: gradsift show {shlex.quote(str(path))}{trusting(named)}, or {correct_command(path, named)}")
    if verdict.failed:
        raise typer.Exit(ABOVE)


def summary(result: Audit, verdict: Verdict, worst: int = 10) -> dict[str, Any]:
    """What ``--json`` prints.

    Args:
        result: The audit.
        verdict: How its share compares with a limit.
        worst: How many samples are listed.

    Returns:
        Plain values.
    """
    columns = [
        "position",
        "id",
        "given_label",
        "suggested_label",
        "wrong_probability",
        "score",
        "reason_kind",
        "reason",
    ]
    rows = result.worst(worst, previews=False)
    return {
        "run": str(result.run.path),
        "samples": len(result),
        "flagged": len(result.flagged_positions),
        "contamination": result.details.get("contamination"),
        **verdict.to_dict(),
        "coverage": result.details.get("coverage"),
        "data_fingerprint_covers": result.details.get("data_fingerprint_covers", "unknown"),
        "warnings": result.warnings,
        "findings": [{"kind": one.kind, "samples": len(one), "words": one.words} for one in result.findings],
        "worst": rows.select([name for name in columns if name in rows.column_names]).to_pylist(),
    }


def tell(result: Audit, warned: bool = False) -> None:
    """Prints what an audit has found, with what to beware of.

    Args:
        result: The audit.
        warned: Whether the audit was made just now, so that its warnings stand in the terminal already.
    """
    say(f"Gradients: {result.details.get('coverage', 'unknown')}.")
    covered = result.details.get("data_fingerprint_covers", "unknown")
    if covered != "all samples":
        say(f"Data fingerprint: {covered}. Changes of the others go unnoticed when the run is resumed or trimmed.")
    for first in (True, False):
        for notice in result.notices:
            if notice.first == first and not warned:
                say(f"Warning: {notice.words}", "yellow")
        if first:
            say(result.cut, "bold")
    if result.findings:
        say("Besides labels:", "bold")
    for finding in result.findings:
        say(f"  {finding.words}")


def _on_record(source: Source, loaded: Loaded) -> dict[str, Any]:
    """What ``config.yaml`` says of the source."""
    return source.to_dict() | {"feature_names": loaded.feature_names, "left_out": loaded.left_out}


def _show_part(done: PartDone, source: Source, as_json: bool) -> None:
    """Prints what a part has done."""
    share = done.share
    if as_json:
        rows = [done.rows.start, done.rows.stop]
        print_json({"part": done.part, "rows": rows, "run": str(done.output), **asdict(share)})
        return
    say(
        f"Part {done.part} is done: {share.shards:,} shards with {share.samples:,} samples, {share.computed:,} of them "
        f"computed now, in {share.seconds:.1f} seconds. When all parts are done: "
        f"{merge_command(done.output, source.to_dict())}"
    )


def _replayed(config: str, trust: Trust) -> tuple[Source, AuditSettings]:
    """What a configuration asks for; its detectors may be code, too."""
    saved = read_config(config)
    settings = AuditSettings.from_dict(saved.get("settings", {}))
    source = Source.from_config(saved.get("source", {}), trust)
    for name in {settings.detector, *(settings.detectors or ())} - {None}:
        if ":" in str(name):
            trust.check(str(name), "detector")
    return source, settings
