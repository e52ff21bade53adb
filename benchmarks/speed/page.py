"""docs/performance.md and its plot, from the rows alone."""

from __future__ import annotations

from pathlib import Path

from figure import draw
from frame.rows import Row
from goals import GOALS, ROWS, WHOLE, Found, geometric_mean, ratio
from jobs import JOBS, WORKS
from models import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"

TITLE = "# Speed of per-sample gradients"

HEAD = """Written by `python benchmarks/speed --write` from `benchmarks/results/speed.jsonl`; the rows come from `python
benchmarks/speed`, after `python benchmarks/speed --prepare` has made the peers' environment. What the figures predict for
your model and data: [the plan](performance-plan.md). What starting costs: [imports](performance-start.md).

*Models*: random weights from a fixed seed, float32, eval mode, no dropout; the batch size stands in each title.
*Forward*: a plain forward pass without gradients, and the losses. *Training pass*: forward and backward of the mean loss,
without the optimizer's step. Every tool runs in a process of its own, in which plain passes and gradsift's job of the same
work on the same parameters take turns with it, round by round, on the same batch, each after a forward pass that is not
timed; ratios are medians of the ratios within a round, so a busy machine slows both sides alike.

*x gradsift*: the tool's time over gradsift's for the same work on the parameters that the tool serves; above 1 gradsift is
faster. *Serves*: the share of the trained numbers whose gradients the tool takes in. *Error*: the largest relative error
of a norm against the one-sample loop in float64, all tools in float32; a projection has instead the mean of |Pg|^2 / |g|^2,
which is 1 on average over its random matrices.
Setting a tool up (hooks, random matrices that are kept, gradsift's own check of its backends) is not timed.
"""

MEMORY = """Peak memory of a job in a fresh process, in MB, less what is resident once the tool is imported, the model and
the batch are built and one sample has passed forward. What the job keeps for itself counts; two runs; the kernel's
high-water mark, reset after set-up (on a GPU the allocator's peak).
"""

NARROW = (
    "Single samples' gradients of narrow convolutions are many small products: in the ResNets' tables one product "
    "over the whole batch lies between *gradients of activations*, the floor, and the training pass, and the norms "
    "add more than that for as many multiplications. The ghost form is dearer still where maps have 1,024 "
    "positions."
)
ENTRIES = "Every entry of every sample's gradient is formed and read twice, in pieces that stay in the cache."
FLOOR = (
    "In narrow ResNets two cores form the batch's gradients of weights in about a tenth of a pass, so that *gradients of "
    "activations*, the floor, lies at the goal itself. The MLP's tables are small: about forty operations of a few "
    "hundredths of a millisecond each stand beside its passes."
)
LORA = (
    "A LoRA training pass forms hardly any gradient of weights, so freezing saves nothing: *gradients of "
    "activations*, the floor, is the training pass itself."
)
NOTES: dict[str, str] = {
    "last layer, closed form / a plain forward pass": (
        "Beside the forward pass stands a fixed cost a batch: the loss's gradient, four norms, a few dozen small "
        "operations. It shows where a forward pass takes two milliseconds; with larger batches of so small a model, "
        "which an audit takes by itself, it fades."
    ),
    "projection to 512 / a forward-backward pass": f"{FLOOR} {LORA}",
    "projection to 16 x 16 a layer / a forward-backward pass": f"{FLOOR} {LORA}",
    "exact L2 norms / a forward-backward pass": NARROW,
    "exact L1 and L2 norms and projection / a forward-backward pass": f"{ENTRIES} {NARROW}",
    "fastest peer, projection of each layer / gradsift": (
        "LoGra (dattri) and bergson project factors, too; they serve linear layers alone, and are compared on these."
    ),
    "one-sample loop, L2 / gradsift": f"{LORA} {NARROW}",
    "one-sample loop, projection / gradsift": LORA,
    "one-sample loop, L1, L2 and projection / gradsift": f"{LORA} {NARROW}",
}
"""Goal's title to why it is missed, with the profile that shows it."""

DEVICES = {"cpu": "CPU", "cuda": "GPU"}


def write() -> None:
    everything = [row for row in ROWS.read() if row["model"] in CASES]
    lines = [TITLE, "", *cost([row for row in everything if row["device"].startswith("cpu")]), HEAD]
    for device, name in DEVICES.items():
        rows = [row for row in everything if row["device"].startswith(device)]
        if rows:
            lines += section(rows, device, name)
    PAGE.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {PAGE}")


def cost(rows: list[Row]) -> list[str]:
    """What an audit costs, in epochs of the model's own training."""
    works = {
        "the last layer, as by default": "last layer", "L2 norms of all layers": "L2",
        "L1 and L2 norms and projection of all layers": "L1 + L2 + projection",
    }  # fmt: skip
    measured = {words: ratio(work, "training")(Found(rows)) for words, work in works.items()}
    epochs = {words: values for words, values in measured.items() if values}
    if not epochs:
        return []
    return [
        "What an audit's gradients cost, in epochs of the same model's training "
        f"({max(map(len, epochs.values()))} models on a CPU):",
        "",
        "| gradients of | geometric mean | cheapest model | dearest model |",
        "|---|---|---|---|",
        *(
            f"| {words} | {geometric_mean(values):.2f} | {min(values.values()):.2f} | {max(values.values()):.2f} |"
            for words, values in epochs.items()
        ),
        "",
        "`gradsift plan` says what an audit of your own model and data takes ([how well](performance-plan.md)).",
        "",
    ]


