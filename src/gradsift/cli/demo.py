"""``gradsift demo``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
import torch
import typer

from gradsift import evaluation
from gradsift.cli.audit import run_audit, summary, tell
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.demo_texts import audit_texts
from gradsift.cli.limit import Verdict
from gradsift.cli.options import JsonOption
from gradsift.cli.source import Source
from gradsift.cli.worst import print_worst
from gradsift.data import Samples
from gradsift.demo import cancer, digits
from gradsift.errors import SettingError
from gradsift.evaluation import Verification
from gradsift.evidence import cross_fit
from gradsift.locations import Location, local_copy
from gradsift.report import write_report
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.writing import new_file

NEXT = (
    "Next, for your own model: gradsift improve --train my.module:train --data train.parquet --test test.parquet "
    "-o runs/better"
)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """A data set with wrong labels, and a training that memorises them.

    Attributes:
        load: Gives training and test arrays.
        train: ``train(dataset, *, seed) -> model``.
        things: What the samples are.
        words: What happens, with ``{count}`` and ``{wrong}``.
        arms: Cures that are tried.
        controls: What they are compared with, beside no change.
    """

    load: Callable[[], tuple[Arrays, Arrays]]
    train: Callable[..., Any]
    things: str
    words: str
    arms: tuple[str, ...]
    controls: tuple[str, ...]


DIGITS = Recipe(
    digits.load,
    digits.train,
    "digits",
    "{count:,} digits; {wrong} of them were given a wrong label at random. A small network, which memorises such labels, "
    "is trained four times, each time without a quarter of the digits.",
    ("drop", "soft"),
    ("random drop", "smoothing 0.1"),
)
TABLE = Recipe(
    cancer.load,
    cancer.train,
    "rows",
    "{count:,} rows of a table on breast cancer; {wrong} of them were given the other label at random. Boosted trees, "
    "which learn such labels, are fitted four times, each time without a quarter of the rows.",
    ("drop", "relabel"),
    ("random drop",),
)


def demo(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for data, predictions and the run; runs/demo where left out."),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="A table and boosted trees, instead of images and a network.")
    ] = False,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Texts of your own: .csv, .jsonl or .parquet with columns text and label."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the retraining.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Runs the whole job on scikit-learn's digits, a quarter with a wrong label, in under a minute on a laptop.

    Trains a small network four times, each time without a quarter of the samples, and audits its predictions for them.
    Trains again without the flagged samples, and with new labels, beside controls. Writes the report and a run that the
    other commands read: **gradsift trim runs/demo/run -o clean.npz**

    A table: **gradsift demo --table**. Texts of your own: **gradsift demo --text reviews.csv**
    """
    # So small a network gains nothing from a second thread, and on a busy machine threads that wait for each other crawl.
    torch.set_num_threads(1)
    if table and text is not None:
        raise SettingError("--table and --text are two demos: give one of them")
    if text is not None:
        audit_texts(text, output or Path("runs/demo-text"), as_json)
    elif table:
        _run(TABLE, output or Path("runs/demo-table"), seeds, as_json)
    else:
        _run(DIGITS, output or Path("runs/demo"), seeds, as_json)


def _run(recipe: Recipe, output: Path, seeds: int, as_json: bool) -> None:
    """Finds, retrains with controls, and tells what came out."""
    train_set, test_set = recipe.load()
    wrong = train_set["label"] != train_set["true_label"]
    if not as_json:
        say(recipe.words.format(count=len(wrong), wrong=int(wrong.sum())))
    _write_arrays(output / "train.npz", {key: train_set[key] for key in ("x", "label")})
    _write_arrays(output / "test.npz", test_set)
    evidence = cross_fit(recipe.train, (train_set["x"], train_set["label"]))
    with new_file(output / "predictions.npz", replaces=lambda path: _read(path).keys() == {"probabilities"}) as file:
        np.savez(file, probabilities=evidence.predictions.rows(np.arange(len(wrong))))
    source = Source(
        model=None, data=str(output / "train.npz"), predictions=str(output / "predictions.npz"), out_of_fold=True
    )
    result = run_audit(source, AuditSettings(), output / "run", overwrite=True)
    loaded = source.load_data().dataset
    verification = evaluation.verify(
        recipe.train,
        loaded,
        result,
        source.load_data(output / "test.npz").dataset,
        evaluation.accuracy,
        arms=list(recipe.arms),
        controls=list(recipe.controls),
        seeds=seeds,
        true_labels=train_set["true_label"],
    )
    result.run.write_json("verify.json", verification.to_dict())
    page = write_report(result, result.run.path / "report.html", loaded, verification)
    _tell(recipe, result, verification, wrong, page, as_json)


def _tell(
    recipe: Recipe, result: Audit, verification: Verification, wrong: np.ndarray, page: Location, as_json: bool
) -> None:
    """Prints what was found and gained; last where the page lies, and what to do with a model of one's own."""
    precision = float(wrong[result.flagged_positions].mean()) if len(result.flagged_positions) else 0.0
    recall = float(wrong[result.flagged_positions].sum() / wrong.sum())
    if as_json:
        quality = {"precision": precision, "recall": recall, "detection": evaluation.detection(result, wrong)}
        told = summary(result, Verdict.of(result, None)) | quality
        print_json(told | {"verification": verification.to_dict(), "report": str(page)})
        return
    tell(result)
    print_worst(result, 5, Samples(result.train_set))
    say(
        f"Of the flagged {recipe.things} {100 * precision:.0f} % are wrong; {100 * recall:.0f} % of all wrong ones are "
        "found."
    )
    print_table(verification.rows(), "Test accuracy (%), retrained with controls")
    for arm in recipe.arms[1:]:
        say(verification.sentence(arm))
    say(verification.oracle_sentence() or "")
    before, after = (verification.estimate(arm).mean for arm in ("no change", recipe.arms[0]))
    say(f"Before {before:.1f} %, after {after:.1f} %. {verification.sentence(recipe.arms[0])}", "bold")
    say(f"Open {page.resolve()} in a browser.")
    say(NEXT)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays; an earlier demo has written the same samples, perhaps with other labels."""
    with new_file(path, replaces=lambda earlier: _same_samples(earlier, arrays)) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are no keywords of savez


def _same_samples(path: Location, arrays: Mapping[str, np.ndarray]) -> bool:
    earlier = _read(path)
    return earlier.keys() == arrays.keys() and np.array_equal(earlier["x"], arrays["x"])


def _read(path: Location) -> Arrays:
    """The arrays of a file; none where it is something else."""
    try:
        with np.load(local_copy(path), allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, BadZipFile, TypeError):
        return {}
