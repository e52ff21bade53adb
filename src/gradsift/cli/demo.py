"""``gradsift demo``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
import torch
import typer

from gradsift import demo as recipe
from gradsift import evaluation
from gradsift.cli.audit import run_audit, show, summary
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.options import JsonOption
from gradsift.cli.source import Source
from gradsift.evaluation import Verification
from gradsift.evidence import cross_fit
from gradsift.locations import Location, local_copy
from gradsift.report import write_report
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.writing import new_file


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for data, predictions and the run.")] = Path(
        "runs/demo"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the retraining.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """The whole job on scikit-learn's digits, a quarter of them with a wrong label, in under a minute on a laptop.

    Cross-fits a small network that memorises its labels, audits what its four trainings say of the samples that they have
    not seen, retrains without what is flagged and on soft targets, with controls, and writes the report. What it writes can
    be used with the other commands, such as **gradsift trim runs/demo/run -o clean.npz**
    """
    # So small a network gains nothing from a second thread, and on a busy machine threads that wait for each other crawl.
    torch.set_num_threads(1)
    train_set, test_set = recipe.load()
    wrong = train_set["label"] != train_set["true_label"]
    if not as_json:
        say(
            f"{len(wrong):,} digits; {int(wrong.sum())} of them were given a wrong label at random. A small network, which "
            "memorises such labels, is trained four times, each time without a quarter of the digits."
        )
    _write_arrays(output / "train.npz", {key: train_set[key] for key in ("x", "label")})
    _write_arrays(output / "test.npz", test_set)
    evidence = cross_fit(recipe.train, (train_set["x"], train_set["label"]))
    with new_file(output / "predictions.npz", replaces=_has_predictions) as file:
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
        arms=["drop", "soft"],
        controls=["random drop", "smoothing 0.1"],
        seeds=seeds,
        true_labels=train_set["true_label"],
    )
    result.run.write_json("verify.json", verification.to_dict())
    page = write_report(result, result.run.path / "report.html", loaded, verification)
    _tell(result, verification, wrong, page, as_json)


def _tell(result: Audit, verification: Verification, wrong: np.ndarray, page: Location, as_json: bool) -> None:
    """Prints what was found and gained; last the figure, and where the page lies."""
    precision = float(wrong[result.flagged_positions].mean()) if len(result.flagged_positions) else 0.0
    recall = float(wrong[result.flagged_positions].sum() / wrong.sum())
    if as_json:
        quality = {"precision": precision, "recall": recall, "detection": evaluation.detection(result, wrong)}
        print_json(summary(result) | quality | {"verification": verification.to_dict(), "report": str(page)})
        return
    show(result)
    say(f"Of the flagged digits {100 * precision:.0f} % are wrong; {100 * recall:.0f} % of all wrong ones are found.")
    print_table(verification.rows(), "Test accuracy (%), retrained with controls")
    say(verification.sentence("soft"))
    say(verification.oracle_sentence() or "")
    before, after = (verification.estimate(arm).mean for arm in ("no change", "drop"))
    say(f"Before {before:.1f} %, after {after:.1f} %. {verification.sentence('drop')}", "bold")
    say(f"Open {page.resolve()} in a browser.")


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays; an earlier demo has written the same digits, perhaps with other labels."""
    with new_file(path, replaces=lambda earlier: _same_digits(earlier, arrays)) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are no keywords of savez


def _same_digits(path: Location, arrays: Mapping[str, np.ndarray]) -> bool:
    earlier = _read(path)
    return earlier.keys() == arrays.keys() and np.array_equal(earlier["x"], arrays["x"])


def _has_predictions(path: Location) -> bool:
    """Whether a file is what an earlier demo has written: probabilities of ten digits, and nothing else."""
    earlier = _read(path)
    return earlier.keys() == {"probabilities"} and earlier["probabilities"].shape[1:] == (10,)


def _read(path: Location) -> dict[str, np.ndarray]:
    """The arrays of a file; none where it is something else."""
    try:
        with np.load(local_copy(path), allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, BadZipFile, TypeError):
        return {}
