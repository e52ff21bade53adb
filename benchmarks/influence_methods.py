"""Every influence method on the same trained models: quality, seconds, memory.

    python benchmarks/influence_methods.py --data DIR                 # five seeds: an hour or so on one core
    python benchmarks/influence_methods.py --data DIR --seeds 0
    python benchmarks/influence_methods.py --write                    # docs/results-influence.md and the table of the guide

``--data`` (or ``$GRADSIFT_DATA``) holds ``fashion_mnist/``. 2,000 images, a fifth of them with a wrong label; a network of
two hidden layers with dropout, trained shuffled to the last epoch; 500 clean validation images as the target. Each method
runs in a process of its own, which is asked twice: for the mean target and for 50 targets one by one. Measures: how well
the lowest influence finds wrong labels (AUROC, average precision), how well summed influence predicts retraining on random
halves (LDS), test accuracy after the lowest fifth is removed, seconds, and memory beyond a process that has only loaded
model and data. Rows that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn
from torch.nn import functional

from gradsift.evaluation import (
    detection_measures,
    estimate,
    flip_labels,
    linear_datamodeling_score,
    retrain_subsets,
)
from gradsift.evaluation.retraining import SubsetRetraining
from gradsift.influence import (
    EKFAC,
    KFAC,
    Checkpoints,
    ConjugateGradient,
    DataInf,
    DropoutMasks,
    Ensemble,
    ExactInfluence,
    ForwardInfluence,
    GeneralizedInfluence,
    InnerProduct,
    LiSSA,
    Models,
    TracIn,
)

HERE = Path(__file__).resolve().parent
ROWS, PAGE = HERE / "results" / "influence_methods.jsonl", HERE.parent / "docs" / "results-influence.md"
GUIDE, CACHE = HERE.parent / "docs" / "influence.md", HERE / "cache" / "influence_methods"
SEEDS, SIZE, HELD, TARGETS, NOISE = 5, 2000, 500, 50, 0.2
EPOCHS, BATCH, SUBSETS, KEPT_EPOCHS, OTHERS = 16, 64, 60, (2, 4, 8, 12, 16), 4
QUIET = {"show_progress": False}


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 32), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(32, 10),
    )  # fmt: skip


def train(dataset: Any, *, seed: int, keep: dict[int, Any] | None = None) -> nn.Module:
    """Adam, shuffled, a constant rate; the model of the last epoch."""
    torch.manual_seed(seed)
    x, y = (torch.as_tensor(part) for part in dataset)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(y)).split(BATCH):
            loss = functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if keep is not None and epoch in KEPT_EPOCHS:
            keep[epoch] = {name: value.clone() for name, value in model.state_dict().items()}
    return model.eval()


def load(arguments: argparse.Namespace, seed: int) -> tuple[Any, np.ndarray, Any, Any]:
    """Training set with given labels, which are wrong, validation set, test set."""
    folder, generator = arguments.data / "fashion_mnist", np.random.default_rng([seed, 70])

    def images(table: Any) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.frombuffer(b"".join(table["pixels"].to_pylist()), np.uint8).reshape(-1, 1, 28, 28)
        return pixels.astype(np.float32) / 255, table["label"].to_numpy()

    x, y = images(pq.read_table(folder / "train_subset.parquet"))
    order = generator.permutation(len(y))
    first, second = order[:SIZE], order[SIZE : SIZE + HELD]
    given = flip_labels(y[first], NOISE, kind="symmetric", seed=seed)
    return (
        (x[first], given),
        given != y[first],
        (x[second], y[second]),
        images(pq.read_table(folder / "test_subset.parquet")),
    )


@torch.no_grad()
def accuracy(model: nn.Module, test: Any) -> float:
    x, y = (torch.as_tensor(part) for part in test)
    return 100 * float((model(x).argmax(1) == y).float().mean())


class State:
    """What methods are given: the model, its checkpoints, and models of other seeds."""

    def __init__(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.checkpoints = list(saved["checkpoints"].values())
        self.model = self.loaded(self.checkpoints[-1])
        self.others = [self.loaded(one) for one in saved["others"]]

    @staticmethod
    def loaded(state: Any) -> nn.Module:
        model = make_model()
        model.load_state_dict(state)
        return model.eval()


def members(state: State, kind: str) -> Any:
    return {
        "dropout": lambda: DropoutMasks(8),
        "checkpoints": lambda: Checkpoints(state.checkpoints),
        "seeds": lambda: Models([state.model, *state.others]),
    }[kind]()


METHODS: dict[str, Callable[[State], Any]] = {
    "inner product, last layer": lambda _: InnerProduct(layers="last", **QUIET),
    "inner product": lambda _: InnerProduct(**QUIET),
    "cosine": lambda _: InnerProduct(cosine=True, **QUIET),
    "TracIn, 5 checkpoints": lambda state: TracIn(state.checkpoints, **QUIET),
    **{
        f"ensemble of {kind}, {combine}": lambda state, kind=kind, combine=combine: Ensemble(
            InnerProduct(), members(state, kind), combine=combine, **QUIET
        )
        for kind in ("dropout", "checkpoints", "seeds")
        for combine in ("mean", "rank", "zscore")
    },
    "DataInf, last layer": lambda _: DataInf(layers="last", **QUIET),
    "DataInf": lambda _: DataInf(**QUIET),
    "KFAC": lambda _: KFAC(**QUIET),
    "EKFAC": lambda _: EKFAC(**QUIET),
    "conjugate gradient": lambda _: ConjugateGradient(**QUIET),
    "LiSSA": lambda _: LiSSA(**QUIET),
    "exact Hessian, last layer": lambda _: ExactInfluence(layers="last", **QUIET),
    "Forward-INF, one SGD step": lambda _: ForwardInfluence(rate="auto", **QUIET),
    "Forward-INF, one Adam step": lambda _: ForwardInfluence(optimizer="adam", rate="auto", **QUIET),
    "generalized, last layer": lambda _: GeneralizedInfluence(layers="last", **QUIET),
}
SELF: dict[str, Callable[[State], Any]] = {
    "self-influence: inner product (OGA L2)": METHODS["inner product"],
    "self-influence: inner product, last layer": METHODS["inner product, last layer"],
    "self-influence: TracIn": METHODS["TracIn, 5 checkpoints"],
    "self-influence: DataInf": METHODS["DataInf"],
    "self-influence: EKFAC": METHODS["EKFAC"],
}
CONTROLS = ("loss", "random", "oracle", "no removal")


def ask(arguments: argparse.Namespace, name: str, seed: int) -> None:
    """One method in this process; writes what it found beside the state."""
    torch.set_num_threads(1)
    train_set, _wrong, held, _test = load(arguments, seed)
    state = State(CACHE / f"{seed}.pt")
    with torch.no_grad():
        state.model(torch.as_tensor(held[0]))
    few = tuple(part[:TARGETS] for part in held)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found: dict[str, Any] = {}
    if name in SELF:
        values = SELF[name](state).fit(state.model, train_set).self_influence()
        found["seconds"] = time.perf_counter() - started
        np.savez(CACHE / "answer.npz", scores=values)
    else:
        method = METHODS[name](state).fit(state.model, train_set)
        values = method.influence(held)
        found["seconds"] = time.perf_counter() - started
        found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
        again = time.perf_counter()
        each = method.influence(few, each=True)
        found["seconds_each"] = time.perf_counter() - again
        np.savez(CACHE / "answer.npz", scores=-values, each=each)
        found["report"] = json.loads(json.dumps(method.report_, default=str))
    found.setdefault("memory", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
    (CACHE / "answer.json").write_text(json.dumps(found))


def prepare(arguments: argparse.Namespace, seed: int) -> None:
    """The state, and the trainings on subsets, of one seed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    train_set, _wrong, held, _test = load(arguments, seed)
    if not (CACHE / f"{seed}.pt").exists():
        checkpoints: dict[int, Any] = {}
        train(train_set, seed=seed, keep=checkpoints)
        others = [train(train_set, seed=seed + 100 * one).state_dict() for one in range(1, OTHERS + 1)]
        torch.save({"checkpoints": checkpoints, "others": others}, CACHE / f"{seed}.pt")
    if not (CACHE / f"{seed}_subsets.npz").exists():
        few = tuple(torch.as_tensor(part[:TARGETS]) for part in held)

        @torch.no_grad()
        def losses(model: nn.Module) -> np.ndarray:
            return functional.cross_entropy(model(few[0]), few[1], reduction="none").numpy()

        done = retrain_subsets(train, train_set, losses, subsets=SUBSETS, seed=seed, show_progress=False)
        np.savez(CACHE / f"{seed}_subsets.npz", kept=done.kept, values=done.values)


