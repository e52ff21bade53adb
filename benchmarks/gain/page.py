"""The page: gains over no change, first of all as shares of what removing exactly the wrong labels gains."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from frame.page import interval
from frame.rows import RESULTS, Row, read

from gain.regimes import EVERY, KINDS, Kind
from gradsift.evaluation import Estimate, estimate

ROWS = RESULTS / "gain.parquet"
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "results-gain.md"
CONTROLS = ("random drop, as many", "label smoothing 0.1", "label smoothing 0.3", "averaged weights")
OTHERS = (
    "confident learning", "confident learning, heads", "averaged margin, true number",
    "small losses, true share", "early-learning regularisation",
)  # fmt: skip
OURS = (
    "auto", "auto, heads choose", "final model, drop", "cross-fitted, drop",
    "cross-fitted, soft", "cross-fitted, relabel",
    "cross-fitted, weight", "heads, drop", "heads, soft", "heads, relabel", "heads, weight",
)  # fmt: skip
SHOWN = ("oracle drop", "oracle relabel", *OURS, *OTHERS, *CONTROLS)
WORTH = 1.0
"""Points that removing exactly the wrong labels must gain for a regime to count in shares."""


class Gains:
    """Paired differences to no change, by regime and arm.

    Args:
        rows: Rows of all regimes.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._accuracy = {(row["regime"], row["arm"], row["seed"]): row["accuracy"] for row in rows}
        self.regimes = [name for name in EVERY if any(row["regime"] == name for row in rows)]

    def of(self, regime: str, arm: str, among: set[int] | None = None) -> list[float]:
        """Accuracy after a cure less that without one, in points, seed by seed; of all seeds, or of some."""
        seeds = sorted({seed for name, other, seed in self._accuracy if (name, other) == (regime, arm)})
        seeds = [seed for seed in seeds if among is None or seed in among]
        paired = [(regime, "no change", seed) for seed in seeds]
        return [
            self._accuracy[regime, arm, seed] - self._accuracy[base]
            for seed, base in zip(seeds, paired, strict=True)
            if base in self._accuracy
        ]

    def estimate(self, regime: str, arm: str) -> Estimate | None:
        """Mean gain with its interval; ``None`` where the arm was not run."""
        values = self.of(regime, arm)
        return estimate(values) if values else None

    def paired(self, regime: str, arm: str, other: str) -> tuple[float, float] | None:
        """Mean gains of two arms over the seeds that both have; ``None`` where there are none."""
        accuracy = self._accuracy
        seeds = {seed for name, one, seed in accuracy if name == regime and one == arm}
        seeds = {s for s in seeds if (regime, other, s) in accuracy and (regime, "no change", s) in accuracy}
        if not seeds:
            return None
        gained = [[accuracy[regime, one, s] - accuracy[regime, "no change", s] for s in seeds] for one in (arm, other)]
        return float(np.mean(gained[0])), float(np.mean(gained[1]))

    def shares(self, arm: str, regimes: Iterable[str]) -> tuple[float, float, int]:
        """Share of the oracle's gain: ratio of means, mean of ratios, and of how many regimes."""
        found = [self.paired(name, arm, "oracle drop") for name in regimes]
        pairs = [pair for pair in found if pair is not None and pair[1] >= WORTH]
        if not pairs:
            return float("nan"), float("nan"), 0
        gains, oracle = np.array(pairs).T
        return float(gains.sum() / oracle.sum()), float((gains / oracle).mean()), len(pairs)


def write() -> None:
    """Writes the page from the rows."""
    rows = read(ROWS)
    gains = Gains(rows)
    kinds = {kind: [name for name in gains.regimes if EVERY[name].kind == kind] for kind in KINDS}
    kinds = {kind: names for kind, names in kinds.items() if names}
    machines = sorted({row["machine"] for row in rows})
    lines = [
        "# What cures gain",
        "",
        "Test accuracy of the last epoch less that of training on the data as they are, in points; same recipe and seed",
        "for all arms, means over seeds with 95 % intervals. *Oracle* arms know the true labels. No other arm reads a",
        f"clean label. Machine: {'; '.join(machines)}. Written by `python benchmarks/gain` from `results/gain.parquet`.",
        "",
        *_share_table(gains, kinds),
    ]
    for kind, names in kinds.items():
        lines += ["", f"## {KINDS[kind]}", "", *_table(gains, names)]
    lines += ["", *_expectations(rows, gains)]
    lines += [
        "",
        "## How many samples each cure changes, and how many of them are wrong",
        "",
        *_changed(rows, gains.regimes),
    ]
    PAGE.write_text("\n".join(lines) + "\n")


