"""How much of the gradient signal is left as a network collapses onto its labels, in which layer, at which checkpoint?

    python benchmarks/collapse_signal.py --data DIR                # Fashion-MNIST and TREC, about two hours on one core
    python benchmarks/collapse_signal.py --data DIR --set trec     # one of them
    python benchmarks/collapse_signal.py --write                   # docs/results-collapse.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``fashion_mnist/``, ``trec/`` and ``models/bert-tiny-question-clf/``. Labels are
flipped at random at three rates; a network is trained long, shuffled, without a schedule; at several epochs every layer's
gradients are audited, and the collapse of what goes into that layer is measured with the given labels, which is all that a
user has. Five seeds. Every training is one row, so a killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
from frame.command import parser_of, quiet, run_seeds
from frame.images import grey
from frame.page import interval, write_page
from frame.rows import Rows, machine
from frame.training import train_epochs
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from gradsift.curvature.vectors import flattened
from gradsift.data import Samples
from gradsift.evaluation import detection, detection_measures, flip_labels
from gradsift.geometry import alignment, collapse
from gradsift.geometry.advice import FITTED
from gradsift.geometry.spectra import spectrum
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.influence import SampleGradients
from gradsift.tasks import Classification

ROWS = Rows("collapse_signal.jsonl", key=("set", "noise", "seed"))
SEEDS, NOISE, BATCH = 5, (0.1, 0.2, 0.4), 64
EPOCHS = {"fashion": (1, 3, 8, 20, 50), "trec": (2, 4, 8, 16, 32)}
CLASSES = {"fashion": 10, "trec": 6}
DIMENSIONS = (8, 64, 512)
LAYERS = {
    "fashion": {"first convolution": "0", "second convolution": "2", "hidden linear": "5", "last linear": "7"},
    "trec": {
        "attention value, first block": "*layer.0.attention.self.value",
        "output, first block": "*layer.0.output.dense",
        "output, last block": "*layer.1.output.dense",
        "pooler": "bert.pooler.dense",
        "last linear": "classifier",
    },
}


def fashion(arguments: argparse.Namespace, noise: float, seed: int) -> tuple[nn.Module, Any, np.ndarray]:
    """A small convolutional network, 3,000 images, and which labels are wrong."""
    pixels, true = grey(arguments.data, "fashion_mnist", "train")
    chosen = np.random.default_rng([seed, 5]).choice(len(true), 3000, replace=False)
    pixels, true = pixels[chosen], true[chosen]
    given = flip_labels(true, noise, seed=seed)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return model, (torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(given)), given != true


def trec(arguments: argparse.Namespace, noise: float, seed: int) -> tuple[nn.Module, Any, np.ndarray]:
    """BERT-tiny, 1,000 questions of six kinds, and which labels are wrong."""
    table = pq.read_table(arguments.data / "trec" / "train.parquet")
    table = table.take(np.random.default_rng([seed, 5]).choice(len(table), 1000, replace=False))
    true = table["label"].to_numpy()
    given = flip_labels(true, noise, seed=seed)
    place = arguments.data / "models" / "bert-tiny-question-clf"
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        place, num_labels=6, ignore_mismatched_sizes=True, dtype=torch.float32
    )
    encoded = tokenizer(
        table["text"].to_pylist(), padding="max_length", truncation=True, max_length=24, return_tensors="pt"
    )
    return model, {**encoded, "labels": torch.from_numpy(given)}, given != true


SETS: dict[str, Callable[[argparse.Namespace, float, int], tuple[nn.Module, Any, np.ndarray]]] = {
    "fashion": fashion, "trec": trec
}  # fmt: skip


def train(model: nn.Module, data: Any, seed: int, name: str, after_epoch: Callable[[int], object]) -> None:
    """Trains, and calls with the number of each epoch that is over."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if name == "fashion" else 2e-4)

    def loss(rows: Tensor) -> Tensor:
        if isinstance(data, dict):
            return model(**{key: value[rows] for key, value in data.items()}).loss
        return functional.cross_entropy(model(data[0][rows]), data[1][rows])

    size = len(data["labels"] if isinstance(data, dict) else data[1])
    epochs = EPOCHS[name][-1]
    train_epochs(model, optimizer, loss, size, epochs=epochs, batch=BATCH, seed=seed, after_epoch=after_epoch)