def section(rows: list[Row], device: str, name: str) -> list[str]:
    """All that is said of one device."""
    machines = ", ".join(dict.fromkeys(row["machine"] for row in rows if row["machine"]))
    timed = [row["rounds"] for row in rows if "rounds" in row]
    found, plot = Found(rows), PAGE.with_name(f"performance-{device}.svg")
    plot.write_text(draw(found))
    lines = [f"## {name}", ""]
    if timed:
        lines += [f"{machines}; {max(timed)} rounds, fewer of what is slow (at least {min(timed)}).", ""]
    lines += [f"![Time of each job over a training pass]({plot.name})", "", *goals(found, device), *versus(found)]
    for model, case in CASES.items():
        own = [row for row in rows if row["model"] == model]
        if any(row["measure"] == "time" for row in own):
            size = max(row["size"] for row in own if row["measure"] == "time")
            lines += [f"### {case.title}, batches of {size}", "", *times(own)]
    return lines + memories(rows)


def goals(found: Found, device: str) -> list[str]:
    lines = ["### Goals", "", "| goal | limit | worst | on | geometric mean | |", "|---|---|---|---|---|---|"]
    notes = []
    for goal in GOALS:
        values = goal.values(found)
        limit = f"{'at most' if goal.most else 'at least'} {goal.limits[device]:g}{' on average' if goal.mean else ''}"
        if not values:
            lines.append(f"| {goal.title} | {limit} | | | | not measured |")
            continue
        worst, missed = goal.worst(values), goal.missed(values, device)
        verdict = f"**missed** ({len(missed)} of {len(values)} models)" if missed and not goal.mean else "**missed**"
        lines.append(
            f"| {goal.title} | {limit} | {values[worst]:.2f} | {CASES[worst].title} | {geometric_mean(values):.2f} | "
            f"{verdict if missed else 'met'} |"
        )
        if missed:
            each = ", ".join(f"{CASES[model].title} {value:.2f}" for model, value in values.items())
            why = f" {NOTES[goal.title]}" if goal.title in NOTES else ""
            notes.append(f"* {goal.title}: {each}.{why}")
    return [*lines, "", *(["Goals missed, by model:", "", *notes, ""] if notes else [])]


def versus(found: Found) -> list[str]:
    """The fastest peer at each work."""
    lines = [
        "### The fastest peer at the same work",
        "",
        "Time over gradsift's for the same work on the same parameters.",
        "",
        "| model | " + " | ".join(WHOLE) + " |",
        "|---" * (len(WHOLE) + 1) + "|",
    ]
    for model, case in CASES.items():
        best = [next(iter(found.rivals(work, model)), None) for work in WHOLE]
        if any(best):
            cells = [f"{row['against']:.2f} ({row['peer']})" if row else "" for row in best]
            lines.append(f"| {case.title} | " + " | ".join(cells) + " |")
    means = [found.fastest(work) for work in WHOLE]
    cells = [f"{geometric_mean(values):.2f}" if values else "" for values in means]
    return [*lines, "| geometric mean | " + " | ".join(cells) + " |", ""]


def order(row: Row) -> tuple[int, int, int]:
    """Plain passes first, then by work, in it gradsift first."""
    works, known = list(WORKS), list(JOBS)
    place = f"{row['peer']}:{row['job']}"
    return (
        works.index(row["work"]) + 1 if row["work"] else 0,
        row["peer"] != "gradsift",
        known.index(place) if place in known else len(known),
    )


def times(rows: list[Row]) -> list[str]:
    lines = [
        "| work | tool | ms | x forward | x training pass | x gradsift | serves | error or mean length | rounds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    refused = []
    for row in sorted((row for row in rows if row["measure"] == "time"), key=order):
        if "refused" in row:
            refused.append(f"* {tool(row)} ({row['work']}): `{row['refused'].replace('`', '')}`")
            continue
        against = f"{row['against']:.2f}" if row.get("against") else ""
        serves = f"{100 * row['covers']:.3g} %" if row["work"] else ""
        lines.append(
            f"| {row['work'] or 'plain'} | {tool(row)} | {row['ms']:.1f} | {row['forward']:.2f} | {row['training']:.2f} | "
            f"{against} | {serves} | {exactness(row)} | {row['rounds']} |"
        )
    return [*lines, "", *(["What was refused or not tried, and why:", "", *refused, ""] if refused else [])]


def tool(row: Row) -> str:
    """The peer, and how it is used where it has several ways."""
    how = "" if row["job"] == row["work"] else row["job"].removesuffix(f", {row['work']}")
    return f"{row['peer']}: {how}" if how else row["peer"]


def exactness(row: Row) -> str:
    said = [f"{row['error']:.0e}"] if "error" in row else []
    return ", ".join(said + ([f"{row['kept']:.2f} on average"] if "kept" in row else []))


def memories(rows: list[Row]) -> list[str]:
    mine = [row for row in rows if row["measure"] == "memory"]
    if not mine:
        return []
    lines = ["### Peak memory", "", MEMORY]
    for model, case in CASES.items():
        own = sorted((row for row in mine if row["model"] == model and "megabytes" in row), key=order)
        plain = Found(own).memory(model).get(("torch", "training pass"))
        if not own or plain is None:
            continue
        lines += [f"**{case.title}, batches of {own[0]['size']}**", "", "| work | tool | MB | x training pass |"]
        lines.append("|---|---|---|---|")
        for row in own:
            share = row["megabytes"] / plain["megabytes"]
            lines.append(f"| {row['work'] or 'plain'} | {tool(row)} | {row['megabytes']:.0f} | {share:.2f} |")
        lines.append("")
    return lines
