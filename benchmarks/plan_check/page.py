"""The page, from the rows alone."""

from __future__ import annotations

import json

import numpy as np
from frame.page import machines, markdown_table, write_page
from frame.rows import RESULTS, Row, read
from quality.regimes import REGIMES

from plan_check.cases import CASES
from plan_check.prediction import ROWS, ratios_of

GOAL = 0.25

PRICES = {
    "last layer": "forward", "projection": "training", "L2": "training", "L1 + L2 + projection": "training",
}  # fmt: skip
"""Jobs of the page on speed, and what they are compared with."""


def page_plan(rows: list[Row]) -> list[str]:
    cells = []
    ratios: dict[str, dict[str, list[float]]] = {}
    inside = []
    for case in CASES:
        mine = [row for row in rows if row["case"] == case]
        if not mine:
            continue
        every = [ratios_of(row["plan"], row["real"]) for row in mine]
        ratios[case] = {name: [one[name] for one in every] for name in every[0]}
        inside += [row["plan"]["seconds_low"] <= row["real"]["seconds"] <= row["plan"]["seconds_high"] for row in mine]
        plan, low, high, took = (
            median([row["plan"][name] for row in mine]) for name in ("seconds", "seconds_low", "seconds_high", "took")
        )
        real = median([row["real"]["seconds"] for row in mine])
        cells.append([
            case, f"{mine[0]['plan']['samples']:,}", f"{real:.3g}", f"{plan:.3g}, {low:.3g} to {high:.3g}",
            *map(spread, ratios[case].values()), f"{took:.1f}",
        ])  # fmt: skip
    columns = (
        "case",
        "samples",
        "audit (s)",
        "plan said (s)",
        "time",
        "by computing",
        "memory",
        "disk",
        "planned in (s)",
    )
    lines = [*markdown_table(columns, cells), ""]
    for name, words in (("time", "Time"), ("computing", "Time by computing"), ("memory", "Memory"), ("disk", "Disk")):
        off = {case: median(found[name]) for case, found in ratios.items() if abs(median(found[name]) - 1) > GOAL}
        state = f"met in {len(ratios) - len(off)} of {len(ratios)} cases"
        if off:
            state += ", missed in " + "; ".join(f"{case} ({value:.2f})" for case, value in off.items())
        lines.append(f"* {words}, goal ± {100 * GOAL:.0f} % (medians): {state}.")
    told = f"* The audit's seconds lay inside the interval that the plan stated in {sum(inside)} of {len(inside)} runs."
    return [*lines, told, ""]


def page_operations(rows: list[Row]) -> list[str]:
    kinds = ("forward", "to the input", "L2", "projection")

    def cell(operations: float, ms: float) -> str:
        rate = f"{operations / ms / 1e6:.0f}" if ms > 0 else "–"
        return f"{operations / 1e6:.3g}, {ms:.3g}, {rate}"

    cells = [[row["case"], *(cell(row["operations"][kind], row["ms"][kind]) for kind in kinds)] for row in rows]
    return [*markdown_table(("layer", *(f"{kind}: counted (M), ms, G/s" for kind in kinds)), cells), ""]


def page_worth() -> list[str]:
    """What it costs and what it finds, from the rows of other pages."""
    return [*prices(), "", *found_at_once(), "", *found_on_the_way(), ""]


def prices() -> list[str]:
    times = [
        row
        for row in read(RESULTS / "speed.jsonl")
        if (row["peer"], row["device"], row["measure"]) == ("gradsift", "cpu", "time") and row.get("ms")
    ]
    kept = json.loads((RESULTS / "finetuning_cost.json").read_text())
    steps = [case for part in kept.values() for case in part["cases"].values()]
    ratios = {
        ("last layer" if job == "last layer" else f"all layers, {job}", f"a {base} pass"): [
            row[base] for row in times if row["job"] == job
        ]
        for job, base in PRICES.items()
    }
    for what in ("last layer", "adapters"):
        words = f"[recorded](performance-finetuning.md) along training, {what}"
        job = f"step, recorded: {what}"
        ratios[words, "a training step"] = [case[job]["ratio"] for case in steps if job in case]
    columns = ("price, from [speed](performance.md)", "over", "lowest", "geometric mean", "highest", "models")
    return markdown_table(columns, [
        (*names, *(f"{one:.2f}" for one in (min(found), np.exp(np.mean(np.log(found))), max(found))), len(found))
        for names, found in ratios.items() if found
    ])  # fmt: skip


