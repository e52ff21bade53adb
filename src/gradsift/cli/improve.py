"""``gradsift improve``."""

from __future__ import annotations

from typing import Annotated

import typer
from safetensors.torch import save_file
from torch import nn

from gradsift import improve as job
from gradsift.cleaning.corrected_file import write_corrected
from gradsift.cli.console import print_json, print_table, resumable, say
from gradsift.cli.options import PLACE, JsonOption
from gradsift.cli.predictions import read_array
from gradsift.data.files import load, load_column
from gradsift.errors import DataError
from gradsift.imports import import_function
from gradsift.locations import Location, as_location
from gradsift.progress import announce
from gradsift.store.checksums import from_json
from gradsift.writing import always, new_file, remove


def improve(
    data: Annotated[
        str, typer.Option(metavar=PLACE, help="Training set: .parquet, .csv, .jsonl, .npz, or a folder of images.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar=PLACE, help="Folder of all results; the same command resumes.")
    ],
    train: Annotated[str | None, typer.Option(help="Import path of train(dataset, *, seed) -> model.")] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar=PLACE,
            help="Features of a frozen model, .npy, one row a sample: heads on them give the evidence. Where left out, "
            "inputs that look like such features are used; none turns this off.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar=PLACE, help="Test set of the same layout. Only the proof reads it; without it there is no proof."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column or array of labels; where left out, one with a usual name such as label.")
    ] = None,
    ignore: Annotated[str | None, typer.Option(help="Columns to leave out of the features, with commas.")] = None,
    transform: Annotated[
        str | None, typer.Option(help="Import path: from a Pillow image to a tensor. Default: RGB in [0, 1].")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column of groups. All samples of a group stay in one fold.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Import path of metric(model, test_set) -> float; accuracy in percent by default.")
    ] = "gradsift:accuracy",
    trainings: Annotated[
        int,
        typer.Option(
            min=0,
            help="Most that evidence and choice cost, in trainings on all samples. With 0, heads on the features choose.",
        ),
    ] = 12,
    folds: Annotated[
        int,
        typer.Option(
            min=2, help="Parts of the data. With fewer than 4, cures have seen the labels they are compared on."
        ),
    ] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the proof; each trains once for each arm.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and trainings.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Improves a training set, trains on it and proves the gain; changes nothing where held-out samples see no gain.

    The folder gets the better data set (better.parquet for a .parquet), report.html with what was changed, result.json,
    the audit, and model.safetensors of a torch model.

    For example: **gradsift improve --train my.training:train --data train.parquet --test test.parquet -o runs/better**
    """
    train_function = None if train is None else import_function(train, "--train", "dataset", seed=0)
    metric_function = import_function(metric, "--metric", "model", "test_set")
    folder = as_location(output)
    better = folder / f"better{as_location(data).suffix}"
    if as_location(data).resolve() == better.resolve():
        raise DataError(f"{data} is what an improvement in {output} would write: choose another folder")
    ignored = [*(ignore.split(",") if ignore else []), *([groups] if groups else [])]
    to_tensor = None if transform is None else import_function(transform, "--transform", "image")
    loaded = load(data, label=label, transform=to_tensor, ignore=ignored)
    tested = None if test is None else load(test, label=label, transform=to_tensor, ignore=ignored, like=loaded).dataset
    former = _digest_of_former(folder / "result.json")
    with resumable("the trainings"):
        result = job(
            train_function, loaded.dataset, tested, metric=metric_function, trainings=trainings, folds=folds,
            features=False if features == "none" else None if features is None else read_array(features),
            seeds=seeds, seed=seed,
            groups=None if groups is None else load_column(data, groups), class_names=loaded.class_names, output=folder,
            tell=announce,
        )  # fmt: skip
    if former is not None and former != result.choice.cure.digest.hex():
        remove(better)  # people have decided more since it was written
    if result.choice.cure.how != "none" and not better.exists():
        write_corrected(data, result.choice.cure, better, label=label)
    if isinstance(result.model, nn.Module):
        with new_file(folder / "model.safetensors", replaces=always) as aside:
            save_file({name: value.contiguous() for name, value in result.model.state_dict().items()}, aside)
    if as_json:
        print_json(result.to_dict())
        return
    if result.choice.comparisons:
        print_table([comparison.row() for comparison in result.choice.comparisons], "Cures beside no change")
    if result.proof is not None:
        print_table(result.proof.rows(), "Retrained with controls")
    say(result.sentence(), "bold")
    say(f"The page: {folder / 'report.html'}" + (f"; the data: {better}" if better.exists() else ""))
    if (folder / "audit").is_dir():
        say(f"Next: gradsift show {folder / 'audit'} lists the samples that are probably wrong")


def _digest_of_former(result: Location) -> str | None:
    """What tells the cure of an earlier call in the same folder; ``None`` where there is none, or it cannot be read."""
    try:
        return from_json(result.read_bytes().decode()).get("cure_digest")
    except (OSError, ValueError):
        return None
