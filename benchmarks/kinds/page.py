"""docs/defaults.md: the default of each kind, what it reaches against baselines, and what is not supported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from frame.page import machines, markdown_table, write_page
from frame.rows import Row, Rows

from gradsift.evaluation import estimate
from gradsift.stages.defaults import DEFAULTS, LAYERS, REDUCTION
from kinds.regimes import REGIMES

ROWS = Rows("kinds.parquet", key=("regime", "seed", "method"))
STRUCTURED_ROWS = Rows("kinds_structured.parquet", key=("regime", "seed", "method"))
PAIR_ROWS = Rows("kinds_pairs.parquet", key=("regime", "seed", "method"))
CLASS_ROWS = Rows("kinds_classes.parquet", key=("regime", "seed", "method"))
KINDS = {
    "chat": "Chats", "token": "Token classification", "multilabel": "Several labels a sample", "value": "Regression",
    "pair": "Pairs of a chosen and a rejected answer", "node": "Nodes of a graph",
    "series": "Time series and sounds", "condition": "Conditions of a diffusion model",
    "picture": "Pictures of another set that a diffusion model learnt",
    "copy": "Copies that a diffusion model learnt",
    "mask": "Segmentation", "box": "Object detection", "sequence": "Sequence to sequence",
    "match": "Embedding models", "speech": "Transcripts",
    "text": "Masked language models",
}  # fmt: skip
TASKS = {
    "class": "`classification`, `binary`", "multilabel": "`multilabel`", "value": "`regression`",
    "token": "`token-classification`", "pair": "`reward`, `dpo`, `triplet`",
    "structured": "`segmentation`, `detection`, `ctc`, `Contrastive`, `MaskedLM`, tasks of your own with `worst_parts`",
    None: "`causal-lm`, `seq2seq`, `denoising`, tasks of your own without labels; responses are also targets of sources",
}  # fmt: skip
NEEDS = {
    "conditions": "losses under every condition of a diffusion model",
    "features": "features that the data set gives, as those of nodes",
}
"""Evidence that its name does not explain."""
NO_BASELINE = ("default", "random")
CLOSE = 0.01
"""The default may be so much below the best fixed baseline in one regime."""
UNSUPPORTED = Path(__file__).resolve().parent / "unsupported.md"


class Results:
    """Average precision by regime, method and seed.

    Args:
        rows: All rows.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self.regimes = [name for name in REGIMES if any(row["regime"] == name for row in rows)]

    def of(self, regime: str, method: str, column: str = "ap_samples") -> list[float]:
        """One number a seed."""
        own = [row for row in self._rows if (row["regime"], row["method"]) == (regime, method)]
        return [row[column] for row in own if row.get(column) is not None]

    def methods(self, kind: str) -> list[str]:
        """Methods of a kind, in the order of their means."""
        names = {row["method"] for row in self._rows if REGIMES[row["regime"]].kind == kind}
        return sorted(names, key=lambda name: -self.mean(kind, name))

    def mean(self, kind: str, method: str, column: str = "ap_samples") -> float:
        """Mean over the regimes of a kind that are for testing, of means over seeds."""
        own = [name for name in self.regimes if REGIMES[name].kind == kind and not REGIMES[name].chosen_on]
        of_seeds = [self.of(name, method, column) for name in own]
        values = [np.mean(precisions) for precisions in of_seeds if precisions]
        return float(np.mean(values)) if values else float("nan")

    def best_fixed(self, kind: str) -> str:
        """The baseline with the largest mean over the regimes for testing."""
        return next(name for name in self.methods(kind) if name not in NO_BASELINE)


def write() -> None:
    """Writes the page from the rows."""
    rows = [*ROWS.read(), *PAIR_ROWS.read(), *CLASS_ROWS.read(), *STRUCTURED_ROWS.read()]
    results = Results(rows)
    lines = [
        "# What is done where nothing is asked for", "",
        "`gradsift audit` reads its defaults from one table, `src/gradsift/stages/defaults.py`; this page shows it, and",
        "what it rests on. Of a kind's detectors the first is taken whose evidence is there; gradients are those of the",
        f"layers `{LAYERS}`, and a sample's loss over its tokens is their {REDUCTION}.", "", *_defaults(), "",
        "## How they were measured", "",
        "Errors are planted in 2 to 30 % of the samples, a small network is trained on them on one thread, and every",
        "method ranks the samples of the same trained network. Average precision, mean over seeds ± 95 % interval. *Best",
        "fixed* is the one baseline of the kind with the largest mean over the regimes for testing. Regimes marked *chosen",
        "on* were in view when constants were chosen (with other seeds), and enter no mean; the list was made before",
        "the runs.",
        "Time series come out of the package aeon; tones are made. Conditions are tried with the same 32 draws of noise,",
        "of which margins and confident learning are taken, too. *Neighbours' labels*: of the ten nearest by the features",
        "that the posterior reads.",
        "Cleanlab's scores are written anew from the papers. Classes: see [benchmark](benchmark.md).",
        f"Machine: {machines(rows)}. Written by `python benchmarks/kinds` from `results/kinds.parquet`,",
        "`results/kinds_pairs.parquet`, `results/kinds_classes.parquet` and `results/kinds_structured.parquet`.",
    ]  # fmt: skip
    for kind, title in KINDS.items():
        if results.methods(kind):
            lines += ["", f"## {title}", "", *_kind(results, kind)]
    lines += ["", UNSUPPORTED.read_text().rstrip()]
    write_page("defaults.md", lines)


