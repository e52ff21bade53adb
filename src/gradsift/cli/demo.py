"""``gradsift demo``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
import torch
import typer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gradsift import demo as recipe
from gradsift import evaluation
from gradsift.cli.audit import run_audit, show, summary
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.options import JsonOption
from gradsift.cli.source import Source
from gradsift.report import write_report
from gradsift.settings import AuditSettings
from gradsift.writing import new_file


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for data, weights and the run.")] = Path(
        "runs/demo"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the retraining.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """The whole job on scikit-learn's digits with 10 % flipped labels, about a minute on a laptop.

    Trains a small network, audits it, retrains it with controls, and writes the report. What it writes can be used with
    the other commands, such as **gradsift trim runs/demo/run -o clean.npz**
    """
    # So small a network gains nothing from a second thread, and on a busy machine threads that wait for each other crawl.
    torch.set_num_threads(1)
    train_set, test_set = recipe.load()
    model = recipe.train((train_set["x"], train_set["label"]), seed=0)
    _write_arrays(output / "train.npz", {key: train_set[key] for key in ("x", "label")})
    _write_arrays(output / "test.npz", test_set)
    with new_file(output / "model.safetensors", replaces=_is_demo_model) as file:
        save_file(model.state_dict(), file)
    source = Source(
        model="gradsift.demo:make_model", weights=str(output / "model.safetensors"), data=str(output / "train.npz")
    )
    wrong = train_set["label"] != train_set["true_label"]
    if not as_json:
        say(f"{len(wrong):,} digits, {int(wrong.sum())} with a flipped label; a small network is trained on them.")
    result = run_audit(source, AuditSettings(), output / "run", overwrite=True)
    loaded = source.load_data().dataset
    verification = evaluation.verify(
        recipe.train,
        loaded,
        result,
        source.load_data(output / "test.npz").dataset,
        evaluation.accuracy,
        seeds=seeds,
        true_labels=train_set["true_label"],
    )
    result.run.write_json("verify.json", verification.to_dict())
    page = write_report(result, result.run.path / "report.html", loaded, verification)
    precision = float(wrong[result.flagged_positions].mean()) if len(result.flagged_positions) else 0.0
    recall = float(wrong[result.flagged_positions].sum() / wrong.sum())
    if as_json:
        quality = {"precision": precision, "recall": recall, "detection": evaluation.detection(result, wrong)}
        print_json(summary(result) | quality | {"verification": verification.to_dict(), "report": str(page)})
        return
    show(result)
    say(f"Of the flagged digits {100 * precision:.0f} % are flipped; {100 * recall:.0f} % of all flips are found.")
    print_table(verification.rows(), "Test accuracy (%), retrained with controls")
    say(verification.sentence(), "bold")
    say(verification.oracle_sentence() or "")
    say(f"Open {page.resolve()} in a browser.")


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays; an earlier demo has written the same ones."""
    with new_file(path, replaces=lambda earlier: _same(earlier, arrays)) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are no keywords of savez


def _same(path: Path, arrays: Mapping[str, np.ndarray]) -> bool:
    try:
        with np.load(path, allow_pickle=False) as earlier:
            return set(earlier) == set(arrays) and all(np.array_equal(earlier[name], arrays[name]) for name in arrays)
    except (OSError, ValueError, EOFError, BadZipFile):
        return False


def _is_demo_model(path: Path) -> bool:
    """Whether weights are those of an earlier demo, by their names and shapes."""
    try:
        with safe_open(path, framework="pt") as weights:
            shapes = {name: list(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return False
    return shapes == {name: list(values.shape) for name, values in recipe.make_model().state_dict().items()}
