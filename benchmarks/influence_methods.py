"""Every influence method on the same trained models: quality, seconds, memory.

    python benchmarks/influence_methods.py --data DIR                 # five seeds: about half an hour on one idle core
    python benchmarks/influence_methods.py --data DIR --seeds 0
    python benchmarks/influence_methods.py --write                    # docs/results-influence.md and the table of the guide

``--data`` (or ``$GRADSIFT_DATA``) holds ``fashion_mnist/``. 2,000 images, a fifth of them with a wrong label; a network of
two hidden layers with dropout, trained shuffled to the last epoch; 500 clean validation images as the target. Each method
runs in a process of its own, which is asked twice: for the mean target and for 30 targets one by one. Measures: how well
the lowest influence finds wrong labels (AUROC, average precision, precision curve), how well summed influence predicts
retraining on random halves (LDS), test accuracy after the lowest 15 % are removed, seconds of computing, and memory beyond
what libraries, model and data take. Rows that are there are not made again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.command import parser_of, run_seeds
from frame.images import grey
from frame.memory import kilobytes, reset_peak
from frame.page import interval, write_page
from frame.rows import Rows, machine
from frame.training import train_epochs
from torch import nn
from torch.nn import functional

from gradsift.errors import GradsiftError
from gradsift.evaluation import (
    SubsetRetraining,
    accuracy,
    detection_measures,
    estimate,
    flip_labels,
    linear_datamodeling_score,
    precision_curve,
    retrain_subsets,
)
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
from gradsift.influence.selectors import HighestGradients

HERE = Path(__file__).resolve().parent
ROWS = Rows("influence_methods.jsonl", key=("seed", "method"))
GUIDE, CACHE = HERE.parent / "docs" / "influence.md", HERE / "cache" / "influence_methods"
SEEDS, SIZE, HELD, TARGETS, NOISE, REMOVED = 5, 2000, 500, 30, 0.2, 0.15
EPOCHS, BATCH, RATE, SUBSETS, RETRAININGS = 16, 64, 0.05, 100, 3
KEPT_EPOCHS, OTHERS = (2, 4, 8, 12, 16), 4
QUIET = {"show_progress": False}
Data = tuple[np.ndarray, np.ndarray]


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(32, 10),
    )  # fmt: skip


def train(dataset: Any, *, seed: int, keep: list[tuple[dict[str, Any], float]] | None = None) -> nn.Module:
    """SGD with momentum, shuffled, a rate that falls by the epoch; the model of the last epoch."""
    torch.manual_seed(seed)
    x, y = (torch.as_tensor(part) for part in dataset)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)

    def after_epoch(epoch: int) -> None:
        rates = optimizer.param_groups[0]
        if keep is not None and epoch in KEPT_EPOCHS:
            keep.append(({name: value.clone() for name, value in model.state_dict().items()}, rates["lr"]))
        rates["lr"] = RATE * (1 - epoch / EPOCHS)

    return train_epochs(
        model, optimizer, lambda rows: functional.cross_entropy(model(x[rows]), y[rows]), len(y), epochs=EPOCHS,
        batch=BATCH, after_epoch=after_epoch,
    )  # fmt: skip


def load(arguments: argparse.Namespace, seed: int) -> tuple[Data, np.ndarray, Data, Data]:
    """Training set with given labels; which of them are wrong; validation set; test set."""
    generator = np.random.default_rng([seed, 70])

    def images(part: str) -> Data:
        pixels, labels = grey(arguments.data, "fashion_mnist", part)
        return pixels.astype(np.float32) / 255, labels

    x, y = images("train")
    order = generator.permutation(len(y))
    first, second = order[:SIZE], order[SIZE : SIZE + HELD]
    given = flip_labels(y[first], NOISE, kind="symmetric", seed=seed)
    return (x[first], given), given != y[first], (x[second], y[second]), images("test")


class State:
    """What methods are given: the model, its checkpoints with their rates, and models of other seeds."""

    def __init__(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.checkpoints, self.rates = saved["checkpoints"], saved["rates"]
        self.model = loaded(self.checkpoints[-1])
        self.others = [loaded(one) for one in saved["others"]]


def loaded(state: Any) -> nn.Module:
    model = make_model()
    model.load_state_dict(state)
    return model.eval()


MEMBERS: dict[str, Callable[[State], Any]] = {
    "dropout": lambda _: DropoutMasks(5),
    "checkpoints": lambda state: Checkpoints(state.checkpoints),
    "seeds": lambda state: Models([state.model, *state.others]),
}
COMBINED = ("mean", "rank", "zscore")
METHODS: dict[str, Callable[[State], Any]] = {
    "inner product, last layer": lambda _: InnerProduct(layers="last", **QUIET),
    "inner product": lambda _: InnerProduct(**QUIET),
    "cosine, last layer": lambda _: InnerProduct(cosine=True, layers="last", **QUIET),
    "cosine": lambda _: InnerProduct(cosine=True, **QUIET),
    "TracIn": lambda state: TracIn(state.checkpoints, state.rates, **QUIET),
    "TracIn, cosine": lambda state: TracIn(state.checkpoints, state.rates, cosine=True, **QUIET),
    **{
        f"ensemble of {kind}, {combine}": lambda state, kind=kind, combine=combine: Ensemble(
            InnerProduct(), MEMBERS[kind](state), combine=combine, **QUIET
        )
        for kind in MEMBERS
        for combine in COMBINED
    },
    "DataInf, last layer": lambda _: DataInf(layers="last", **QUIET),
    "DataInf": lambda _: DataInf(**QUIET),
    "KFAC": lambda _: KFAC(**QUIET),
    "EKFAC": lambda _: EKFAC(**QUIET),
    "conjugate gradient": lambda _: ConjugateGradient(**QUIET),
    "LiSSA": lambda _: LiSSA(**QUIET),
    "exact Hessian, last layer": lambda _: ExactInfluence(layers="last", **QUIET),
    "Forward-INF, one SGD step": lambda _: ForwardInfluence(**QUIET),
    "Forward-INF, one Adam step": lambda _: ForwardInfluence(optimizer="adam", **QUIET),
    "generalized, last layer": lambda _: GeneralizedInfluence(layers="last", **QUIET),
    "generalized, 5 % of the weights": lambda _: GeneralizedInfluence(
        selector=HighestGradients(0.05), max_steps=20, subsample=500, **QUIET
    ),
}
SELF: dict[str, Callable[[State], Any]] = {
    f"self-influence: {name}": METHODS[name]
    for name in (
        "inner product, last layer", "inner product", "TracIn", "ensemble of dropout, mean", "ensemble of seeds, mean",
        "DataInf, last layer", "DataInf", "KFAC", "EKFAC", "exact Hessian, last layer", "Forward-INF, one SGD step",
    )
}  # fmt: skip
CONTROLS = ("loss", "random", "wrong labels known", "nothing removed")


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a function in a process of its own, forked from this one, which computes nothing itself."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def body() -> None:
        torch.set_num_threads(1)
        try:
            sender.send((True, function(*arguments)))
        except GradsiftError as error:
            sender.send((False, str(error)))
        except Exception:  # noqa: BLE001  # told to the parent
            sender.send((False, traceback.format_exc()[-1500:]))

    process = context.Process(target=body)
    process.start()
    sender.close()
    try:
        done, found = receiver.recv()
    except EOFError:
        done, found = False, "the process has died"
    process.join()
    if not done:
        raise RuntimeError(found)
    return found


def ask(name: str, state: State, train_set: Data, held: Data) -> dict[str, Any]:
    """One method: answers, seconds and memory."""
    reset_peak()
    before, started = kilobytes("VmHWM"), time.process_time()
    method = {**METHODS, **SELF}[name](state).fit(state.model, train_set)
    scores = method.self_influence() if name in SELF else -method.influence(held)
    found = {"seconds": time.process_time() - started, "memory": (kilobytes("VmHWM") - before) / 1024, "scores": scores}
    found["report"] = short(method.report_)
    if name not in SELF:
        started = time.process_time()
        found["each"] = method.influence((held[0][:TARGETS], held[1][:TARGETS]), each=True)
        found["seconds_each"] = time.process_time() - started
        found["report_each"] = short(method.report_)
    return found


def short(report: dict[str, Any]) -> dict[str, Any]:
    """What of a report fits into a row."""
    found = {}
    for name, value in report.items():
        if isinstance(value, dict | list | np.ndarray) and len(value) > 12:
            value = {"largest": float(np.max(value)), "median": float(np.median(value))} if name == "residuals" else ...
        if value is not ... and name != "reports":
            found[name] = value
    return json.loads(json.dumps(found, default=str))


def prepare(train_set: Data, held: Data, seed: int) -> None:
    """The models, and the trainings on subsets, of one seed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (path := CACHE / f"{seed}.pt").exists():
        kept: list[tuple[dict[str, Any], float]] = []
        train(train_set, seed=seed, keep=kept)
        others = [train(train_set, seed=seed + 100 * one).state_dict() for one in range(1, OTHERS + 1)]
        states, rates = zip(*kept, strict=True)
        torch.save({"checkpoints": list(states), "rates": list(rates), "others": others}, path)
    if not (path := CACHE / f"{seed}-subsets.npz").exists():
        few = tuple(torch.as_tensor(part[:TARGETS]) for part in held)

        @torch.no_grad()
        def losses(model: nn.Module) -> np.ndarray:
            return functional.cross_entropy(model(few[0]), few[1], reduction="none").numpy()

        done = retrain_subsets(train, train_set, losses, subsets=SUBSETS, seed=seed, show_progress=False)
        np.savez(path, kept=done.kept, values=done.values)