def read_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def run_seed(arguments: argparse.Namespace, seed: int) -> None:
    done = {row["method"] for row in read_rows() if row["seed"] == seed}
    waiting = [name for name in (*METHODS, *SELF, *CONTROLS) if name not in done]
    if not waiting:
        return
    prepare(arguments, seed)
    train_set, wrong, _held, test = load(arguments, seed)
    saved = np.load(CACHE / f"{seed}_subsets.npz")
    subsets = SubsetRetraining(saved["kept"], saved["values"])
    state, count = State(CACHE / f"{seed}.pt"), int(NOISE * SIZE)

    def after_removal(scores: np.ndarray) -> float:
        kept = np.sort(np.argsort(-scores, kind="stable")[count:])
        return accuracy(train((train_set[0][kept], train_set[1][kept]), seed=seed), test)

    for name in waiting:
        row: dict[str, Any] = {"seed": seed, "method": name}
        if name in CONTROLS:
            x, y = (torch.as_tensor(part) for part in train_set)
            with torch.no_grad():
                losses = functional.cross_entropy(state.model(x), y, reduction="none").numpy()
            scores = {
                "loss": losses,
                "random": np.random.default_rng([seed, 71]).random(SIZE),
                "oracle": wrong.astype(float),
            }
            row |= {"accuracy": accuracy(state.model, test)} if name == "no removal" else {
                "accuracy": after_removal(scores[name]), **detection_measures(scores[name], wrong)
            }  # fmt: skip
        else:
            command = [sys.executable, __file__, "--data", str(arguments.data), "--seeds", str(seed), "--one", name]
            tried = subprocess.run(command, capture_output=True, text=True)
            if tried.returncode:
                print(f"{name}: {tried.stderr[-800:]}", flush=True)
                continue
            answer = np.load(CACHE / "answer.npz")
            row |= json.loads((CACHE / "answer.json").read_text()) | detection_measures(answer["scores"], wrong)
            row["accuracy"] = after_removal(answer["scores"])
            if "each" in answer:
                row["lds"] = linear_datamodeling_score(answer["each"], subsets).mean
        row["machine"] = f"{platform.machine()} CPU, 1 thread, torch {torch.__version__}"
        ROWS.parent.mkdir(exist_ok=True)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        short = {
            key: round(row[key], 3) for key in ("auroc", "ap", "lds", "accuracy", "seconds", "memory") if key in row
        }
        print(f"seed {seed} {name}: {short}", flush=True)


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | AUROC of wrong labels | average precision | LDS | test accuracy after removal | seconds, one target | "
        "seconds, 50 more | MiB |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in (*METHODS, *SELF, *CONTROLS):
        mine = [row for row in rows if row["method"] == name]
        if not mine:
            continue
        cells = []
        for measure, digits in (("auroc", 3), ("ap", 3), ("lds", 3), ("accuracy", 1)):
            values = [row[measure] for row in mine if measure in row]
            found = estimate(values) if values else None
            cells.append("" if found is None else f"{found.mean:.{digits}f} ± {found.half_width:.{digits}f}")
        for measure in ("seconds", "seconds_each", "memory"):
            values = [row[measure] for row in mine if measure in row]
            cells.append("" if not values else f"{np.median(values):.{0 if measure == 'memory' else 2}f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def paired(rows: list[dict[str, Any]], one: str, other: str, measure: str) -> str:
    values = {
        name: {r["seed"]: r[measure] for r in rows if r["method"] == name and measure in r} for name in (one, other)
    }
    seeds = sorted(set(values[one]) & set(values[other]))
    found = estimate([values[one][seed] - values[other][seed] for seed in seeds])
    return f"{found.mean:+.3f} ± {found.half_width:.3f}"


def ensembles(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| members | combined by | AUROC | LDS |", "|---|---|---|---|",
    ]  # fmt: skip
    for kind in ("dropout", "checkpoints", "seeds"):
        for combine in ("mean", "rank", "zscore"):
            name = f"ensemble of {kind}, {combine}"
            cells = [paired(rows, name, "inner product", measure) for measure in ("auroc", "lds")]
            lines.append(f"| {kind} | {combine} | {' | '.join(cells)} |")
    return lines


PAGE_HEAD = f"""# Influence methods, measured

Written by `python benchmarks/influence_methods.py --write` from `benchmarks/results/influence_methods.jsonl`; the
rows come from `python benchmarks/influence_methods.py`. Fashion-MNIST, {SIZE:,} training images of which {
    100 * NOISE:.0f} % have a wrong label (symmetric), {
    HELD
} clean validation images as the target, a network of two hidden
layers with dropout and 39,594 parameters, trained {EPOCHS} epochs with Adam, shuffled, last epoch. Default settings
of every method; nothing was tuned, and nothing was chosen on test images. All parameters unless "last layer" is said.
Means with 95 % intervals over seeds (Student t) which draw images, flips, initialisation and order anew; seconds and
memory are medians.

*AUROC*, *average precision*: wrong labels among the lowest influence (self-influence and loss: the highest). *LDS*:
Spearman correlation, over {SUBSETS} trainings on random halves, between a validation image's true loss and what
summed influence predicts, mean over {TARGETS} images. *Accuracy*: on 2,000 test images after the {100 * NOISE:.0f} %
most detrimental samples are removed and the network is trained again. *Seconds*: fit and one mean target of {HELD}
images in a fresh process; then 50 single targets more. *MiB*: peak memory beyond a process that has loaded model and
data. The machine did other work, too, so seconds are worth comparing with each other only.
"""


def write() -> None:
    rows = read_rows()
    seeds = sorted({row["seed"] for row in rows})
    lines = [PAGE_HEAD, f"{len(seeds)} seeds. Machine: {rows[0]['machine']}.", "", *table(rows), ""]
    lines += [
        "## Which members serve an ensemble", "",
        "Paired differences to the inner product at the final model. How the paper of inner products makes its ensemble is "
        "not known to us; these are our own ways.", "", *ensembles(rows), "",
    ]  # fmt: skip
    PAGE.write_text("\n".join(lines).rstrip() + "\n")
    text = GUIDE.read_text()
    begin, end = "<!-- table: benchmarks/influence_methods.py -->\n", "<!-- end of table -->"
    if begin in text:
        head, _, rest = text.partition(begin)
        GUIDE.write_text(head + begin + "\n" + "\n".join(table(rows)) + "\n\n" + end + rest.partition(end)[2])
    print(f"wrote {PAGE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("GRADSIFT_DATA"))
    parser.add_argument("--seeds", default=",".join(map(str, range(SEEDS))), help="which seeds, with commas")
    parser.add_argument("--one", help="one method in this process; for the benchmark's own use")
    parser.add_argument("--write", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.write:
        if arguments.data is None:
            parser.error("--data is needed")
        arguments.data = Path(arguments.data)
        if arguments.one:
            ask(arguments, arguments.one, int(arguments.seeds))
            return
        for seed in arguments.seeds.split(","):
            run_seed(arguments, int(seed))
    write()


if __name__ == "__main__":
    main()
