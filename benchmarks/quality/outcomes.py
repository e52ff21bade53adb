"""Pieces of the page, from retraining rows alone: test accuracy after removal, share of the oracle's gain, flaws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from frame.rows import Row

from gradsift.evaluation import estimate
from quality.methods import METHODS
from quality.retrain import NO_TRIM, UNSHUFFLED
from quality.tables import Values, cell

BUDGETS = {
    "true": "as many as are wrong",
    "auto": "automatic",
    "auto, along training": "automatic, along training",
    "2.5 %": "2.5 %",
    "5 %": "5 %",
    "10 %": "10 %",
}


def of_budget(rows: Sequence[Row], budget: str, column: str = "accuracy") -> Values:
    """Arms at one budget, with the untrimmed ones."""
    return Values([row for row in rows if row["budget"] in (budget, "none")], column, "arm")


def arm_words(arm: str) -> str:
    """An arm's words."""
    return METHODS[arm].words if arm in METHODS else arm


def retraining(rows: Sequence[Row], regime: str) -> list[str]:
    """Test accuracy after removal in one regime, a block a budget.

    Args:
        rows: Retraining rows.
        regime: The regime.

    Returns:
        Lines of Markdown.
    """
    mine = [row for row in rows if row["regime"] == regime]
    lines = [
        "| budget | arm | removed | of them wrong | test accuracy, last epoch (%) | against random | against no trim |",
        "|---|---|---|---|---|---|---|",
    ]
    untrimmed = of_budget(mine, "none")
    lines.append(f"| none | {NO_TRIM} | 0 | 0 | {cell(untrimmed.estimate(regime, NO_TRIM), 2)} | | |")
    for budget, words in BUDGETS.items():
        own = [row for row in mine if row["budget"] == budget]
        values = of_budget(mine, budget)
        arms = sorted({row["arm"] for row in own}, key=lambda arm: (-values.mean(regime, arm), arm))
        for arm in arms:
            removed, wrong = (
                np.mean([row[c] for row in own if row["arm"] == arm]) for c in ("removed", "wrong_removed")
            )
            against = [
                cell(estimate(found), 2, "+")
                if arm != control and (found := values.paired(regime, arm, control))
                else ""
                for control in ("random", NO_TRIM)
            ]
            lines.append(
                f"| {words} | {arm_words(arm)} | {removed:,.0f} | {wrong:,.0f} | {cell(values.estimate(regime, arm), 2)} | "
                + " | ".join(against)
                + " |"
            )
    return lines


def oracle_share(rows: Sequence[Row]) -> list[str]:
    """How much of the oracle's gain each method recovers, in regimes where the oracle gains beyond its interval.

    ``(accuracy - no trim) / (oracle at the true rate - no trim)``, of means over seeds.

    Args:
        rows: Retraining rows.

    Returns:
        Lines of Markdown.
    """
    gains, shares = recovered(rows)
    kept = list(gains)
    left = [regime for regime in of_budget(rows, "true").regimes if regime not in gains]
    if not kept:
        return ["In no regime does removing all wrong labels gain more than its interval."]
    lines = [
        "| arm | budget | " + " | ".join(kept) + " | mean |",
        "|---" * (len(kept) + 3) + "|",
        "| the oracle's gain, points | as many as are wrong | "
        + " | ".join(cell(estimate(gains[regime]), 2, "+") for regime in kept)
        + " | |",
    ]
    for (arm, budget), found in sorted(shares.items(), key=lambda item: -float(np.mean(item[1]))):
        cells = [f"{100 * one:.0f} %" for one in [*found, float(np.mean(found))]]
        lines.append(f"| {arm_words(arm)} | {BUDGETS[budget]} | " + " | ".join(cells) + " |")
    if left:
        lines += ["", f"Left out, as the oracle gains nothing there that could be told: {', '.join(left)}."]
    return lines


def recovered(rows: Sequence[Row]) -> tuple[dict[str, list[float]], dict[tuple[str, str], list[float]]]:
    """What the oracle gains, and the share of it that other arms recover.

    Args:
        rows: Retraining rows.

    Returns:
        Regime to the oracle's gains in points, seed by seed, where they are beyond their interval; arm and budget to
        shares, one a regime of those, for arms that every one has.
    """
    true = of_budget(rows, "true")
    every = {regime: true.paired(regime, "oracle", NO_TRIM) for regime in true.regimes}
    gains = {regime: gain for regime, gain in every.items() if len(gain) > 1 and estimate(gain).sign > 0}
    arms = [arm for arm in dict.fromkeys(row["arm"] for row in rows) if arm not in (NO_TRIM, UNSHUFFLED, "oracle")]
    shares: dict[tuple[str, str], list[float]] = {}
    for budget in ("true", "auto", "auto, along training"):
        values = of_budget(rows, budget)
        for arm in arms:
            paired = [values.paired(regime, arm, NO_TRIM) for regime in gains]
            if gains and all(paired):
                shares[arm, budget] = [
                    float(np.mean(own) / np.mean(gain)) for own, gain in zip(paired, gains.values(), strict=True)
                ]
    return gains, shares


def training_flaws(rows: Sequence[Row]) -> list[str]:
    """What an unshuffled base model and best-epoch accuracy are worth, by regime."""
    last, best = of_budget(rows, "true"), of_budget(rows, "true", "best_accuracy")
    lines = [
        "| regime | no trim, shuffled, last epoch | batches in the same order: difference | best epoch instead of last, no "
        "trim | the same, after removing at random |",
        "|---|---|---|---|---|",
    ]
    for regime in last.regimes:
        unshuffled = last.paired(regime, UNSHUFFLED, NO_TRIM)
        epochs = []
        for arm in (NO_TRIM, "random"):
            first, second = best.of(regime, arm), last.of(regime, arm)
            found = [first[seed] - second[seed] for seed in first]
            epochs.append(cell(estimate(found), 2, "+") if found else "")
        lines.append(
            f"| {regime} | {cell(last.estimate(regime, NO_TRIM), 2)} | "
            f"{cell(estimate(unshuffled), 2, '+') if unshuffled else ''} | {epochs[0]} | {epochs[1]} |"
        )
    return lines