def found_at_once() -> list[str]:
    """Means over seeds of detectors that read the final model alone."""
    rows = read(RESULTS / "quality_detection.parquet")
    final = next(row["information"] for row in rows if row["method"] == "loss")
    shown, cells, won = ("loss", "l2", "isolation_forest"), [], []
    for regime in ("cifar10n-worst", "cifar10n-aggre", "fashion-symmetric-10", "fashion-pair-20"):
        own = [
            row for row in rows if row["regime"] == regime and row["information"] == final and "," not in row["method"]
        ]
        methods = sorted({row["method"] for row in own} - {"oracle", "random"})
        ap = {name: float(np.mean([row["ap"] for row in own if row["method"] == name])) for name in methods}
        best = max((name for name in methods if name not in shown), key=lambda name: ap[name])
        cells.append((REGIMES[regime].words, *(f"{ap[name]:.2f}" for name in shown), f"{ap[best]:.2f} (`{best}`)"))
        won.append(ap["loss"] >= ap["l2"])
    columns = (
        "average precision, from [the benchmark](benchmark.md)",
        "loss",
        "L2 norm",
        "isolation forest",
        "best other",
    )
    told = f"The loss finds at least as many as the L2 norm in {sum(won)} of these {len(won)} settings."
    return [*markdown_table(columns, cells), "", told]


def found_on_the_way() -> list[str]:
    states = [row for row in read(RESULTS / "collapse_signal.jsonl") if row["set"] == "fashion"]
    cells = []
    for noise, epoch in sorted({(row["noise"], int(epoch)) for row in states for epoch in row["checkpoints"]}):
        found = [row["checkpoints"][str(epoch)] for row in states if row["noise"] == noise]
        values = [
            [one.get("loss_ap") for one in found],
            *([one["layers"][layer]["ap"] for one in found] for layer in ("last linear", "first convolution")),
            *([one.get("dimensions", {}).get(f"{which} 512") for one in found] for which in ("last", "all")),
        ]
        means = [f"{np.mean(one):.2f}" if None not in one else "" for one in values]
        cells.append((f"{100 * noise:.0f} % flipped, epoch {epoch}", *means))
    layers = ("last layer", "first layer", "last layer, projected", "all layers, projected")
    return markdown_table(("average precision, from [collapse](results-collapse.md)", "loss", *layers), cells)


def median(values: list[float]) -> float:
    return float(np.median(values))


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else f"{values[0]:.2f}"


def write() -> None:
    rows = ROWS.read()
    plans, operations = ([row for row in rows if row["part"] == part] for part in ("plan", "operations"))
    text = HEAD.format(machines=machines(rows), repeats=max((row["repeat"] + 1 for row in plans), default=0))
    page = [text, *page_plan(plans), COUNTS, *page_operations(operations), WORTH, *page_worth(), REST]
    write_page("performance-plan.md", page)


