"""docs/benchmark.md, its pages of long tables and its plots, from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from frame.rows import Row, read

from gradsift.evaluation import estimate
from quality import cost, guard, outcomes, ranks, reasons, tables
from quality.methods import DEFAULTS, KINDS, METHODS, Information
from quality.orderings import orderings
from quality.regimes import FULL, REGIMES
from quality.rows import BUDGET, DETECTION, RETRAINING
from quality.summary import in_short
from quality.tables import Values, cell

DOCS = Path(__file__).resolve().parents[2] / "docs"
GRADIENTS = ("l1", "l2", "isolation_forest", "l1_per_class", "l2_per_class", "isolation_forest_per_class", "l1_all",
             "l2_all", "isolation_forest_all", "isolation_forest_per_class_all", "self_datainf", "self_exact")  # fmt: skip
HEAD = """# The benchmark of label-error detection

Written by `python benchmarks/quality --write` from `benchmarks/results/quality_*.parquet`; the rows come from
`python benchmarks/quality --data DIR` (detection: `--stage record`, then `--stage detect`; accuracy: `--stage retrain`).
Every method scores the same trained models and sees the given labels. Base and trimmed models are trained with one
shuffled recipe; accuracy is the last epoch's on a test set that no choice has seen. Methods are compared with those that
read the same: the final model alone, its training, models that have not seen the sample, or a clean validation split.
Planted noise, subsets, weights and order differ from seed to seed; intervals are 95 % (Student t over seeds), differences
are paired by seed. Means over regimes are taken seed by seed, so their intervals tell what other seeds would give in these
regimes, not what other regimes would. Networks are small, so that hundreds of trainings fit on two cores; accuracies are
below what large ones reach.
"""

TABLES = [
    "## The long tables", "",
    "* [Does removing help?](benchmark-accuracy.md): accuracy after retraining, with controls, regime by regime.",
    "* [Flagged is not harmful](benchmark-rare.md): rare and right samples that are flagged, and the price of holding.",
    "* [Every regime, every method](benchmark-regimes.md): average precision, AUROC, precision and cost.",
]  # fmt: skip
ORIGIN = "A part of [the benchmark](benchmark.md), which says what was run, on which machine, and how to read it."


def write() -> None:
    """Writes the pages and their plots."""
    order = list(REGIMES | FULL)
    detection, budget, retraining = (
        sorted(read(path), key=lambda row: order.index(row["regime"])) for path in (DETECTION, BUDGET, RETRAINING)
    )
    detection = [row for row in detection if row["regime"] not in guard.WHOLE]
    budget = [row for row in budget if row["regime"] not in guard.WHOLE]
    if not detection:
        raise SystemExit(f"{DETECTION} holds no rows: run the stages record and detect first")
    lines = [
        HEAD,
        *in_short(detection, retraining),
        *setting(detection),
        *by_kind(detection),
        *flaws(detection, retraining),
    ]
    lines += ["## The paper's orderings", "", *orderings(detection, retraining)]
    lines += [
        "## How many are wrong: the automatic budget", "",
        "In percent of the samples. The automatic budget is confident learning's count of the default detector's belief "
        "(prediction and neighbours); beside it the same count of predictions alone.", "",
        *tables.budget(budget), "",
    ]  # fmt: skip
    lines += explained()
    lines += [
        "## What the default along training costs", "",
        "The cost columns above hold scoring and eval passes, but no recording of training's own passes, which is measured "
        "here. For models of less than a millisecond a step an eval pass every third epoch costs less, and ranks nearly as "
        "well.", "",
        *cost.cost_lines(read(cost.COST), detection), "",
    ]  # fmt: skip
    every = []
    for regime in dict.fromkeys(row["regime"] for row in detection):
        every += [f"## {(REGIMES | FULL)[regime].words}", "", *tables.details(detection, regime), ""]
    _write_page("benchmark.md", [*lines, *TABLES])
    _write_page("benchmark-accuracy.md", ["# Does removing help?", "", ORIGIN, "", *accuracy(retraining)])
    _write_page("benchmark-rare.md", ["# Flagged is not harmful: rare and right", "", ORIGIN, "", *guarded()])
    _write_page("benchmark-regimes.md", ["# Every regime, every method", "", ORIGIN, "", *every])


def _write_page(name: str, lines: Sequence[str]) -> None:
    """Writes a page of the docs."""
    path = DOCS / name
    path.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {path}")


def setting(rows: Sequence[Row]) -> list[str]:
    """The regimes, their noise and how well their models do."""
    lines = [
        "## The regimes", "",
        "| name | what | seeds | samples | wrong | test accuracy, last epoch (%) | a training takes (s) |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for regime in dict.fromkeys(row["regime"] for row in rows):
        mine = [row for row in rows if row["regime"] == regime and row["method"] == "random"]
        samples, wrong = (np.mean([row[column] for row in mine]) for column in ("samples", "wrong"))
        accuracies, seconds = ([row[column] for row in mine] for column in ("accuracy", "training_seconds"))
        lines.append(
            f"| {regime} | {(REGIMES | FULL)[regime].words} | {len(mine)} | {samples:,.0f} | "
            f"{100 * wrong / samples:.1f} % | {cell(estimate(accuracies), 2)} | {np.mean(seconds):.1f} |"
        )
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    return [*lines, "", f"Seconds are of computing, not of the clock. Machine: {machines}.", ""]


def by_kind(rows: Sequence[Row]) -> list[str]:
    """Detection: a summary, a plot of ranks and a matrix for each kind of information."""
    lines = ["## Detection", ""]
    for kind, words in KINDS.items():
        if kind == "control":
            continue
        names = tables.methods_of(kind)
        lines += [f"### Reads {words}", "", *tables.summary(rows, kind), "", *plotted(rows, kind, names)]
        parts = [list(GRADIENTS), [name for name in names if name not in GRADIENTS]] if kind == "final" else [names]
        for part in parts:
            lines += [*tables.matrix(rows, kind, part), ""]
    return lines


def plotted(rows: Sequence[Row], kind: Information, names: Sequence[str]) -> list[str]:
    """The critical-difference plot of one kind, over the regimes in which all its methods have an answer."""
    ap = Values(rows, "ap")
    whole = [regime for regime in ap.regimes if all(ap.of(regime, name) for name in names)]
    if len(whole) < 2:
        return []
    found = ranks.rank({name: [ap.mean(regime, name) for regime in whole] for name in names})
    path = DOCS / f"benchmark-ranks-{kind}.svg"
    words = {name: METHODS[name].words for name in names}
    path.write_text(
        ranks.plot(found, words, f"Mean rank by average precision over {len(whole)} regimes: {KINDS[kind]}")
    )
    fixed = tables.best_fixed(ap, kind)
    default = DEFAULTS.get(kind)
    against = ap.paired_over_regimes(default, fixed) if default else None
    lines = [
        f"![Mean ranks]({path.name})", "",
        f"Friedman's test over {found.regimes} regimes: p = {found.p_value:.1g}. Methods whose mean ranks differ by less "
        f"than {found.difference:.2f} (Nemenyi, 5 %) are joined by a bar: they are not told apart by their ranks.", "",
    ]  # fmt: skip
    if default:
        lines += [
            f"gradsift's default, {METHODS[default].words}, against the best fixed baseline, {METHODS[fixed].words}: "
            f"{cell(against, sign='+')} average precision, mean over regimes.", "",
        ]  # fmt: skip
    return lines


def flaws(detection: Sequence[Row], retraining: Sequence[Row]) -> list[str]:
    """What each flaw of the reference code was worth."""
    lines = [
        "## What each flaw was worth", "",
        "The reference code hands predicted labels to the label scores, removes what influence calls most helpful, takes "
        "the training set for the validation set, and computes self-influence with the sample itself as the training "
        "set. Means over all regimes:", "", *tables.flaws(detection), "",
    ]  # fmt: skip
    if retraining:
        lines += [
            "Its base model sees the same batches in each epoch, while its trimmed models are shuffled, and it reports the "
            "best epoch's test accuracy. In points:", "", *outcomes.training_flaws(retraining), "",
        ]  # fmt: skip
    return lines


def guarded() -> list[str]:
    """Right samples of rare groups that are removed, and what it costs to hold the groups' shares."""
    rows, priced = read(guard.GUARD), read(guard.GUARD_ACCURACY)
    if not rows:
        return []
    lines = [*guard.guard_lines(rows), ""]
    return lines + ([*guard.price_lines(priced), ""] if priced else [])


def explained() -> list[str]:
    """Reasons against what was planted, and suggested labels."""
    rows = read(reasons.REASONS)
    return ["## Are the reasons right?", "", *reasons.reason_lines(rows), ""] if rows else []


def accuracy(rows: Sequence[Row]) -> list[str]:
    """Test accuracy after removal."""
    if not rows:
        return []
    hours = sum(row["seconds"] for row in rows) / 3600
    lines = [
        f"{len(rows):,} trainings, {hours:.1f} hours of computing. All arms of a seed share weights and recipe. No choice "
        "was made on test samples: the true rate is an oracle's budget, the automatic one reads predictions and "
        "features.", "",
        "## Share of the oracle's gain", "", *outcomes.oracle_share(rows), "",
    ]  # fmt: skip
    for regime in dict.fromkeys(row["regime"] for row in rows):
        lines += [f"## {(REGIMES | FULL)[regime].words}: accuracy", "", *outcomes.retraining(rows, regime), ""]
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    return [*lines, f"Machine: {machines}.", ""]