def measured(model: nn.Module, data: Any, wrong: np.ndarray, name: str) -> dict[str, Any]:
    """Detection and collapse at one state of the model."""
    model.eval()
    torch.manual_seed(0)
    quiet = {"show_progress": False}
    chosen = LAYERS[name]
    seen = collapse(model, data, layers=list(chosen.values()), **quiet)
    by_name = {layer.name: layer for layer in seen.layers}
    found: dict[str, Any] = {"accuracy": seen.accuracy, "loss": seen.loss, "layers": {}}
    for title, pattern in chosen.items():
        (module,) = [one for one in by_name if one.endswith(pattern.lstrip("*"))]
        audit = gradsift.audit(model, data, layers=pattern, detector="l2", detectors=["loss"], projection=64, **quiet)
        scores = {detector: values["ap"] for detector, values in detection(audit, wrong).items()}
        found["loss_ap"] = scores["loss"]
        layer = by_name[module]
        norms = audit.table["score_l2"].to_numpy()
        found["layers"][title] = {
            "ap": scores["l2"],
            "median_norm": float(np.median(norms)),
            "norm_ratio": float(norms[wrong].mean() / norms[~wrong].mean()),
            "variability": layer.variability,
            "variability_squared": layer.variability_squared,
            "frame": layer.frame,
            "simplex": layer.simplex,
            "nearest_mean_given": layer.nearest_mean_given,
            "nearest_mean": layer.nearest_mean,
            "duality": layer.duality_simplex,
        }
    found["dimensions"] = {}
    labels = (data["labels"] if isinstance(data, dict) else data[1]).numpy()
    for layers in ("last", "all"):
        pattern = layers if layers == "all" else [f"{list(by_name)[-1]}.*"]
        for dimension in DIMENSIONS:
            rows = projected(model, data, pattern, dimension)
            score = detection_measures(from_class_means(rows, labels), wrong)["ap"]
            found["dimensions"][f"{layers} {dimension}"] = score
    classes = CLASSES[name]
    curve = spectrum(model, data, num_classes=classes, layers="last", max_samples=500, tolerance=1e-3, **quiet)
    store = SampleGradients(model, data, layers="last", **quiet)
    mean = flattened(store.sums(np.full((len(wrong), 1), 1 / len(wrong))))[0].double().numpy()
    share = alignment(mean, curve.vectors, classes)
    found["spectrum"] = {
        "largest": float(curve.eigenvalues[0]), "outliers": curve.outliers, "gap": curve.gap, "ratio": curve.ratio,
        "gap_classes": curve.gaps.get(classes), "top_classes": share.top_classes, "top_squared": share.top_squared,
    }  # fmt: skip
    return found


def projected(model: nn.Module, data: Any, layers: Any, dimension: int) -> np.ndarray:
    """Every sample's gradient by a random projection, shape (n, dimension)."""
    samples, parts = Samples(data), []
    engine = PerSampleGradients(
        model, Classification(), samples.batch(np.arange(3)), layers=layers,
        reductions=Reductions(l2=False, projection=Projection(dimension)),
    )  # fmt: skip
    for start in range(0, len(samples), 64):
        batch = samples.batch(np.arange(start, min(start + 64, len(samples))))
        parts.append(engine(batch).statistics["projection"].numpy())
    return np.concatenate(parts)


