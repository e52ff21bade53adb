"""The plot: for each model and work the time of every tool over a training pass, on a logarithmic axis."""

from __future__ import annotations

import math
from html import escape

from frame.rows import Row
from goals import PLAIN, WHOLE, Found
from models import CASES

LEFT, WIDTH, STEP, TOP = 330, 560, 15, 44
WORKS = ("last layer", *WHOLE)
KINDS = {
    "gradsift": '<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="#1f77b4"/>',
    "peer": '<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="none" stroke="#d62728" stroke-width="1.3"/>',
    "vmap(grad)": '<path d="M{x:.1f} {y:.1f}m-4 3.5l4 -7l4 7z" fill="none" stroke="#2ca02c" stroke-width="1.3"/>',
    "loop": '<path d="M{x:.1f} {y:.1f}m-3.5 -3.5l7 7m0 -7l-7 7" stroke="#555" stroke-width="1.3"/>',
}
LEGEND = {
    "gradsift": "gradsift",
    "peer": "a peer, on the parameters that it serves",
    "vmap(grad)": "vmap(grad)",
    "loop": "one-sample loop",
}


def draw(found: Found) -> str:
    """An SVG with one line a model and work."""
    lines: list[tuple[str, str, list[Row]]] = []
    for model, case in CASES.items():
        for work in WORKS:
            mine = [
                row
                for row in found.rows
                if row["measure"] == "time" and row["model"] == model and row["work"] == work and row.get("training")
            ]
            if mine:
                lines.append((case.title, work, mine))
    values = [row["training"] for _, _, mine in lines for row in mine] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def at(value: float) -> float:
        return LEFT + WIDTH * (math.log10(value) - low) / (high - low)

    bottom = TOP + STEP * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {bottom + 44}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    x = 10
    for kind, text in LEGEND.items():
        parts += [KINDS[kind].format(x=x, y=14), f'<text x="{x + 9}" y="18">{escape(text)}</text>']
        x += 40 + 6 * len(text)
    for power in range(low, high + 1):
        x = at(10.0**power)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{10.0**power:g}</text>')
    parts.append(f'<line x1="{at(1):.1f}" x2="{at(1):.1f}" y1="{TOP - 10}" y2="{bottom}" stroke="#888"/>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">x training pass</text>')
    last = ""
    for place, (title, work, mine) in enumerate(lines):
        y = TOP + STEP * place
        if title != last:
            parts.append(f'<text x="8" y="{y + 4}" font-weight="bold">{escape(title)}</text>')
            parts.append(f'<line x1="8" x2="{LEFT + WIDTH}" y1="{y - 8}" y2="{y - 8}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(work)}</text>')
        for row in sorted(mine, key=lambda row: row["peer"] == "gradsift"):  # ours on top
            kind = row["peer"] if row["peer"] in KINDS else "peer"
            if kind == "peer" and row["peer"] in PLAIN:
                continue
            parts.append(KINDS[kind].format(x=at(row["training"]), y=y))
        last = title
    return "\n".join([*parts, "</svg>"]) + "\n"
