"""Pieces of the page, from detection rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from frame.page import interval
from frame.rows import Row

from gradsift.evaluation import Estimate, estimate
from quality.methods import DEFAULTS, FLAWS, METHODS, OURS, Information

LOW_RATE = 0.21
"""Up to here the automatic budget is to be within 3 points, above within 6."""
ESTIMATES = {
    "final": "automatic, final model",
    "trajectory": "automatic, along training (own passes)",
    "confident learning, final": "confident learning, final model",
    "confident learning, out-of-fold": "confident learning, out-of-fold",
}
SHARED_SEEDS = 5
"""Means over regimes are taken seed by seed, over the seeds that every regime has."""


class Values:
    """One column of rows, by regime, method and seed.

    Args:
        rows: The rows.
        column: The column.
        name: The column that names the method.
    """

    def __init__(self, rows: Sequence[Row], column: str, name: str = "method") -> None:
        self._by: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for row in rows:
            if row[column] is not None:
                self._by[row["regime"], row[name]][row["seed"]] = row[column]
        self.regimes = list(dict.fromkeys(row["regime"] for row in rows))

    def of(self, regime: str, method: str) -> dict[int, float]:
        """Seed to value."""
        return self._by.get((regime, method), {})

    def mean(self, regime: str, method: str) -> float:
        """Mean over seeds, NaN where there is none."""
        found = self.of(regime, method)
        return float(np.mean(list(found.values()))) if found else float("nan")

    def estimate(self, regime: str, method: str) -> Estimate | None:
        """Mean and interval over seeds."""
        found = self.of(regime, method)
        return estimate(list(found.values())) if found else None

    def paired(self, regime: str, method: str, other: str) -> list[float]:
        """Differences of two methods over the seeds that they share."""
        first, second = self.of(regime, method), self.of(regime, other)
        return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]

    def over_regimes(self, method: str) -> float:
        """Mean over regimes of the means over seeds."""
        return float(np.nanmean([self.mean(regime, method) for regime in self.regimes]))

    def paired_over_regimes(self, method: str, other: str) -> Estimate | None:
        """Difference of two methods, averaged over regimes seed by seed; the interval is over seeds."""
        by_seed: dict[int, list[float]] = defaultdict(list)
        for regime in self.regimes:
            first, second = self.of(regime, method), self.of(regime, other)
            for seed in first.keys() & second.keys():
                if seed < SHARED_SEEDS:
                    by_seed[seed].append(first[seed] - second[seed])
        most = max(map(len, by_seed.values()), default=0)
        whole = [float(np.mean(each)) for each in by_seed.values() if len(each) >= 0.9 * most]
        return estimate(whole) if whole else None


def methods_of(kind: Information) -> list[str]:
    """Names of the methods with one kind of information."""
    return [name for name, method in METHODS.items() if method.information == kind]


def cell(found: Estimate | None, digits: int = 3, sign: str = "") -> str:
    """Mean ± half width."""
    return "" if found is None else interval(found, digits, sign=sign)


def best_fixed(values: Values, kind: Information) -> str:
    """The baseline of one kind with the highest mean over regimes; what is gradsift's own is none."""
    known = [name for name in methods_of(kind) if any(values.of(regime, name) for regime in values.regimes)]
    return max((name for name in known if name not in OURS), key=values.over_regimes)


