"""The page, from the rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from frame.page import interval, markdown_table, write_page
from frame.rows import Row

from class_removal.removal import RATIOS, ROWS
from class_removal.unlearning import DECAY
from gradsift.evaluation import Estimate, estimate

SEEDS = 10


def write() -> None:
    rows, lines = ROWS.read(), [PAGE_HEAD]
    removal = [row for row in rows if "solver" in row]
    groups = sorted({(row["model"], row["selector"], row["solver"]) for row in removal}, reverse=True)
    lines += ["## The claim", "", CLAIM]
    for group in groups:
        lines.append(f"* {title(group)}: {verdict([row for row in removal if of(row) == group])}")
    lines.append("")
    for group in groups:
        lines += removal_section(group, [row for row in removal if of(row) == group])
    unlearned = [row for row in rows if row["model"] == "fashion_mnist"]
    if unlearned:
        lines += unlearning_section(unlearned)
    write_page("results-unlearning.md", lines)


def of(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["selector"], row["solver"]


def title(group: tuple[str, str, str]) -> str:
    names = {"mnist": "A class of MNIST, small network", "cifar10": "A class of CIFAR-10, ResNet-20",
             "backdoor": "A backdoor in MNIST, small network"}  # fmt: skip
    return f"{names[group[0]]}, units by {group[1]}, {group[2].replace('-', ' ')}"


def difference(rows: list[Row], one: str, other: str, measure: str = "f1") -> Estimate:
    return estimate([row["arms"][one][measure] - row["arms"][other][measure] for row in rows])


def verdict(rows: list[Row]) -> str:
    """Where GIF stands by the intervals, the claim first."""
    small = f"{RATIOS[0]:g}"
    found = difference(rows, f"GIF {small}", f"FIF {small}")
    if found.count < 5:
        words = "too few seeds to tell"
    elif found.sign == 0:
        words = f"**not confirmed**, the difference lies within {abs(found.mean) + found.half_width:.3f} of zero"
    else:
        words = "**confirmed**" if found.sign > 0 else "**refuted**"
    counted = f"{found.count} of {SEEDS} seeds"
    parts = [f"{counted}. GIF ahead of FIF at {100 * RATIOS[0]:g} %: {words} ({signed(found)})"]
    for other in ("FIF", "PIF", "all", "gradient") if found.count >= 5 else ():
        of_ratio = [difference(rows, f"GIF {r:g}", other if other == "all" else f"{other} {r:g}").sign for r in RATIOS]
        name = {"all": "IF with all weights", "gradient": "the bare gradient"}.get(other, other)
        parts.append(f"against {name}: {', '.join(standing(of_ratio))}")
    return "; ".join(parts) + "."


def standing(signs: list[int]) -> list[str]:
    found = []
    for sign, word in ((1, "ahead"), (-1, "behind"), (0, "not told apart")):
        ratios = [f"{100 * ratio:g}" for ratio, one in zip(RATIOS, signs, strict=True) if one == sign]
        if ratios:
            found.append(f"{word} at {' and '.join(ratios)} %")
    return found


def signed(found: Estimate) -> str:
    return interval(found, sign="+", alone=", one seed")


def removal_section(group: tuple[str, str, str], rows: list[Row]) -> list[str]:
    first, count = rows[0], len(rows)
    sizes = first["sizes"]
    what = (
        "poisoned training samples, Hessian of"
        if group[0] == "backdoor"
        else "training samples of the class, Hessian of"
    )
    columns = ("accuracy, removed class", "accuracy, other classes")
    if group[0] == "backdoor":
        columns = ("poisoned samples given the label 4", "accuracy, clean samples")
    seen = " (which the model was trained on)" if group[0] == "cifar10" else " (kept out of training)"
    lines = [
        f"## {title(group)}", "",
        f"{count} of {SEEDS} seeds are in; {first['weights']:,} weights; at most {first['steps']} steps of the solver; "
        f"gradient of {sizes['removed']} {what} {sizes['kept']} others, "
        f"length chosen on {sizes['validation']} samples{seen}, scores on {sizes['test']} test samples. Mean "
        f"{np.mean([row['seconds'] for row in rows]):.0f} seconds a seed on a busy machine ({first['machine']}).", "",
    ]  # fmt: skip
    order = [("–", name) for name in ("no edit", "retrained") if name in first["arms"]] + [("100 %", "all")]
    order += [
        (f"{100 * ratio:g} %", f"{name} {ratio:g}") for ratio in RATIOS for name in ("GIF", "FIF", "PIF", "gradient")
    ]
    table = []
    for share, arm in order:
        cells = [interval([row["arms"][arm][one] for row in rows]) for one in ("f1", "own", "others")]
        left = [row["solver_said"][arm]["residual"] for row in rows] if arm in first["solver_said"] else []
        name = {"all": "IF, all weights"}.get(arm, arm.split()[0] if share not in ("–", "100 %") else arm)
        table.append((share, name, *cells, f"{np.median(left):.2f}" if left else ""))
    lines += markdown_table(("weights that move", "method", "F1", *columns, "residual"), table)
    table = []
    for ratio in RATIOS:
        others = (f"FIF {ratio:g}", f"PIF {ratio:g}", "all", f"gradient {ratio:g}")
        cells = [signed(difference(rows, f"GIF {ratio:g}", other)) for other in others]
        table.append((f"{100 * ratio:g} %", *cells))
    columns = ("weights that move", "FIF", "PIF", "IF, all weights", "gradient")
    lines += ["", "Paired differences in F1, GIF minus the other:", "", *markdown_table(columns, table)]
    bad = sum(said["end"] == "diverged" for row in rows for said in row["solver_said"].values())
    halved = sum(said["restarts"] for row in rows for said in row["solver_said"].values())
    lines += [
        "",
        f"Solvers that diverged: {bad} of {sum(len(row['solver_said']) for row in rows)}; steps halved: {halved} times.",
        "",
    ]
    return lines


def unlearning_section(rows: list[Row]) -> list[str]:
    first = rows[0]
    seconds = {name: np.mean([row["seconds"][name] for row in rows]) for name in first["seconds"]}
    multiples = ", ".join(f"{row['multiple']:g}" for row in rows)
    lines = [
        "## Flagged samples unlearned from a last layer, Fashion-MNIST", "",
        f"{len(rows)} of {SEEDS} seeds are in. A small network is trained on {first['samples']:,} samples, 20 % of them "
        f"with wrong labels; a linear last layer ({first['weights']:,} weights, weight decay {DECAY:g}) is fitted to its "
        f"minimum on the network's features; the {first['flagged']:,} samples of the longest gradients are flagged "
        f"({interval([row['precision'] for row in rows])} of them are wrong); `unlearn` removes them from the last "
        "layer. Distance: that of the weights to the last layer trained again without the flagged samples, as a share of "
        "what it was before. The network below is not trained again. The validation set has true labels. Multiples chosen "
        f"on it: {multiples}. Mean seconds: "
        f"{', '.join(f'{name} {value:.1f}' for name, value in seconds.items())}.", "",
    ]  # fmt: skip
    table = []
    for name in first["arms"]:
        gains = difference(rows, name, "as it is", "accuracy")
        cells = [interval([row["arms"][name][one] for row in rows]) for one in ("accuracy", "distance")]
        table.append((name, cells[0], signed(gains) if name != "as it is" else "", cells[1]))
    columns = ("last layer", "test accuracy", "gain, paired", "distance")
    return [*lines, *markdown_table(columns, table), "", unlearning_reading(rows, seconds), ""]


def unlearning_reading(rows: list[Row], seconds: dict[str, Any]) -> str:
    """What the figures say, in sentences that follow from them."""
    again, once, chosen = (
        "trained again without flagged",
        "flagged unlearned",
        "flagged unlearned, length by validation",
    )

    def gap(one: str, other: str) -> Estimate:
        return difference(rows, one, other, "accuracy")

    left = estimate([row["arms"][once]["distance"] for row in rows])
    words = {1: "gains", -1: "loses", 0: "does not measurably change"}
    faster = "faster" if seconds["train again"] < seconds["unlearn"] else "slower"
    trimming, length = gap(again, "as it is"), gap(chosen, once)
    return (
        f"One step leaves {interval(left)} of the distance to the layer trained again; its accuracy less that layer's is "
        f"{signed(gap(once, again))}. Trimming and training the layer again {words[trimming.sign]} accuracy here "
        f"({signed(trimming)}), on features that the network learnt from the wrong labels, too. The length chosen by "
        f"validation loss {words[length.sign]} accuracy beside the theoretical one ({signed(length)}). "
        f"Training this layer again is {faster} than unlearning: {seconds['train again']:.1f} against "
        f"{seconds['unlearn']:.1f} seconds."
    )


CLAIM = """The paper's claim is that moving 5 % of the weights by a generalized influence function (GIF) beats the other
influence functions; its tables have GIF ahead of freezing (FIF) mainly at small ratios. A difference counts here where
its 95 % interval leaves out zero.
"""
PAGE_HEAD = """# Unlearning: generalized influence functions

