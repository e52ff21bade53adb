"""The page, from the rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from frame.page import interval, markdown_table, write_page
from frame.rows import Row

from forward_influence.cost_page import cost
from forward_influence.methods import PAPER, ROWS
from gradsift.evaluation import estimate

TITLES = {
    "mislabel": ("Flipped labels", "AUROC", """\
2,000 Fashion-MNIST images, 20 % of the labels flipped, a small convolutional network, 500 clean validation images as
the target as a whole. Score: minus the signed influence. Self-influence and loss need no validation set."""),
    "retraining": ("Against retraining", None, """\
600 Fashion-MNIST images, 10 % of the labels flipped, a perceptron of 51 k weights, 50 test images as targets. Truth:
100 random halves of the training set, each trained twice with other seeds. *LDS*: Spearman correlation, over the
halves, of the retrained models' loss on a target with minus the summed influence of the half; mean over targets.
*Memorisation*: how much a training sample's own loss rises when it is left out (mean over halves without it minus
mean over halves with it), against the absolute self-influence. *Another retraining*: how well one set of
retrainings tells the other, a lower bound of the ceiling, as methods are compared with the mean of both."""),
    "leakage": ("Leaked test samples", "top-1", """\
Copies of training samples stand in the test set; how often is the original the sample with the highest absolute
influence, or among the five highest? A tie counts as a miss. Fashion-MNIST: 1,000 training images, a small
convolutional network trained for 40 epochs, 30 copies, exact or altered (shifted by a pixel, darker, noisy).
CIFAR-10: the published ResNet-20 weights, 200 of its training images, 10 copies. *Nearest input* compares pixels and
needs no model."""),
    "facts": ("Facts in a language model", "MRR", """\
Two facts about each of 16 invented lands, three phrasings each, and 48 other sentences that name the lands; a fourth
phrasing is the query, the loss of its answer the target. Found is what states the same fact. *TF-IDF* compares words
and needs no model. Only 8 queries for stories15M."""),
    "diffusion": ("A denoiser", "rise of the loss in %", """\
600 MNIST images of 14 x 14 pixels, a perceptron that predicts noise over 100 steps, loss over 16 shared draws.
Targets: held-out images of a digit, as a group. *Share of the class*: of the 60 highest, how many are of that digit
(the set holds 60 of each). *Rise*: how much the held-out loss of the digit rises when the 60 highest are left out and
the model is trained anew with the same draws; mean over two digits. *Random of the class* knows the labels."""),
}  # fmt: skip
PAGE_HEAD = """# Forward-INF: what it finds and what it costs

Written by `python benchmarks/forward_influence --write` from `benchmarks/results/forward_influence.jsonl`; the rows come
from `python benchmarks/forward_influence --data DIR`. Means over {seeds} seeds, which draw data, flips and models anew,
with 95 % intervals (Student t); a part may have fewer, which is said there. Models are those of the last epoch. No setting
of a method was tuned on these figures, but for one: in a first trial five steps, the first of them 1 % of the weights and
the others at its rate, ran away on the denoiser, so the five are 0.1 % each. Sizes are what five seeds allow on one thread.