def _share_table(gains: Gains, kinds: dict[Kind, list[str]]) -> list[str]:
    lines = [
        "## Share of what removing exactly the wrong labels gains",
        "",
        f"Over regimes where that is at least {WORTH:g} point. First the ratio of mean gains, then the mean of the",
        "regimes' ratios. *Unseen* are data sets that were not in view when constants of the program were chosen.",
        "",
        "| arm | " + " | ".join(f"{kind}, {part}" for kind in kinds for part in ("all", "unseen")) + " |",
        "|---|" + "---|---|" * len(kinds),
    ]
    for arm in SHOWN[1:]:
        cells = []
        for names in kinds.values():
            for part in (names, [name for name in names if not EVERY[name].chosen_on]):
                ratio, mean, count = gains.shares(arm, part)
                cells.append(f"{100 * ratio:.0f} %, {100 * mean:.0f} % of {count}" if count else "–")
        if set(cells) != {"–"}:
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def _table(gains: Gains, names: list[str]) -> list[str]:
    arms = [arm for arm in SHOWN if any(gains.of(name, arm) for name in names)]
    lines = ["| regime | seeds | " + " | ".join(arms) + " |", "|---|---|" + "---|" * len(arms)]
    for name in names:
        cells = [_cell(gains.estimate(name, arm)) for arm in arms]
        words = EVERY[name].words + ("" if EVERY[name].chosen_on else ", unseen")
        lines.append(f"| {words} | {len(gains.of(name, 'no change'))} | " + " | ".join(cells) + " |")
    return lines


def _expectations(rows: list[Row], gains: Gains) -> list[str]:
    lines = [
        "## What the choice expects, and what comes",
        "",
        "*Helps*: draws in which the choice says that a cure helps. *Expected*: gain on held-out samples where it says",
        "so. *Right labels*: cures have not seen these samples' labels, and accuracy is corrected for flips. *Given",
        "labels*: cures know of the labels that they are compared on, in rows from before decisions 0027 (features) and",
        "0030 (from scratch). Labels as published are a control: there is little to gain. Of",
        "labels at random, another one, nothing can be learnt.",
        "",
        "| regime | draws | helps | expected | of | gained in these draws | gained in all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in gains.regimes:
        own = [row for row in rows if (row["regime"], row["arm"]) == (name, "auto")]
        if not own:
            continue
        helped = [row for row in own if row.get("verdict") == "helps"]
        seeds = {row["seed"] for row in helped}
        expected = f"{np.mean([row['expected'] for row in helped]):+.2f}" if helped else "–"
        got = f"{np.mean(gains.of(name, 'auto', seeds)):+.2f}" if helped else "–"
        of = "right labels" if all(row.get("corrected") for row in own) else "given labels"
        cells = f"{len(own)} | {len(helped)} | {expected} | {of} | {got} | {_cell(gains.estimate(name, 'auto'))}"
        lines.append(f"| {EVERY[name].words} | {cells} |")
    return lines


def _cell(found: Estimate | None) -> str:
    return "" if found is None else interval(found, 2, sign="+")


def _changed(rows: list[Row], names: list[str]) -> list[str]:
    lines = [
        "| regime | wrong labels | cure | changed | of these wrong | labels right afterwards |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        for arm in OURS + OTHERS:
            own = [row for row in rows if (row["regime"], row["arm"]) == (name, arm) and row.get("changed") is not None]
            if not own:
                continue
            changed = np.mean([row["changed"] / row["samples"] for row in own])
            right = np.array([row["changed_wrong"] for row in own], dtype=float)
            after = np.array([row.get("label_accuracy") or np.nan for row in own], dtype=float)
            lines.append(
                f"| {EVERY[name].words} | {100 * own[0]['wrong']:.1f} % | {arm} | {100 * changed:.1f} % | "
                f"{_percent(right)} | {_percent(after)} |"
            )
    return lines


def _percent(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{100 * known.mean():.1f} %" if len(known) else "–"