HEAD = """# What an audit will take, and when it is worth it

Written by `python benchmarks/plan_check --write` from `benchmarks/results/plan_check.jsonl`; the rows come from
`python benchmarks/plan_check`. Machine: {machines}.

## Is the plan right?

`gradsift plan` (`gradsift.plan(model, train_set)`) rehearses the audit: the start-up as it is; some batches of the audit
at their real size; then shards, scores, table and page of the rows that these gave, a few hundred at first, then some
thousands, and the line through both. Where samples differ in length, as texts do, it first reads as many as a second and a
half allow: the longest batch runs because it takes the most memory, the others are spread over the weights, and seconds
follow `a n + b w + c w^2 / n` (n samples padded to w numbers; none of a, b, c is negative). It stops once the total is
known within 5 %, or after four seconds.

Below, plan and audit ran one after the other in processes of their own, {repeats} times. Ratios are predicted over real:
medians, smallest and largest. *By computing* compares the seconds that the processes have computed (the plan's prediction
times its own share of computing), which other work on the machine does not lengthen. Memory is the peak beyond what the
process held with model and data loaded; disk is the whole run directory.
"""
COUNTS = """## Operations and bytes

A layer with p outputs and q inputs (channels times kernel for a convolution) at T positions of a sample (tokens, pixels;
1 where it sees one row). Operations of one sample; a multiplication and an addition are two. A projection to `dim` numbers
has sides r and s, about `sqrt(dim)` each.

| step | operations | when |
|---|---|---|
| forward pass | 2 T p q | always |
| backward pass to the input | 2 T p q | for layers behind the first audited one; never for the last layer alone |
| backward pass to the weight | 2 T p q | training only: an audit does not form the batch's gradient |
| last layer in closed form: residual, both norms | 2 (p + q) + p | `layers="last"` |
| L2, one row | 2 (p + q) | T = 1: norms of the two factors |
| L1 or L2, direct | 2 T p q + 2 p q | where T (p + q) is at least p q; L1 always |
| L2, ghost form | 2 T^2 (p + q) | where T (p + q) < p q |
| projection, Kronecker | 2 T (p r + q s + r s) | always the same backend, nothing of size p q is formed |
| bias, norm layer | about T p, 3 T p | |
| embedding of width q | 2 T^2 + 2 T q | the gradient's rows are added up by word; the table is never formed |
| isolation forest, 100 trees | 100 x depth (at most 8) a sample | after all gradients, from stored rows |

So a training pass costs 6 T p q a layer, an audit of all layers 4 T p q and the reduction: 2 T p q where norms are exact
and direct, less where they are ghosts, 2 T (p r + q s) with a projection alone. An audit of the last layer costs 2 T p q,
one forward pass. Adapters of rank k add about 6 T k (p + q) of their own to a frozen p x q layer, whose passes are the same
4 T p q.

| bytes a sample | |
|---|---|
| loss, each norm | 4 |
| factors of the last layer | 4 (K + D) |
| projection | 4 dim, and with `projection_per_layer` 4 dim for each layer |
| prediction and label | 4 K + 8 |
| a file of a shard | 128, every 2,048 samples |

Held in memory at a time: weights; a batch's activations; of one layer, its input and the gradient of its output; of entries
that must be formed, pieces of 1 MiB a thread. Nothing grows with the number of samples but the table.

### Counted and measured

One layer alone: counted operations in millions a sample, milliseconds a sample, and thousands of millions of operations a
second that this comes to. Where the rate falls, it is memory or the number of calls that costs, not arithmetic.
"""
WORTH = """## When it is worth its price, and when it is not

Price first: the last layer costs one forward pass over the data, all layers about one epoch of training; what is recorded
along training is read from training's own passes. Then what it finds, beside the loss, which each of these passes gives for
nothing and every audit writes down.
"""
REST = """
* **Wrong labels of a classifier**: rarely worth more than the last layer's forward pass. The loss, self-confidence and the
  margin come out of the same pass; norms of gradients find more than the loss only where labels are confused in one
  direction (pairs, above). All layers find no more than the last one (last two columns above).
* **A model that has memorised its labels**: worth little at any price. Gradients of wrong labels have vanished like all
  others, and so has their loss ([what is left when a network collapses](results-collapse.md); epoch 50 above). Audit an
  earlier checkpoint, or record along training.
* **No labels in the usual sense** (language models, regression, diffusion), **or the question which samples shaped an
  output**: gradients are what there is. Projections of all layers or adapters at about the price of an epoch also serve
  [influence](influence.md) and [tracing](results-prompts.md) without another pass.
* **A training that is yet to run**: record. What is averaged along training costs little and was taken before labels were
  memorised.
* **Very large sets**: [how it scales](performance-scaling.md), and what breaks first.
"""
