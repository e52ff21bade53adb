"""Writes the figures into docs/review.md and draws the plot beside it, from the rows alone."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
from frame.rows import RESULTS, Row, read

from gradsift.evaluation import estimate
from review.draws import COMPONENTS, REGIMES, SAMPLES
from review.people import REVIEWERS, SECONDS, UNSURE
from review.simulate import BATCH, ORDERS, SHARES, TRAINED

ROWS = RESULTS / "review.parquet"
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE, FIGURE = DOCS / "review.md", DOCS / "review-worth.svg"
BEGIN, END = "<!-- figures: python benchmarks/review --write -->", "<!-- end of figures -->"
HIGH = 0.3
"""Rates above are those of which the goals for 40 % speak."""
COLORS = ("#2563eb", "#059669", "#d97706", "#dc2626", "#7c3aed", "#6b7280")
WIDTH, HEIGHT, GAP = 210, 140, 46
"""Size of one drawing, and the room between two."""


def write() -> None:
    """Replaces the figures of the page, and the plot."""
    rows = read(ROWS)
    if not rows:
        return
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + "\n".join([BEGIN, "", *_figures(rows), "", END]) + after, encoding="utf-8")
    FIGURE.write_text(_plot(rows), encoding="utf-8")


def _figures(rows: list[Row]) -> list[str]:
    names = [name for name in REGIMES if any(row["regime"] == name for row in rows)]
    seeds = min(len(_of(rows, name, "queue", "perfect")) for name in names)
    return [
        f"{SAMPLES:,} images of CIFAR-10 a draw, {COMPONENTS} principal components of features of a network trained on",
        f"ImageNet, {seeds} seeds or more, mean ± 95 %. Rescored after {BATCH} decisions; no order reads a true label.",
        f"Machine: {'; '.join(sorted({row['machine'] for row in rows}))}.",
        "",
        "**Decisions of a perfect reviewer until half of the wrong labels are mended.** *Fewest* is half of the wrong",
        "labels: nobody needs less.",
        "",
        "| labels | wrong | fewest | " + " | ".join(ORDERS) + " |",
        "|---|---|---|" + "---|" * len(ORDERS),
        *(_to_half(rows, name) for name in names),
        "",
        *_goals(rows, names),
        "",
        "![Wrong labels that are left, by decisions](review-worth.svg)",
        "",
        "**People who err.** *Human* says what voters of CIFAR-10H say; *unsure* cannot decide about "
        f"{100 * UNSURE:.0f} % of",
        "the images about which annotators of CIFAR-10N differ. Wrong labels that are left after a fifth of the samples,",
        f"and the hours that these take at {SECONDS:g} seconds a decision, or twice as many for ambiguous images.",
        "",
        "| labels | reviewer | before | queue, rescored | queue | random | hours | hours, slow on ambiguous |",
        "|---|---|---|---|---|---|---|---|",
        *(_left(rows, name, reviewer) for name in names for reviewer in REVIEWERS),
        "",
        "**Test accuracy of a head trained again**, in percent, after the perfect reviewer has looked at a share of the",
        "samples.",
        "",
        "| labels | order | " + " | ".join(f"{100 * share:g} %" for share in TRAINED) + " |",
        "|---|---|" + "---|" * len(TRAINED),
        *(_accuracy(rows, name, order) for name in names for order in ("queue, rescored", "random")),
    ]


def _of(rows: list[Row], regime: str, order: str, reviewer: str) -> list[Row]:
    here = {"regime": regime, "order": order, "reviewer": reviewer}
    return sorted((row for row in rows if row.items() >= here.items()), key=lambda row: row["seed"])


def _means(rows: list[Row], regime: str, order: str) -> np.ndarray:
    """Decisions of the perfect reviewer to half, seed by seed."""
    return np.array([row["to_half"] for row in _of(rows, regime, order, "perfect")], dtype=float)


def _told(values: np.ndarray, digits: int = 0) -> str:
    if len(values) < 2:
        return f"{values.mean():,.{digits}f}"
    found = estimate(values.tolist())
    return f"{found.mean:,.{digits}f} ± {found.half_width:,.{digits}f}"


def _to_half(rows: list[Row], name: str) -> str:
    own = _of(rows, name, "queue", "perfect")
    rate = np.mean([row["wrong"] / row["samples"] for row in own])
    fewest = np.array([-(-row["wrong"] // 2) for row in own], dtype=float)
    cells = [_told(_means(rows, name, order)) for order in ORDERS]
    return f"| {REGIMES[name][0]} | {100 * rate:.0f} % | {fewest.mean():,.0f} | {' | '.join(cells)} |"


def _goals(rows: list[Row], names: list[str]) -> list[str]:
    """Every goal beside what was reached, misses too."""
    lines = ["Goals, and what was reached (means over seeds):", ""]
    for name in names:
        own = _of(rows, name, "queue", "perfect")
        rate = np.mean([row["wrong"] / row["samples"] for row in own])
        mean = {order: _means(rows, name, order).mean() for order in ORDERS}
        best = min(mean["queue"], mean["queue, rescored"])
        fewest = np.mean([-(-row["wrong"] // 2) for row in own])
        rivals = {order: value for order, value in mean.items() if not order.startswith("queue")}
        told = []
        if rate <= HIGH:
            times, saved = mean["random"] / best, 1 - mean["queue, rescored"] / mean["queue"]
            told.append(f"{times:.1f} times fewer than random order ({_met(times >= 3, 'at least 3')})")
            told.append(f"rescoring saves {round(100 * saved)} % ({_met(saved >= 0.15, '15 %')})")
        else:
            told.append(
                f"{best / fewest:.2f} times the fewest possible ({_met(best <= 1.15 * fewest, 'at most 1.15')})"
            )
        rival = min(rivals, key=lambda order: rivals[order])
        told.append(
            f"best other order: {rival}, {rivals[rival]:,.0f} ({_met(best < rivals[rival], 'fewer than that')})"
        )
        lines.append(f"* {REGIMES[name][0]}: {'; '.join(told)}.")
    return lines


def _met(reached: bool, goal: str) -> str:
    return f"goal {goal}: {'reached' if reached else 'missed'}"


def _left(rows: list[Row], name: str, reviewer: str) -> str:
    place = SHARES.index(0.2)
    cells, own = [], _of(rows, name, "queue, rescored", reviewer)
    for order in ("queue, rescored", "queue", "random"):
        cells.append(
            _told(np.array([row["wrong_after"][place] for row in _of(rows, name, order, reviewer)], dtype=float))
        )
    before = np.mean([row["wrong_after"][0] for row in own])
    hours = [np.mean([row[key][place] for row in own]) / 3600 for key in ("seconds", "seconds_if_slow")]
    return (
        f"| {REGIMES[name][0]} | {reviewer} | {before:,.0f} | {' | '.join(cells)} | {hours[0]:.2f} | {hours[1]:.2f} |"
    )


def _accuracy(rows: list[Row], name: str, order: str) -> str:
    values = np.array([row["accuracy"] for row in _of(rows, name, order, "perfect")], dtype=float)
    return f"| {REGIMES[name][0]} | {order} | {' | '.join(_told(column, 1) for column in values.T)} |"


def _plot(rows: list[Row]) -> str:
    """Share of the wrong labels that is left against the share of samples looked at, a drawing for each kind of labels."""
    names = [name for name in REGIMES if any(row["regime"] == name for row in rows)]
    columns = 3
    height = -(-len(names) // columns) * (HEIGHT + GAP) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * (WIDTH + GAP) + 20} {height}" '
        'font-family="sans-serif" font-size="11" fill="#777">'
    ]
    for number, name in enumerate(names):
        left, top = 40 + number % columns * (WIDTH + GAP), 24 + number // columns * (HEIGHT + GAP)
        parts.append(f'<text x="{left}" y="{top - 8}">{escape(REGIMES[name][0])}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>')
        for value in (0, 0.5, 1):
            parts.append(
                f'<text x="{left - 4}" y="{top + HEIGHT * (1 - value) + 4}" text-anchor="end">{value:g}</text>'
            )
            parts.append(
                f'<text x="{left + WIDTH * value}" y="{top + HEIGHT + 14}" text-anchor="middle">{value:g}</text>'
            )
        for order, color in zip(ORDERS, COLORS, strict=True):
            own = _of(rows, name, order, "perfect")
            share = np.mean([np.array(row["wrong_after"]) / row["wrong"] for row in own], axis=0)
            points = " ".join(
                f"{left + WIDTH * x:.1f},{top + HEIGHT * (1 - y):.1f}" for x, y in zip(SHARES, share, strict=True)
            )
            dashes = "" if order.startswith("queue") else ' stroke-dasharray="4 2"'
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"{dashes}/>')
    for number, (order, color) in enumerate(zip(ORDERS, COLORS, strict=True)):
        parts.append(f'<text x="{40 + number * 125}" y="{height - 30}" fill="{color}">{escape(order)}</text>')
    parts.append(
        f'<text x="40" y="{height - 10}">across: share of samples decided; up: share of wrong labels left</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
