"""``gradsift correct``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from gradsift.cleaning.corrected import apply
from gradsift.cleaning.corrected_file import write_corrected
from gradsift.cleaning.cure import Cure
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.reviewed import Reviewed
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.next_step import verify_command
from gradsift.cli.options import PLACE, JsonOption, RunArgument, TableOption
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.evaluation import choose_cure
from gradsift.imports import import_function
from gradsift.locations import as_location, is_inside, refuse_unwritable
from gradsift.result import Audit
from gradsift.trajectory import read_trajectory
from gradsift.writing import new_file

UNPROVEN = "Whether this helps is not proven: train with and without it."
"""What is said of a cure that the user names."""


def correct(
    run: RunArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar=PLACE, help="New file or folder of the same kind as the data.")
    ],
    how: Annotated[
        str,
        typer.Option(
            help="drop, relabel, soft, weight, reviewed (only what people decided) or none; auto chooses by held-out "
            "samples, and may choose none."
        ),
    ] = "auto",
    share: Annotated[
        float | None, typer.Option(help="Share of samples to drop or relabel. Default: the flagged samples.")
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="With auto: import path of train(dataset, *, seed) -> model, whose trainings choose the cure."
        ),
    ] = None,
    trainings: Annotated[int, typer.Option(min=1, help="With auto: most trainings.")] = 12,
    folds: Annotated[int, typer.Option(min=2, help="With auto: number of folds.")] = 4,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="With auto: the model's body was not trained on these labels.")
    ] = False,
    table: TableOption = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a corrected training set as a new file: samples relabelled, dropped, softened or weighted.

    The data that were audited do not change. New labels replace the old ones, which move to the column
    gradsift_given_label. Soft targets stand in gradsift_target, weights in gradsift_weight. Decisions of people, from
    **gradsift review** or in an edited table (--table), stand above the model's.

    For example: **gradsift correct runs/x -o better.parquet --how relabel**
    """
    place = as_location(output)
    if is_inside(place, as_location(run)):
        raise DataError(f"{output} lies in the run directory, which may be replaced: choose another place")
    refuse_unwritable(place)
    _refuse_unused(how, share, train, frozen=frozen)
    train_function = None if train is None else import_function(train, "--train", "dataset", seed=0)
    audit = Audit.open(run, table=table)
    source = Source.from_config(
        audit.run.config.get("source", {}), Trust.given(as_location(run) / "config.yaml", trust_run, trust)
    )
    pretrained = source.load_pretrained() if train is not None and source.is_pretrained else None
    data = source.load_data_of(audit) if pretrained is None else source.load_data(pretrained=pretrained).dataset
    samples = audit.samples_of(data)
    trajectory = source.trajectory if how in ("soft", "auto") else None
    choice, reviewed = None, Reviewed.of(audit, samples, label=source.label)
    if how == "auto":
        choice = choose_cure(
            audit, samples.source, train_fn=train_function, trainings=trainings, folds=folds, frozen=frozen,
            trajectory=trajectory, reviewed=reviewed,
        )  # fmt: skip
        cure, proof = reviewed.over(choice.cure), choice.sentence()
    else:
        cure = cure_of(audit, how, share=share, trajectory=read_trajectory(trajectory), reviewed=reviewed)
        proof = "" if how == "none" else UNPROVEN
    _write(cure, samples, source, output, audit.class_names)
    changed = len(cure.changed)
    if as_json:
        summary = {"how": cure.how, "changed": changed, "kept": len(cure.kept), "output": str(output), "words": proof}
        print_json(summary | ({} if choice is None else {"choice": choice.to_dict()}))
        return
    if choice is not None and choice.comparisons:
        print_table([comparison.row() for comparison in choice.comparisons], "Held out, against no change")
    say(f"{cure.name}: {changed:,} of {len(audit):,} samples change, in {output}; {source.data} is as it was.")
    say(proof, "bold")
    if choice is None and how != "none":
        say(f"Next: {verify_command(run, audit.run.config['source'], how)}")


def _refuse_unused(how: str, share: float | None, train: str | None, *, frozen: bool) -> None:
    """Refuses options that the cure would not read."""
    if how != "auto" and (train is not None or frozen):
        raise SettingError(f"--{'train' if train else 'frozen'} belongs to --how auto; given --how {how}")
    if how == "auto" and share is not None:
        raise SettingError("--how auto chooses the share itself: leave --share out, or name a cure")


def _write(cure: Cure, samples: Samples, source: Source, output: str, class_names: Sequence[str] | None) -> None:
    """Writes the corrected training set: a file of the same kind as the data, or a Parquet file of a hub's data set."""
    rows, place = samples.raw.source, as_location(output)
    if not callable(getattr(rows, "to_parquet", None)):
        write_corrected(source.data, cure, output, label=source.label)
        return
    if place.suffix != ".parquet":
        raise DataError(f"{place.name} must be a .parquet file: name it *.parquet")
    corrected = apply(cure, rows, label=source.label, class_names=class_names)
    with new_file(place) as aside:
        Samples(corrected).source.to_parquet(aside)
