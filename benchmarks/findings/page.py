"""The page of findings, from its rows."""

from __future__ import annotations

import numpy as np
from frame.page import machines, markdown_table, write_page
from frame.rows import Row, Rows

from findings.regimes import REGIMES
from gradsift.evaluation.statistics import estimate

ROWS = Rows("findings.parquet", key=("regime", "seed", "method"))
TITLES = {
    "duplicates": "Near duplicates within a set",
    "overlap": "Near duplicates between training and test set",
    "outliers": "Samples of another set",
}
HEAD = """\
# Findings besides labels, measured

What is [found besides labels](how-to/besides-labels.md), where it was planted: 60 copies that were changed a little, or
60 samples of another set among 2,000 (fewer where a set has fewer). Jitter is another brightness and contrast with noise;
a crop leaves out one to three of 28 or 32 rows and columns and is enlarged; of texts one word in twelve is dropped,
replaced or put in; numbers change by a thousandth. For outliers a small network is trained on all of them, a tenth of
the labels wrong, those of outliers at random. Average precision, mean over seeds ± 95 % interval. *Told* counts what the
audit calls a finding: precision and recall of that list. Real sets hold near duplicates and strange samples of their own,
which count as errors here. Regimes marked *chosen on* were in view when constants were chosen, and enter no mean.
"""


def write() -> None:
    """Writes ``docs/results-findings.md``."""
    rows = ROWS.read()
    lines = [*HEAD.splitlines(), "", f"Machine: {machines(rows)}. Written by `python benchmarks/findings`.", ""]
    for kind, title in TITLES.items():
        lines += [f"## {title}", "", _tested(rows, kind), "", *_table(rows, kind), ""]
    write_page("results-findings.md", [*lines, "Next: [what to do with them](how-to/besides-labels.md)."])


def _measured(rows: list[Row], kind: str) -> list[str]:
    """Names of the regimes of a kind that have rows."""
    measured = {row["regime"] for row in rows}
    return [name for name, regime in REGIMES.items() if regime.kind == kind and name in measured]


def _tested(rows: list[Row], kind: str) -> str:
    """What is tested on what, and where constants were chosen, in sentences."""
    tested = [REGIMES[name].words for name in _measured(rows, kind) if not REGIMES[name].chosen_on]
    chosen = [regime.words for regime in REGIMES.values() if regime.kind == kind and regime.chosen_on]
    return f"Tested on {'; '.join(tested)}. Constants were chosen in view of {'; '.join(chosen)}."


def _table(rows: list[Row], kind: str) -> list[str]:
    names = _measured(rows, kind)
    own = [row for row in rows if row["regime"] in names]
    methods = list(dict.fromkeys(row["method"] for row in sorted(own, key=lambda row: row["method"] != "gradsift")))
    table = []
    for name in names:
        cells = [_cell([row["ap"] for row in own if row["regime"] == name and row["method"] == one]) for one in methods]
        told = [row for row in own if row["regime"] == name and row["method"] == "gradsift"]
        marked = REGIMES[name].words + (" (chosen on)" if REGIMES[name].chosen_on else "")
        table.append((marked, len(told), *cells, *_told(told)))
    means = [
        np.mean([row["ap"] for row in own if row["method"] == one and not REGIMES[row["regime"]].chosen_on] or [np.nan])
        for one in methods
    ]
    told = [row for row in own if row["method"] == "gradsift" and not REGIMES[row["regime"]].chosen_on]
    table.append(("**mean of those for testing**", "", *(f"{mean:.3f}" for mean in means), *_told(told)))
    return markdown_table(("regime", "seeds", *methods, "told: precision", "told: recall"), table)


def _told(rows: list[Row]) -> tuple[str, str]:
    told, right, planted = (sum(row[name] for row in rows) for name in ("told", "told_right", "planted"))
    precision = f"{100 * right / told:.0f} %" if told else "–"
    return precision, f"{100 * right / planted:.0f} %" if planted else "–"


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    mean = estimate(values)
    return f"{mean.mean:.3f} ± {mean.half_width:.3f}"
