"""``gradsift verify``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from gradsift import evaluation
from gradsift.cli.console import print_json, print_table, resumable, say
from gradsift.cli.options import PLACE, JsonOption, RunArgument, TableOption
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load_column
from gradsift.errors import DataError
from gradsift.evaluation.arms import CONTROLS, Asked
from gradsift.imports import import_function
from gradsift.locations import as_location, refuse_unwritable
from gradsift.report import write_report
from gradsift.result import Audit


def verify(
    run: RunArgument,
    train: Annotated[str, typer.Option(help="Import path of train(dataset, *, seed) -> model.")],
    test: Annotated[str, typer.Option(metavar=PLACE, help="Test set, of the same layout as the training set.")],
    metric: Annotated[
        str, typer.Option(help="Import path of metric(model, test_set) -> float; accuracy in percent by default.")
    ] = "gradsift:accuracy",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds; each trains once for each arm.")] = 5,
    arms: Annotated[
        list[str] | None,
        typer.Option("--arm", help="drop, relabel, soft or weight; may be given several times. drop where left out."),
    ] = None,
    reviewed: Annotated[
        str | None,
        typer.Option(
            metavar=PLACE,
            help="Table of the run that a person has edited. Adds an arm that drops the samples flagged in it.",
        ),
    ] = None,
    controls: Annotated[
        list[str] | None,
        typer.Option(
            "--control", help=f"Which controls may run: {', '.join(CONTROLS)}. Default: all that the arms need."
        ),
    ] = None,
    true_labels: Annotated[
        str | None, typer.Option(help="Column or array of the data file with true labels: adds the oracles.")
    ] = None,
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="The metric is a loss.")] = False,
    table: TableOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrains with controls and says whether a cure of the training set helps.

    Trains on each arm, on the data as they are, and on controls. The control of a drop is a random drop of the same size;
    those of soft targets are label smoothing and self-distillation. With --true-labels, oracles drop or correct all wrong
    labels. Soft targets and weights need a train function that declares them: train.accepts = {"soft", "weight"}. Finished
    trainings are kept in the run directory: the same command resumes, and an added arm uses them again.

    For example: **gradsift verify runs/x --train my.training:train --test test.parquet --arm drop --arm soft**
    """
    train_function = import_function(train, "--train", "dataset", seed=0)
    metric_function = import_function(metric, "--metric", "model", "test_set")
    place = as_location(run)
    refuse_unwritable(place)
    audit = Audit.open(run, table=table)
    source = Source.from_config(
        audit.run.config.get("source", {}), Trust.given(place / "config.yaml", trust_run, trust)
    )
    pretrained = source.load_pretrained() if source.is_pretrained else None
    loaded = source.load_data(pretrained=pretrained)
    with resumable("the trainings"):
        result = evaluation.verify(
            train_function,
            loaded.dataset,
            audit,
            source.load_data(test, like=loaded, pretrained=pretrained).dataset,
            metric_function,
            arms=_arms(arms, run, reviewed),
            controls=controls,
            seeds=seeds,
            true_labels=_true_labels(source, true_labels, loaded.class_names) if true_labels else None,
            higher_is_better=not lower_is_better,
            trajectory=source.trajectory if "soft" in (arms or ()) else None,
            output=place / "verify.jsonl",
        )
    if table is None:  # the run's report tells of the run's own table
        audit.run.write_json("verify.json", result.to_dict())
        write_report(audit, place / "report.html", loaded.dataset, result)
    if as_json:
        print_json(result.to_dict())
        return
    print_table(result.rows(), "Retrained with controls")
    for judged in result.judged:
        say(result.sentence(judged.arm), "bold")
    say(result.oracle_sentence() or "")


def _arms(kinds: list[str] | None, run: str, reviewed: str | None) -> Asked:
    """What is in question; the reviewed table alone where nothing else is named."""
    named = kinds if kinds is not None else [] if reviewed is not None else ["drop"]
    return [*named, *([] if reviewed is None else [("reviewed", Audit.open(run, table=reviewed))])]


def _true_labels(source: Source, column: str, class_names: list[str] | None) -> np.ndarray:
    values = load_column(source.data, column)
    if values.dtype.kind in "OUS" and class_names is not None:
        places = {name: place for place, name in enumerate(class_names)}
        unknown = sorted({str(value) for value in values} - places.keys())
        if unknown:
            raise DataError(
                f"true labels {unknown[:5]} are not among the classes of the given labels: use the same names"
            )
        return np.asarray([places[str(value)] for value in values])
    return values
