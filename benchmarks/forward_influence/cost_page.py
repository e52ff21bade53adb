"""The table and the figure of seconds against the number of targets."""

from __future__ import annotations

import numpy as np
from frame.page import DOCS, interval, markdown_table
from frame.rows import Row

FIGURE = DOCS / "results-forward-cost.svg"


COST_HEAD = """## Cost: few targets or many

Seconds of computing (of the process, not of the clock) for `fit` and `influence(targets, each=True)` together, signed, all
layers. Forward influence pays for each target a pass over the training set; an inner product pays once for the training
set's gradients and, where they are too large to keep, again for every chunk of targets whose gradients fit into 128 MiB.

![Seconds against the number of targets]({figure})
"""


def cost(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    curves: dict[str, dict[str, dict[int, float]]] = {}
    lines, table = [COST_HEAD.format(figure=FIGURE.name)], []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        curves[setting] = {}
        names = list(own[0]["measures"])
        for name in names:
            counts = list(own[0]["measures"][name])
            curves[setting][name] = {int(c): float(np.mean([row["measures"][name][c] for row in own])) for c in counts}
        for count in curves[setting][names[0]]:
            cells = [
                interval((row["measures"][name][str(count)] for row in own), 2, alone=" (one seed)") for name in names
            ]
            table.append((setting, count, *cells))
    lines += [*markdown_table(("model and training set", "targets", "forward", "inner product"), table), ""]
    for setting, lines_of in curves.items():
        own = [row for row in rows if row["setting"] == setting]
        gigabytes = own[0]["about"]["n x p in GB"]
        lines.append(
            f"* {setting} (all gradients at once would be {gigabytes:.2g} GB): {crossing(*lines_of.values())}."
        )
    FIGURE.write_text(figure(curves))
    return lines


def crossing(forward: dict[int, float], product: dict[int, float]) -> str:
    """From how many targets on an inner product is cheaper, by the mean seconds."""
    counts = sorted(forward)
    cheaper = [forward[count] < product[count] for count in counts]
    if all(cheaper):
        return f"forward influence is cheaper up to the {counts[-1]} targets that were tried"
    if not cheaper[0]:
        return "an inner product is cheaper from the first target on"
    place = cheaper.index(False)
    low, high = counts[place - 1], counts[place]
    gaps = [np.log(forward[count] / product[count]) for count in (low, high)]
    at = np.exp(np.log(low) + (np.log(high) - np.log(low)) * -gaps[0] / (gaps[1] - gaps[0]))
    where = f"the lines of mean seconds cross between {low} and {high} targets, at about {at:.1f} by interpolation"
    return f"{where}; with fewer, take forward influence, with more, an inner product"


def figure(curves: dict[str, dict[str, dict[int, float]]]) -> str:
    """Seconds against the number of targets, both on logarithmic axes."""
    left, top, width, height = 60, 20, 430, 300
    seconds = [value for lines in curves.values() for line in lines.values() for value in line.values()]
    low, high = np.floor(np.log10(min(seconds))), np.ceil(np.log10(max(seconds)))
    most = np.log10(max(count for lines in curves.values() for line in lines.values() for count in line))

    def at(count: float, value: float) -> tuple[float, float]:
        return left + width * np.log10(count) / most, top + height * (high - np.log10(value)) / (high - low)

    size = f"0 0 {left + width + 20} {top + height + 60 + 18 * len(curves)}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']  # fmt: skip
    for power in range(int(low), int(high) + 1):
        _, y = at(1, 10.0**power)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for power in range(int(most) + 1):
        x, _ = at(10.0**power, 1)
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{10**power:,}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">targets</text>')
    for place, ((setting, lines), colour) in enumerate(
        zip(curves.items(), ("#1f77b4", "#d62728", "#2ca02c"), strict=False)
    ):
        for name, dash in (("forward, SGD", ""), ("inner product", ' stroke-dasharray="5 4"')):
            points = " ".join("{:.1f},{:.1f}".format(*at(count, value)) for count, value in lines[name].items())
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = top + height + 56 + 18 * place
        parts.append(
            f'<line x1="{left}" x2="{left + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{left + 30}" y="{y}">{setting} (dashed: inner product)</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
