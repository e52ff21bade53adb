"""Writes the figures of README.md from committed rows and from the demo's own data.

    python scripts/readme_figures.py [--check]

What cures gain comes from ``benchmarks/results/gain.parquet``; the five rows are those of an audit of the demo's digits.
``--check`` writes nothing and fails where the page would change.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from frame.rows import read  # noqa: E402
from gain.page import ROWS, WORTH, Gains  # noqa: E402
from gain.regimes import EVERY  # noqa: E402

README = ROOT / "README.md"
ARMS = {
    "**gradsift**, `improve`": "auto",
    "confident learning (cleanlab's cut) on gradsift's heads": "confident learning, heads",
    "confident learning, last epoch of four cross-fitted trainings": "confident learning",
    "a robust loss: early-learning regularisation": "early-learning regularisation",
    "label smoothing 0.3": "label smoothing 0.3",
}
COLUMNS = ("position", "given_label", "predicted_label", "suggested_label", "score", "flagged", "reason_kind")


def gains() -> str:
    """Share of the oracle's gain by kind of regime, and the worst regime of each method."""
    rows = read(ROWS)
    found = Gains(rows)
    run = [name for name in found.regimes if found.of(name, "auto")]
    kinds = {"frozen features": "frozen", "fine-tuned": "fine-tuned", "from scratch": "scratch"}
    seeds = sorted({len(found.of(name, arm)) for name in run for arm in ARMS.values()} - {0})
    number = f"{_range(seeds)} seed{'s' if seeds[-1] > 1 else ''}"
    worth = {
        words: [
            name for name in run if EVERY[name].kind == kind and np.mean(found.of(name, "oracle drop") or [0]) >= WORTH
        ]
        for words, kind in kinds.items()
        if any(EVERY[name].kind == kind for name in run)
    }
    unseen = [name for names in worth.values() for name in names if not EVERY[name].chosen_on]
    lines = [
        "Test accuracy gained, as a share of what removing exactly the wrong labels gains, which needs the truth (ratio of",
        f"means; {number} each). Only the oracle reads clean labels. On data sets that no constant was chosen on, "
        f"`improve` reaches {_share(found, 'auto', unseen)} ({len(unseen)} regimes). {rows[0]['machine']}.",
        "",
        "| | "
        + " | ".join(f"{kind}, {len(names)} regimes" for kind, names in worth.items())
        + " | worst regime, points |",
        "|---|" + "---|" * (1 + len(worth)),
    ]
    for words, arm in ARMS.items():
        cells = [_share(found, arm, names) for names in worth.values()]
        names = [name for name in run if found.of(name, arm)]
        if not names:
            continue
        lowest = min((float(np.mean(found.of(name, arm))), name) for name in names)
        lines.append(f"| {words} | {' | '.join(cells)} | {lowest[0]:+.1f} ({EVERY[lowest[1]].words}) |")
    return "\n".join(lines)


def _share(found: Gains, arm: str, names: list[str]) -> str:
    ratio, _, count = found.shares(arm, [name for name in names if found.of(name, arm)])
    fewer = "" if count == len(names) else f" ({count} regimes)"
    return f"{100 * ratio:.0f} %{fewer}" if count else ""


def _range(seeds: list[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


def audit_of_digits() -> Any:
    """The audit of the demo's digits, from their pixels."""
    import gradsift
    from gradsift.demo.digits import load

    train = load()[0]
    features = train["x"].reshape(len(train["x"]), -1)
    return gradsift.audit_predictions(train["label"], features=features, data=train, show_progress=False)


def rows() -> str:
    """The five most suspect digits of the demo."""
    audit = audit_of_digits()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in audit.worst(5).select(list(COLUMNS)).to_pylist():
        lines.append("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    return "\n".join(lines)


def written(text: str) -> str:
    """The page with its figures."""
    for name, body in (("rows", rows()), ("gains", gains())):
        begin, end = re.escape(f"<!-- {name}: "), re.escape(f"<!-- end of {name} -->")
        before, after = re.search(rf"{begin}[^>]*-->\n", text), re.search(end, text)
        text = f"{text[: before.end()]}\n{body}\n\n{text[after.start() :]}"
    return text


if __name__ == "__main__":
    page = written(README.read_text())
    if "--check" in sys.argv:
        sys.exit(page != README.read_text())
    README.write_text(page)