def _defaults() -> list[str]:
    rows = []
    for kind, defaults in DEFAULTS.items():
        for place, default in enumerate(defaults):
            needs = ", ".join(NEEDS.get(name, name) for name in sorted(default.needs)) + (
                "last layer or predictions alone" if default.last_layer else ""
            )
            columns = ", ".join(f"`{name}`" for name in default.columns)
            rows.append(("" if place else TASKS[kind], f"`{default.detector}`", needs or "anything", columns))
    return markdown_table(("task", "detector", "where there is", "columns beside it"), rows)


def _kind(results: Results, kind: str) -> list[str]:
    best = results.best_fixed(kind)
    own = [name for name in results.regimes if REGIMES[name].kind == kind]
    methods = ["default", *(name for name in results.methods(kind) if name != "default")]
    lines = [
        _verdict(results, kind, best, own), "",
        "| regime | seeds | " + " | ".join(methods) + " | default − best fixed | flagged / wrong | of these wrong |",
        "|---|---|" + "---|" * (len(methods) + 3),
    ]  # fmt: skip
    for name in own:
        cells = [_cell(results.of(name, method)) for method in methods]
        gaps = np.subtract(results.of(name, "default"), results.of(name, best)).tolist()
        words = REGIMES[name].words + (" (chosen on)" if REGIMES[name].chosen_on else "")
        lines.append(
            f"| {words} | {len(gaps)} | {' | '.join(cells)} | {_cell(gaps, signed=True)} | {_flagged(results, name)} |"
        )
    means = " | ".join(f"{results.mean(kind, method):.3f}" for method in methods)
    lines.append(f"| **mean of those for testing** | | {means} | | | |")
    lines += _of_pairs(results, own) if kind == "pair" else []
    parts = [name for name in methods if np.isfinite(results.mean(kind, name, "ap_parts"))]
    if parts:
        noun = "tokens" if kind == "token" else "labels"
        words = ", ".join(f"{name} {results.mean(kind, name, 'ap_parts'):.3f}" for name in parts)
        lines += ["", f"Average precision of single {noun}, mean of the regimes for testing: {words}."]
    return lines


def _of_pairs(results: Results, own: list[str]) -> list[str]:
    """What is estimated and what correcting is worth: the share of swapped pairs, and accuracies on held-out pairs."""
    lines = [
        "", "Share of swapped pairs, estimated where predictions are out of fold, and accuracy of a reward model on",
        "held-out right pairs, trained on the pairs as they are, with what is flagged swapped back or dropped, and with",
        "all put right. *Gain*: of swapping back, as a share of what putting all right gains.", "",
        "| regime | truly swapped | estimated | as is | swapped back | dropped | all right | gain |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in own:
        wrong, size = (results.of(name, "default", column) for column in ("wrong", "samples"))
        parts = [results.of(name, "default", f"accuracy_{way}") for way in ("as_is", "swap", "drop", "oracle")]
        as_is, swap, _, oracle = (float(np.mean(part)) for part in parts)
        gain = f"{100 * (swap - as_is) / (oracle - as_is):.0f} %" if oracle > as_is else "–"
        rate = results.of(name, "default", "rate_share")
        told = f"{100 * np.mean(rate):.1f} %" if rate else "not told"
        cells = " | ".join(_cell(part) for part in parts)
        lines.append(f"| {REGIMES[name].words} | {100 * sum(wrong) / sum(size):.0f} % | {told} | {cells} | {gain} |")
    return lines


def _verdict(results: Results, kind: str, best: str, own: list[str]) -> str:
    tested = [name for name in own if not REGIMES[name].chosen_on]
    gap = {name: float(np.mean(results.of(name, "default")) - np.mean(results.of(name, best))) for name in tested}
    below = [REGIMES[name].words for name in tested if gap[name] < -CLOSE]
    ahead = [gap[name] for name in tested if REGIMES[name].ahead]
    rest = (
        f"below it by more than {CLOSE:g} in: {'; '.join(below)}" if below else f"nowhere more than {CLOSE:g} below it"
    )
    named = "regimes that were named before the runs as those where the default must lead"
    leads = f"{np.mean(ahead):+.3f} over {named} ({len(ahead)}), " if ahead else ""
    return (
        f"Best fixed baseline: {best}. Default minus best fixed, mean: {leads}{np.mean(list(gap.values())):+.3f} over all "
        f"regimes for testing ({len(tested)}). The default is {rest}."
    )


def _flagged(results: Results, name: str) -> str:
    flagged, right, wrong = (results.of(name, "default", count) for count in ("flagged", "flagged_wrong", "wrong"))
    share = f"{100 * sum(right) / sum(flagged):.0f} %" if sum(flagged) else "–"
    return f"{sum(flagged) / sum(wrong):.2f} | {share}"


def _cell(values: list[float], *, signed: bool = False) -> str:
    if not values:
        return ""
    form = "+.3f" if signed else ".3f"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    precision = estimate(values)
    return f"{precision.mean:{form}} ± {precision.half_width:.3f}"
