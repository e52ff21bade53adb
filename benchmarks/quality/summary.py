"""What the benchmark says in short, against the goals that were set before it was run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from frame.rows import Row

from quality import outcomes, tables
from quality.methods import DEFAULTS, METHODS
from quality.tables import Values, cell

AHEAD = {"final": 0.03, "trajectory": 0.015}
"""By how much each default is to be ahead of the best fixed baseline of its kind."""
BELOW = 0.01
"""By how much it may be below the best baseline of a single regime."""
RECOVERED = 0.8
"""Share of the oracle's gain that is to be recovered on average."""
BUDGETS = {"posterior": ("true", "auto"), "posterior_own_passes": ("true", "auto, along training")}


def in_short(detection: Sequence[Row], retraining: Sequence[Row]) -> list[str]:
    """The table of goals.

    Args:
        detection: Detection rows of the regimes that count.
        retraining: Retraining rows.

    Returns:
        Lines of Markdown.
    """
    ap = Values(detection, "ap")
    lines = ["## In short", "", "| goal | measured | reached |", "|---|---|---|"]
    for kind, default in DEFAULTS.items():
        fixed = tables.best_fixed(ap, kind)
        ahead = ap.paired_over_regimes(default, fixed)
        gaps = {regime: tables.gap(ap, regime, kind, default) for regime in ap.regimes}
        under = [f"{regime} {gap:+.3f}" for regime, gap in sorted(gaps.items(), key=lambda one: one[1]) if gap < -BELOW]
        words = f"`{default}`" if kind == "final" else "`posterior_along_training`, own passes"
        lines += [
            f"| {words}: average precision at least {AHEAD[kind]:+.3f} against the best fixed baseline that reads the same "
            f"({METHODS[fixed].words}) | {ap.over_regimes(default):.3f} against {ap.over_regimes(fixed):.3f}: "
            f"{cell(ahead, sign='+')} | {told(ahead is not None and ahead.mean >= AHEAD[kind])} |",
            f"| {words}: never more than {BELOW} below a single regime's best baseline | "
            f"{', '.join(under) or 'nowhere'} | {told(not under)} ({len(gaps) - len(under)} of {len(gaps)} regimes) |",
        ]  # fmt: skip
    gains, shares = outcomes.recovered(retraining)
    for default, budgets in BUDGETS.items():
        for budget in budgets:
            found = shares.get((default, budget))
            if found:
                parts = ", ".join(f"{regime} {100 * one:.0f} %" for regime, one in zip(gains, found, strict=True))
                words = f"{METHODS[default].words}, budget {outcomes.BUDGETS[budget]}"
                goal = f"at least {100 * RECOVERED:.0f} % of the oracle's gain in accuracy, on average"
                mean = float(np.mean(found))
                lines.append(f"| {words}: {goal} | {100 * mean:.0f} % ({parts}) | {told(mean >= RECOVERED)} |")
    return [*lines, ""]


def told(reached: bool) -> str:
    """Yes or no."""
    return "yes" if reached else "**no**"