Written by `python benchmarks/class_removal --write` from `benchmarks/results/class_removal.jsonl`; the rows come from
`python benchmarks/class_removal`, with `--model`, `--selector` and `--solver` as the titles say. Rows that are missing
are seeds that have not been run. Intervals are 95 % over seeds (Student t).

Seed s removes class s from a model, so that seeds differ in the class, the samples drawn and (on MNIST) the trained
model. GIF, FIF and PIF move the same weights; IF moves all; *gradient* moves those weights along the bare gradient of the
class's samples, with no Hessian: what a Hessian must beat. *Retrained* is the same recipe without the class. A direction
is made as long as a share of the weights' length and added to them. The shares 0.002, 0.004, ... are tried until F1 on
validation samples has fallen by 0.1 below its best, then four between; the best one on validation is scored on test
samples. The paper chooses its length, and takes its Hessian, on test samples; here neither sees them.
F1 = 2 (1 - s) a / ((1 - s) + a) with s the accuracy on the removed class and a that on the others. In the backdoor a
tenth of the training samples has a checkerboard of 16 grey values and the label 4; 1 - s is then the accuracy of true
labels on test samples of other classes with the checkerboard, and a that on clean ones. The residual is the
median of what the solver leaves of the normal equations' right-hand side: both solvers are stopped early, as in the paper.
"""