def from_class_means(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distance of every gradient from the mean of its given class: a detector that reads directions, and is cheap."""
    scores = np.empty(len(rows))
    for kind in np.unique(labels):
        own = labels == kind
        scores[own] = np.linalg.norm(rows[own] - rows[own].mean(axis=0), axis=1)
    return scores


def run_one(arguments: argparse.Namespace, name: str, noise: float, seed: int) -> None:
    key = {"set": name, "noise": noise, "seed": seed}
    if ROWS.have(**key):
        return
    started = time.perf_counter()
    model, data, wrong = SETS[name](arguments, noise, seed)
    checkpoints = {}

    def after_epoch(epoch: int) -> None:
        if epoch in EPOCHS[name]:
            checkpoints[str(epoch)] = measured(model, data, wrong, name)

    train(model, data, seed, name, after_epoch)
    row = key | {"samples": len(wrong), "wrong": int(wrong.sum()), "checkpoints": checkpoints,
                 "seconds": time.perf_counter() - started, "machine": machine()}  # fmt: skip
    ROWS.add(row)
    print(f"{key}: {row['seconds']:.0f} s", flush=True)
    for epoch, found in checkpoints.items():
        aps = "  ".join(
            f"{layer}: {one['ap']:.2f} ({one['variability']:.2g})" for layer, one in found["layers"].items()
        )
        print(f"  epoch {epoch:>3}  fits {found['accuracy']:.2f}  loss {found['loss_ap']:.2f}  {aps}", flush=True)


def states() -> list[dict[str, Any]]:
    """Every checkpoint of every run as one flat row; measures of collapse are those before the last layer."""
    found = []
    for row in ROWS.read():
        for epoch, one in row["checkpoints"].items():
            last = list(one["layers"].values())[-1]
            found.append({
                "run": (row["set"], row["noise"], row["seed"]), "set": row["set"], "noise": row["noise"],
                "epoch": int(epoch), "fits": one["accuracy"], "loss": one["loss"], "loss_ap": one["loss_ap"],
                "memorised": one["accuracy"] - last["nearest_mean_given"], "nearest": last["nearest_mean"],
                "variability": last["variability"], "simplex": last["simplex"], "ap": last["ap"],
                "aps": {name: layer["ap"] for name, layer in one["layers"].items()}, "dimensions": one["dimensions"],
                **{name: one["spectrum"][name] for name in ("ratio", "gap", "top_classes", "top_squared", "largest")},
            })  # fmt: skip
    return found


mean_of = partial(interval, digits=2)
MEASURES = {
    "share fitted less share nearest to its given class's mean": "memorised",
    "nearest class mean is the prediction (NC4)": "nearest",
    "share of given labels fitted": "fits",
    "mean loss": "loss",
    "DNC1": "variability",
    "DNC2, simplex": "simplex",
    "outlier ratio of the last layer's Gauss-Newton matrix": "ratio",
    "share of the mean gradient in the top K eigenspace": "top_classes",
}


def by_run(found: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    runs: dict[Any, list[dict[str, Any]]] = {}
    for one in found:
        runs.setdefault(one["run"], []).append(one)
    return runs


def course(found: list[dict[str, Any]], name: str) -> list[str]:
    layers = list(found[0]["aps"])
    lines = [
        f"| noise | epoch | fits | memorised | NC4 | DNC1 | {' | '.join('AP, ' + layer for layer in layers)} | AP, loss |",
        "|" + "---|" * (len(layers) + 7),
    ]
    for noise in NOISE:
        for epoch in EPOCHS[name]:
            mine = [one for one in found if one["noise"] == noise and one["epoch"] == epoch]
            if mine:
                cells = [mean_of([one[m] for one in mine]) for m in ("fits", "memorised", "nearest")]
                cells.append(f"{np.median([one['variability'] for one in mine]):.2g}")
                cells += [mean_of([one["aps"][layer] for one in mine]) for layer in layers]
                cells.append(mean_of([one["loss_ap"] for one in mine]))
                lines.append(f"| {100 * noise:.0f} % | {epoch} | {' | '.join(cells)} |")
    return lines


def telling(found: list[dict[str, Any]]) -> list[str]:
    """Within every run, how the measure's order over checkpoints goes with the order of AP; mean over runs."""
    lines = ["| measure, from the given labels alone | Spearman with AP over a run's checkpoints |", "|---|---|"]
    for title, measure in MEASURES.items():
        values = []
        for run in by_run(found).values():
            usable = [(one[measure], one["ap"]) for one in run if one[measure] is not None]
            if len(usable) > 2 and len({value for value, _ in usable}) > 1:
                values.append(float(spearmanr(*zip(*usable, strict=True)).statistic))
        lines.append(f"| {title} | {mean_of(values)} |")
    return lines


def choose(run: list[dict[str, Any]]) -> dict[str, Any]:
    """What gradsift does: :func:`gradsift.geometry.best_checkpoint`."""
    usable = [one for one in run if one["fits"] < FITTED] or [min(run, key=lambda one: one["fits"])]
    return max(usable, key=lambda one: one["nearest"])


RULES = {
    f"highest NC4 among those that fit less than {100 * FITTED:.0f} %": choose,
    "highest NC4": lambda run: max(run, key=lambda one: one["nearest"]),
    "last with at most 0.05 memorised": lambda run: max(
        run, key=lambda one: one["epoch"] if one["memorised"] <= 0.05 else -one["memorised"]
    ),
    "last": lambda run: run[-1],
    "best, which nobody knows": lambda run: max(run, key=lambda one: one["ap"]),
}


def choosing(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| checkpoint | " + " | ".join(f"{100 * noise:.0f} % noise" for noise in NOISE) + " |",
        "|---|" + "---|" * len(NOISE),
    ]
    for title, rule in RULES.items():
        cells = []
        for noise in NOISE:
            runs = [run for run in by_run(found).values() if run[0]["noise"] == noise]
            cells.append(mean_of([rule(run)["ap"] for run in runs]) if runs else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def thresholds(found: list[dict[str, Any]]) -> list[str]:
    """AP as a share of the run's best, by how much is memorised."""
    lines = ["| memorised | states | AP as a share of the best of its run |", "|---|---|---|"]
    pairs = [(one["memorised"], one["ap"] / max(o["ap"] for o in run)) for run in by_run(found).values() for one in run]
    for low, high in ((-1, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 1)):
        mine = [share for memorised, share in pairs if low < memorised <= high]
        if len(mine) > 1:
            title = f"at most {high}" if low < 0 else f"{low} to {high}" if high < 1 else f"above {low}"
            lines.append(f"| {title} | {len(mine)} | {mean_of(mine)} |")
    return lines


def projections(found: list[dict[str, Any]]) -> list[str]:
    chosen = [choose(run) for run in by_run(found).values()]
    lines = [
        "| gradients | " + " | ".join(f"{one} dimensions" for one in DIMENSIONS) + " |",
        "|---|" + "---|" * len(DIMENSIONS),
    ]
    for layers in ("last", "all"):
        cells = [mean_of([one["dimensions"][f"{layers} {d}"] for one in chosen], digits=3) for d in DIMENSIONS]
        lines.append(f"| {layers} | {' | '.join(cells)} |")
    return lines


PAGE_HEAD = """# How much signal is left when a network collapses onto its labels

Written by `python benchmarks/collapse_signal.py --write` from `benchmarks/results/collapse_signal.jsonl`; the rows
come from `python benchmarks/collapse_signal.py`. Labels are flipped at random at three rates and a network is trained
long, shuffled, with Adam at a constant rate. AP is the average precision with which the L2 norm of a layer's
per-sample gradients finds the flips; everything else is measured with the given labels, which is all that a user has.
Means with 95 % intervals over seeds (Student t), which draw samples, flips, initialisation and order anew.

*Fits*: share of given labels that the network predicts. *Memorised*: that share less the share of samples whose
nearest class mean, in the features before the last layer, is that of their given label. *NC4*: share of samples whose
nearest class mean there is the prediction. *DNC1*: variability within classes there (median).
"""
TITLES = {"fashion": "Fashion-MNIST, 3,000 images, a small convolutional network",
          "trec": "TREC, 1,000 questions, BERT-tiny"}  # fmt: skip


def write() -> None:
    everything = states()
    lines = [PAGE_HEAD]
    for name, title in TITLES.items():
        found = [one for one in everything if one["set"] == name]
        if not found:
            continue
        seeds = {noise: sum(run[1] == noise for run in by_run(found)) for noise in NOISE}
        counted = ", ".join(f"{count} at {100 * noise:.0f} %" for noise, count in seeds.items())
        lines += [
            f"## {title}", "", f"Seeds: {counted}. Machine: {ROWS.read()[0]['machine']}.", "", *course(found, name), "",
            "### Which measure tells", "", *telling(found), "", *thresholds(found), "",
            "### Which checkpoint", "", "AP of the last layer at the checkpoint that a rule chooses:", "",
            *choosing(found), "",
            "### How many dimensions", "",
            "AP of the distance of a projected gradient from the mean of its given class, at the checkpoint of the first "
            f"rule; K² is {CLASSES[name] ** 2}:", "", *projections(found), "",
        ]  # fmt: skip
    write_page("results-collapse.md", lines)


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--set", choices=tuple(SETS), help="one set only")

    def run_seed(asked: argparse.Namespace, seed: int) -> None:
        for name in [asked.set] if asked.set else SETS:
            for noise in NOISE:
                run_one(asked, name, noise, seed)

    quiet()
    run_seeds(parser, run_seed, write)


if __name__ == "__main__":
    main()