def after_removal(scores: np.ndarray | None, train_set: Data, test: Data, seed: int) -> float:
    """Test accuracy without the highest scores; the mean of trainings whose seeds all methods share."""
    order = np.arange(SIZE) if scores is None else np.argsort(-scores, kind="stable")[round(REMOVED * SIZE) :]
    kept = np.sort(order)
    rest = (train_set[0][kept], train_set[1][kept])
    return float(np.mean([accuracy(train(rest, seed=seed + 1000 * one), test) for one in range(RETRAININGS)]))


def control(name: str, state: State, train_set: Data, wrong: np.ndarray, seed: int) -> np.ndarray | None:
    if name == "nothing removed":
        return None
    drawn = np.random.default_rng([seed, 71]).random(SIZE)
    if name == "random":
        return drawn
    if name == "wrong labels known":  # as many as are removed, drawn among the wrong ones
        return wrong + drawn
    with torch.no_grad():
        return functional.cross_entropy(
            state.model(torch.as_tensor(train_set[0])), torch.as_tensor(train_set[1]), reduction="none"
        ).numpy()


def run_seed(arguments: argparse.Namespace, seed: int) -> None:
    done = {row["method"] for row in ROWS.having(seed=seed)}
    waiting = [name for name in (*CONTROLS, *METHODS, *SELF) if name not in done]
    if not waiting:
        return
    for library in ("curvlinops", "torch._dynamo"):  # loading them is no method's work
        importlib.import_module(library)
    train_set, wrong, held, test = load(arguments, seed)
    apart(prepare, train_set, held, seed)
    saved = np.load(CACHE / f"{seed}-subsets.npz")
    subsets, state = SubsetRetraining(saved["kept"], saved["values"]), State(CACHE / f"{seed}.pt")
    for name in waiting:
        row: dict[str, Any] = {"seed": seed, "method": name}
        try:
            if name in CONTROLS:
                answer = {"scores": apart(control, name, state, train_set, wrong, seed)}
            else:
                answer = apart(ask, name, state, train_set, held)
        except RuntimeError as error:
            print(f"seed {seed} {name}: {error}", flush=True)
            continue
        scores, each = answer.pop("scores"), answer.pop("each", None)
        row |= answer
        if scores is not None:
            row |= detection_measures(scores, wrong) | {"curve": precision_curve(scores, wrong)}
        if each is not None:
            row["lds"] = linear_datamodeling_score(each, subsets).mean
        row["accuracy"] = apart(after_removal, scores, train_set, test, seed)
        row["machine"] = machine()
        ROWS.add(row)
        shown = {k: round(row[k], 3) for k in ("auroc", "ap", "lds", "accuracy", "seconds", "memory") if k in row}
        print(f"seed {seed} {name}: {shown}", flush=True)