*forward, SGD*: one step of ascent on the target, as long as 0.1 % of the weights, signed. *5 steps*: five such. *forward,
Adam*: one Adam step of the same length. *{paper}*: the optimiser and rate of the reference code. *Inner
product*, *cosine*: gradients' products at the same model. All layers' weights count. Memorised targets (loss below 0.01)
are replaced by a point nearby, in forward influence alone, unless "kept" is said. Seconds were taken while the machine did
other work, too, on one thread ({machine}); compare them within a row.
"""


def write() -> None:
    rows = ROWS.read()
    lines = [PAGE_HEAD.format(seeds=len({row["seed"] for row in rows}), paper=PAPER, machine=rows[0]["machine"])]
    lines += in_short(rows)
    for part, (title, main_measure, about) in TITLES.items():
        mine = [row for row in rows if row["part"] == part]
        if not mine:
            continue
        lines += [f"## {title}", "", about, ""]
        for setting in dict.fromkeys(row["setting"] for row in mine):
            own = [row for row in mine if row["setting"] == setting]
            lines += table(setting, own) + reading(own, main_measure)
    lines += cost([row for row in rows if row["part"] == "cost"])
    write_page("results-forward.md", lines)


def three(values: list[float], digits: int = 3) -> str:
    """Mean and interval of what is known; a whole number that is always the same stands alone."""
    values = [value for value in values if not np.isnan(value)]
    if values and abs(values[0]) > 1 and set(values) == {round(values[0])}:
        return f"{values[0]:.0f}"
    return interval(values, digits, alone=" (one seed)") or "-"


def table(setting: str, rows: list[Row]) -> list[str]:
    measures = list(next(iter(rows[0]["measures"].values())))
    timed_methods = rows[0]["seconds"]
    about = "; ".join(f"{name} {three([row['about'][name] for row in rows])}" for name in rows[0]["about"])
    lines = [f"### {setting}", "", f"{len(rows)} seed{'s' * (len(rows) > 1)}. {about[0].upper()}{about[1:]}.", ""]
    rows_of_table = []
    for name in rows[0]["measures"]:
        cells = [three([row["measures"][name][one] for row in rows]) for one in measures]
        key = name if name in timed_methods else f"{name}, self"
        if setting == "memorisation":
            key = f"{name}, self"
        spent = f"{np.mean([row['seconds'][key] for row in rows]):.2f}" if key in timed_methods else ""
        rows_of_table.append((name, *cells, spent))
    return [*lines, *markdown_table(("method", *measures, "seconds"), rows_of_table), ""]


COMPARED = (
    "forward, SGD",
    "forward, SGD, 5 steps",
    "forward, Adam",
    f"forward, {PAPER}",
    "cosine",
    "TracIn, 5 checkpoints",
    "loss",
    "nearest input",
    "words in common (TF-IDF)",
    "nearest to the mean image",
)


def differences(rows: list[Row], measure: str | None) -> tuple[str, dict[str, Any]]:
    """The main measure of a setting, and the paired difference of every method to the inner product."""
    measures = rows[0]["measures"]
    measure = measure or next(iter(measures["inner product"]))
    return measure, {
        name: estimate([row["measures"][name][measure] - row["measures"]["inner product"][measure] for row in rows])
        for name in COMPARED
        if name in measures and len(rows) > 1
    }


def reading(rows: list[Row], measure: str | None) -> list[str]:
    """Paired differences to the inner product, in words that the intervals carry."""
    measure, found = differences(rows, measure)
    verdict = {1: "higher", -1: "lower", 0: "no difference that the seeds can tell"}
    lines = [f"* {name}: {one.mean:+.3f} ± {one.half_width:.3f}, {verdict[one.sign]}" for name, one in found.items()]
    return [f"{measure}, paired difference to the inner product:", "", *lines, ""] if lines else []


def in_short(rows: list[Row]) -> list[str]:
    """How often each method differs from the inner product, over all settings."""
    signs: dict[str, list[int]] = {}
    for part, (_, measure, _) in TITLES.items():
        mine = [row for row in rows if row["part"] == part]
        for setting in dict.fromkeys(row["setting"] for row in mine):
            for name, one in differences([row for row in mine if row["setting"] == setting], measure)[1].items():
                signs.setdefault(name, []).append(one.sign)
    lines = [
        "## In short",
        "",
        "In how many settings the main measure (the one that is compared below) differs from the inner product's, by",
        "the 95 % interval of the paired difference; with this many intervals some stray by chance.",
        "",
    ]
    counts = [(name, ones.count(1), ones.count(-1), ones.count(0)) for name, ones in signs.items()]
    return [*lines, *markdown_table(("method", "higher", "lower", "cannot be told"), counts), ""]