def summary(rows: Sequence[Row], kind: Information) -> list[str]:
    """Methods of one kind, averaged over regimes, beside the best fixed baseline of the kind.

    Args:
        rows: Detection rows.
        kind: The kind of information.

    Returns:
        Lines of Markdown.
    """
    ap, auroc, precision = (Values(rows, column) for column in ("ap", "auroc", "precision_at_k"))
    rare = Values(rows, "rarest_class_right")
    fixed, names = best_fixed(ap, kind), methods_of(kind)
    lines = [
        f"| method | average precision | against {METHODS[fixed].words} | against each regime's best baseline: mean; worst "
        "| AUROC | precision at the true rate | right samples of the rarest class removed | cost, share of training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(names, key=ap.over_regimes, reverse=True):
        gaps = {regime: gap(ap, regime, kind, name) for regime in ap.regimes}
        worst = min(gaps, key=lambda regime: gaps[regime] if gaps[regime] == gaps[regime] else np.inf)
        mark = " **(default)**" if DEFAULTS.get(kind) == name else ""
        cells = (
            f"{METHODS[name].words}{mark}",
            f"{ap.over_regimes(name):.3f}",
            "" if name == fixed else cell(ap.paired_over_regimes(name, fixed), sign="+"),
            f"{np.nanmean(list(gaps.values())):+.3f}; {gaps[worst]:+.3f} ({worst})",
            f"{auroc.over_regimes(name):.3f}",
            f"{precision.over_regimes(name):.3f}",
            f"{100 * rare.over_regimes(name):.1f} %",
            cost(rows, name),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def gap(values: Values, regime: str, kind: Information, name: str) -> float:
    """How far a method is ahead of a regime's best baseline of a kind, over the seeds that both have an answer for."""
    others = [values.paired(regime, name, one) for one in methods_of(kind) if one not in (name, *OURS)]
    return min((float(np.mean(found)) for found in others if found), default=float("nan"))


def cost(rows: Sequence[Row], name: str) -> str:
    """Median over regimes of the seconds beyond training, as a share of training; toys, whose passes cost nothing, too."""
    shares = [
        (row["seconds"] + row["information_seconds"]) / row["training_seconds"]
        for row in rows
        if row["method"] == name and row["samples"] > 1000
    ]
    return f"{100 * float(np.median(shares)):.1f} %" if shares else ""


def matrix(rows: Sequence[Row], kind: Information, names: Sequence[str]) -> list[str]:
    """Mean average precision, a row a regime; the best of the kind in bold."""
    ap = Values(rows, "ap")
    lines = ["| regime | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for regime in ap.regimes:
        best = np.nanmax([ap.mean(regime, name) for name in methods_of(kind)])
        cells = []
        for name in names:
            mean = ap.mean(regime, name)
            shown = "" if np.isnan(mean) else f"{mean:.3f}"
            cells.append(f"**{shown}**" if mean == best else shown)
        lines.append(f"| {regime} | " + " | ".join(cells) + " |")
    return lines


def details(rows: Sequence[Row], regime: str) -> list[str]:
    """Every method in one regime."""
    mine = [row for row in rows if row["regime"] == regime]
    ap, auroc, precision = (Values(mine, column) for column in ("ap", "auroc", "precision_at_k"))
    largest, smallest, seconds = (Values(mine, c) for c in ("largest_class_share", "smallest_class_share", "seconds"))
    everything = Values(rows, "ap")
    lines = [
        "| method | reads | average precision | against the best fixed baseline of its kind | AUROC "
        "| precision at the true rate | removed of the given classes | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, method in METHODS.items():
        if not ap.of(regime, name):
            continue
        fixed = best_fixed(everything, method.information) if method.information != "control" else "random"
        against = ap.paired(regime, name, fixed) if name != fixed else []
        lines.append(
            f"| {method.words} | {method.information} | {cell(ap.estimate(regime, name))} | "
            f"{cell(estimate(against), sign='+') if against else ''} | {cell(auroc.estimate(regime, name))} | "
            f"{cell(precision.estimate(regime, name))} | {100 * smallest.mean(regime, name):.0f} to "
            f"{100 * largest.mean(regime, name):.0f} % | {seconds.mean(regime, name):.2g} |"
        )
    return lines


def flaws(rows: Sequence[Row]) -> list[str]:
    """Each flaw of the reference code beside the method as it should be, averaged over regimes."""
    ap, auroc = Values(rows, "ap"), Values(rows, "auroc")
    lines = [
        "| method | as the reference code did it | average precision: as it should be | as it was | difference "
        "| AUROC: as it should be | as it was |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (right, flawed) in FLAWS.items():
        lines.append(
            f"| {METHODS[right].words} | {flawed.words} | {ap.over_regimes(right):.3f} | {ap.over_regimes(name):.3f} | "
            f"{cell(ap.paired_over_regimes(name, right), sign='+')} | {auroc.over_regimes(right):.3f} | "
            f"{auroc.over_regimes(name):.3f} |"
        )
    return lines


def budget(rows: Sequence[Row]) -> list[str]:
    """The automatic budget beside the true rate, in percent of the samples."""
    lines = [
        "| regime | wrong | "
        + " | ".join(f"{words} | its range holds the truth" for words in ESTIMATES.values())
        + " |",
        "|---" * (2 + 2 * len(ESTIMATES)) + "|",
    ]
    errors: dict[str, list[float]] = defaultdict(list)
    for regime in dict.fromkeys(row["regime"] for row in rows):
        mine = [row for row in rows if row["regime"] == regime]
        cells = [f"{100 * np.mean([row['true'] for row in mine]):.1f}"]
        for name in ESTIMATES:
            own = [row for row in mine if row["estimate"] == name]
            held = sum(row["low"] <= row["true"] <= row["high"] for row in own)
            errors[name].append(float(np.mean([abs(row["fraction"] - row["true"]) for row in own])))
            cells += [cell(estimate([100 * row["fraction"] for row in own]), 1), f"{held} of {len(own)}"]
        lines.append(f"| {regime} | " + " | ".join(cells) + " |")
    rates = np.array(rates_of(rows))
    found, words = {name: np.array(each) for name, each in errors.items()}, list(ESTIMATES.values())
    lines += ["", "| absolute error, points | " + " | ".join(words) + " |", "|---" * (1 + len(words)) + "|"]
    for what, part in {"rates up to 21 %": rates <= LOW_RATE, "higher rates": rates > LOW_RATE}.items():
        cells = [f"{100 * found[name][part].mean():.1f}" for name in ESTIMATES if part.any()]
        lines.append(f"| mean over regimes, {what} | " + " | ".join(cells) + " |")
    met = [str(int((found[name] <= np.where(rates <= LOW_RATE, 0.03, 0.06)).sum())) for name in ESTIMATES]
    return [*lines, f"| regimes within 3 points (6 at higher rates), of {len(rates)} | " + " | ".join(met) + " |"]


def rates_of(rows: Sequence[Row]) -> list[float]:
    """The true rate of each regime, mean over seeds."""
    names = dict.fromkeys(row["regime"] for row in rows)
    return [float(np.mean([row["true"] for row in rows if row["regime"] == regime])) for regime in names]