def by_seed(rows: list[dict[str, Any]], name: str, measure: str) -> dict[int, float]:
    if measure == "precision":  # among the first 5 %
        own = [r for r in rows if r["method"] == name and "curve" in r]
        return {r["seed"]: next(one["precision"] for one in r["curve"] if one["share"] == 0.05) for r in own}
    return {r["seed"]: r[measure] for r in rows if r["method"] == name and measure in r}


MEASURES = (("auroc", 3), ("ap", 3), ("precision", 2), ("lds", 3), ("accuracy", 1))


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | AUROC | average precision | precision, first 5 % | LDS | test accuracy after removal | seconds | "
        f"seconds, {TARGETS} targets more | MiB |", "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in (*METHODS, *SELF, *CONTROLS):
        if not any(row["method"] == name for row in rows):
            continue
        cells = [interval(list(by_seed(rows, name, measure).values()), digits) for measure, digits in MEASURES]
        for measure, digits in (("seconds", 2), ("seconds_each", 2), ("memory", 0)):
            values = list(by_seed(rows, name, measure).values())
            cells.append(f"{np.median(values):.{digits}f}" if values else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def paired(rows: list[dict[str, Any]], one: str, other: str, measure: str) -> list[float]:
    left, right = by_seed(rows, one, measure), by_seed(rows, other, measure)
    return [left[seed] - right[seed] for seed in sorted(set(left) & set(right))]


def differences(rows: list[dict[str, Any]], names: list[str], measures: tuple[str, ...]) -> list[str]:
    """Paired differences to the inner product over all layers."""
    digits = dict(MEASURES)
    heads = {"auroc": "AUROC", "lds": "LDS", "accuracy": "accuracy after removal"}
    lines = ["| | " + " | ".join(heads[one] for one in measures) + " |", "|---" * (len(measures) + 1) + "|"]
    for name in names:
        cells = [interval(paired(rows, name, "inner product", one), digits[one], sign="+") for one in measures]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def reading(rows: list[dict[str, Any]]) -> list[str]:
    """Which methods differ from the inner product by more than their interval, and which accuracies from no removal."""
    lines, compared = [], 0
    heads = {"auroc": "finding wrong labels (AUROC)", "lds": "predicting retraining (LDS)", "accuracy": "accuracy"}
    for measure, head in heads.items():
        signs: dict[int, list[str]] = {1: [], 0: [], -1: []}
        for name in (*METHODS, *SELF, "loss"):
            found = paired(rows, name, "inner product", measure)
            if name != "inner product" and len(found) > 1:
                signs[estimate(found).sign].append(name)
        if not any(signs.values()):
            continue
        compared += sum(map(len, signs.values()))
        lines.append(
            f"* **{head}**, against the inner product over all layers, by paired intervals: better are "
            f"{listed(signs[1])}; worse are {listed(signs[-1])}; {len(signs[0])} of {sum(map(len, signs.values()))} cannot "
            "be told apart from it."
        )
    gains = {}
    for name in (*METHODS, *SELF, "loss", "random", "wrong labels known"):
        found = paired(rows, name, "nothing removed", "accuracy")
        if len(found) > 1:
            gains[name] = estimate(found)
    if gains:
        helped = [name for name, one in gains.items() if one.sign > 0]
        harmed = [name for name, one in gains.items() if one.sign < 0]
        lines.append(
            f"* **Does removal help at all?** Against training on everything, accuracy rises beyond the interval for "
            f"{listed(helped)}; it falls for {listed(harmed)}."
        )
        compared += len(gains)
    if compared:
        lines.append(
            f"* These are {compared} comparisons at 95 %, so about {0.05 * compared:.0f} would stand out by chance alone: "
            "single names above are hints, families of methods that stand out together are findings."
        )
    return lines


def listed(names: list[str]) -> str:
    return "; ".join(names).join("()") if names else "none"


PAGE_HEAD = f"""# Influence methods, measured

Written by `python benchmarks/influence_methods.py --write` from `benchmarks/results/influence_methods.jsonl`; the rows
come from `python benchmarks/influence_methods.py`. Fashion-MNIST, {SIZE:,} training images of which {100 * NOISE:.0f} %
have a wrong label (symmetric), {HELD} clean validation images as the target, a network of two hidden layers with dropout
and 52,650 parameters, trained {EPOCHS} epochs by SGD with momentum, shuffled, last epoch. Default settings of every method
but one (generalized influence over 5 % of the weights: 20 steps, 500 samples in the Hessian, for its time); nothing was
tuned, and nothing was chosen on test images. All parameters unless "last layer" is said. Means with 95 % intervals over
seeds (Student t), which draw images, flips, initialisation and order anew; seconds and memory are medians.

* *AUROC*, *average precision*, *precision, first 5 %*: wrong labels among the lowest influence on the validation images;
  self-influence and loss: among the highest.
* *LDS*: Spearman correlation, over {SUBSETS} trainings on random halves, between a validation image's true loss and what
  summed influence predicts; mean over {TARGETS} images. Each half is trained once, so the noise of trainings bounds it.
* *Test accuracy after removal*: on 2,000 test images, when the {100 * REMOVED:.0f} % most detrimental samples are removed
  and the network is trained again, mean of {RETRAININGS} trainings whose seeds all rows share. *wrong labels known* removes
  as many of the wrong ones, drawn at random.
* *Seconds*: computing time of one thread (not of the clock: the machine did other work, too), fit and one target of {HELD}
  images in a process of its own; then {TARGETS} single targets more. *MiB*: peak memory of the first of the two beyond
  libraries, model and data.

Self-influence with the inner product ranks as outlier gradient analysis by L2 norms does; it, loss and random are controls
that need no clean images.
"""


def write() -> None:
    rows = ROWS.read()
    counts = sorted({row["seed"] for row in rows})
    whole = [s for s in counts if {r["method"] for r in rows if r["seed"] == s} >= {*METHODS, *SELF, *CONTROLS}]
    members = [f"ensemble of {kind}, {combine}" for kind in MEMBERS for combine in COMBINED]
    lines = [
        PAGE_HEAD,
        f"{len(counts)} seeds, of which {len(whole)} with all methods. Machine: {rows[0]['machine']}.",
        "",
    ]
    lines += [*table(rows), "", "## What the figures carry", "", *reading(rows), ""]
    lines += [
        "One data set, one small network and one kind of noise: the order of close methods may differ elsewhere.", "",
        "## Which members serve an ensemble", "",
        "Paired differences to the inner product at the final model; five members each. How the paper of inner products "
        "makes the members of its ensemble is not known to us, so this says nothing about it.", "",
        *differences(rows, members, ("auroc", "lds", "accuracy")), "", *serving(rows, members), "",
        "Not run: self-influence by conjugate gradients, LiSSA and generalized influence, which would solve a system for "
        "each training sample.",
    ]  # fmt: skip
    write_page("results-influence.md", lines)
    text = GUIDE.read_text() if GUIDE.exists() else ""
    begin, end = "<!-- table: benchmarks/influence_methods.py -->\n", "<!-- end of table -->"
    if begin in text:
        head, _, rest = text.partition(begin)
        GUIDE.write_text(head + begin + "\n" + "\n".join(table(rows)) + "\n\n" + end + rest.partition(end)[2])


def serving(rows: list[dict[str, Any]], members: list[str]) -> list[str]:
    found = {}
    for name in members:
        values = [paired(rows, name, "inner product", measure) for measure in ("auroc", "lds")]
        if all(len(one) > 1 for one in values):
            found[name] = [estimate(one) for one in values]
    gains = [name for name, (auroc, lds) in found.items() if auroc.sign > 0 and lds.sign > 0]
    partly = [name for name, (auroc, lds) in found.items() if name not in gains and max(auroc.sign, lds.sign) > 0]
    harms = [name for name, (auroc, lds) in found.items() if min(auroc.sign, lds.sign) < 0]
    if not found:
        return []
    best = max(found, key=lambda name: found[name][0].mean)
    return [
        f"Better than one inner product in both AUROC and LDS, beyond the interval: {listed(gains)}; in one of them: "
        f"{listed(partly)}; worse in at least one: {listed(harms)}. The largest mean AUROC has {best}. Members of other "
        "seeds cost a training each, checkpoints cost disk, dropout masks cost nothing but the passes. Ranks forget sizes, "
        "which the sums behind LDS need."
    ]


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS)
    run_seeds(parser, run_seed, write)


if __name__ == "__main__":
    main()
