"""Is `gradsift plan` right? Its prediction against the audit that follows; and operations counted against time measured.

    python benchmarks/plan_check.py --data DIR                    # both parts; one thread, about ten minutes
    python benchmarks/plan_check.py --data DIR --part plan --case "ResNet-20, all layers"
    python benchmarks/plan_check.py --part operations
    python benchmarks/plan_check.py --write                       # docs/performance-plan.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``cifar10/``, ``sms_spam/``, ``datainf/`` and ``models/``. Part ``plan``: for every
case and repeat, `gradsift.plan` in a fresh process, then `gradsift.audit` in another; compared are seconds (of the call,
from a loaded model and data set), peak memory (the kernel's high-water mark beyond what the process held before the call)
and bytes on disk. Part ``operations``: layers of several kinds and sizes, forward pass, backward pass to the input, exact
L2 norms and projection, each timed alone, beside the operations that the page's formulas count.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, run_once
from frame.memory import kilobytes, reset_peak
from frame.page import machines, write_page
from frame.rows import RESULTS, Rows, machine, read
from PIL import Image
from resnet20 import resnet20
from torch import Tensor, nn

import gradsift
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.settings import AuditSettings

ROWS = Rows("plan_check.jsonl", key=("part", "case", "repeat"))
REPEATS, GOAL = 3, 0.25
PRICES = {
    "last layer": "forward", "projection": "training", "L2": "training", "L1 + L2 + projection": "training",
}  # fmt: skip
"""Jobs of the page on speed, and what they are compared with."""
DIM = 512
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Made = tuple[Any, Any, dict[str, Any]]
"""A model, its data set, and what the audit is asked for."""


# Cases


class Decoded(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """CIFAR-10 images, decoded as they are read."""

    def __init__(self, arguments: argparse.Namespace, count: int) -> None:
        table = pq.read_table(arguments.data / "cifar10" / "train.parquet", columns=["image", "label"]).slice(0, count)
        self._images, self._labels = table["image"].to_pylist(), table["label"].to_pylist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        cell = self._images[position]
        content = cell["bytes"] if isinstance(cell, dict) else cell
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float32) / 255
        return torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(DEVIATION)).permute(2, 0, 1), self._labels[
            position
        ]


def digits(_arguments: argparse.Namespace) -> Made:
    from sklearn.datasets import load_digits

    found = load_digits()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    return model, ((found.data / 16).astype(np.float32), found.target.astype(np.int64)), {}


def images(count: int, layers: str, *, decoded: bool = False) -> Callable[[argparse.Namespace], Made]:
    def make(arguments: argparse.Namespace) -> Made:
        data: Any = Decoded(arguments, count)
        if not decoded:
            pixels, labels = zip(*data, strict=True)
            data = torch.stack(pixels), torch.tensor(labels)
        return resnet20(arguments), data, {"layers": layers}

    return make


def texts(layers: str) -> Callable[[argparse.Namespace], Made]:
    def make(arguments: argparse.Namespace) -> Made:
        import transformers

        path = arguments.data / "models/bert-tiny-question-clf"
        rows = pq.read_table(arguments.data / "sms_spam/train.parquet")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        return model, gradsift.TextSet(rows, tokenizer, text="text", label="label"), {"layers": layers}

    return make


def prompts(name: str, count: int) -> Callable[[argparse.Namespace], Made]:
    def make(arguments: argparse.Namespace) -> Made:
        import peft
        import transformers

        path = arguments.data / "models" / name
        table = pq.read_table(arguments.data / "datainf/math_with_reason_train.parquet")
        chosen = np.random.default_rng(0).permutation(len(table))[:count]
        pairs = zip(table["prompt"].to_pylist(), table["text"].to_pylist(), strict=True)
        rows = pa.table({"prompt": table["prompt"], "response": [text[len(prompt) :] for prompt, text in pairs]})
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        settings = peft.LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"])
        base = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        data = gradsift.PromptSet(
            rows.take(pa.array(chosen)), tokenizer, prompt="prompt", response="response", max_length=256
        )
        return peft.get_peft_model(base, settings).eval(), data, {"layers": "all", "task": "causal-lm"}

    return make


CASES: dict[str, Callable[[argparse.Namespace], Made]] = {
    "digits, MLP, last layer": digits,
    "CIFAR-10, ResNet-20, last layer": images(6000, "last"),
    "CIFAR-10, ResNet-20, all layers": images(2000, "all"),
    "CIFAR-10 decoded as it is read, ResNet-20, last layer": images(6000, "last", decoded=True),
    "SMS, BERT-tiny, last layer": texts("last"),
    "SMS, BERT-tiny, all layers": texts("all"),
    "prompts, LoRA on stories260K, all layers": prompts("stories260K", 900),
    "prompts, LoRA on stories15M, all layers": prompts("stories15M", 200),
}


# Prediction and truth, each in a process of its own


def settle() -> None:
    """Gives back what loading has left over; the high-water mark starts here."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        reset_peak()


def work(arguments: argparse.Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, data, asked = CASES[arguments.case](arguments)
    task = asked.pop("task", "classification")
    settle()
    base, began, computed = 1024 * kilobytes("VmRSS"), time.perf_counter(), time.process_time()
    found: dict[str, Any]
    if arguments.work == "plan":
        plan = gradsift.plan(model, data, task=task, settings=AuditSettings(**asked))
        found = plan.to_dict()
        found |= {"took": time.perf_counter() - began, "computing": time.process_time() - computed}
    else:
        with tempfile.TemporaryDirectory() as folder:
            audit = gradsift.audit(model, data, task=task, output=Path(folder) / "run", show_progress=False, **asked)
            seconds, computing = time.perf_counter() - began, time.process_time() - computed
            sizes = {path: path.stat().st_size for path in audit.run.path.rglob("*") if path.is_file()}
            shards = sum(size for path, size in sizes.items() if path.suffix == ".npy")
            found = {
                "seconds": seconds,
                "computing": computing,
                "stages": audit.run.read_json("timing.json")["seconds"],
                "memory_bytes": 1024 * kilobytes("VmHWM") - base,
                "disk_bytes": shards,
                "table_bytes": sum(sizes.values()) - shards,
            }
    print(json.dumps(found))


def fresh(arguments: argparse.Namespace, case: str, kind: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--data", str(arguments.data), "--work", kind, "--case", case]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{case}, {kind}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def part_plan(arguments: argparse.Namespace) -> None:
    for repeat in range(arguments.repeats):
        for case in [arguments.case] if arguments.case else CASES:
            if ROWS.have(part="plan", case=case, repeat=repeat):
                continue
            plan, real = fresh(arguments, case, "plan"), fresh(arguments, case, "audit")
            keep({"part": "plan", "case": case, "repeat": repeat, "plan": plan, "real": real})
            ratios = ", ".join(f"{name} {value:.2f}" for name, value in ratios_of(plan, real).items())
            print(f"{case:55s} {real['seconds']:6.1f} s (plan {plan['took']:.1f} s)  {ratios}", flush=True)


def ratios_of(plan: dict[str, Any], real: dict[str, Any]) -> dict[str, float]:
    """Predicted over real."""
    whole = [one["disk_bytes"] + one["table_bytes"] for one in (plan, real)]
    computing = plan["seconds"] * min(1.0, plan["computing"] / plan["took"])
    return {
        "time": plan["seconds"] / real["seconds"],
        "computing": computing / real["computing"],
        "memory": plan["memory_bytes"] / real["memory_bytes"],
        "disk": whole[0] / whole[1],
    }


# Operations counted and time measured


def linear(positions: int, inputs: int, outputs: int) -> tuple[nn.Module, Tensor, dict[str, int]]:
    shape = (positions, inputs) if positions > 1 else (inputs,)
    return nn.Linear(inputs, outputs, bias=False), torch.randn(*shape), {"T": positions, "p": outputs, "q": inputs}


def convolution(side: int, inputs: int, outputs: int, kernel: int = 3) -> tuple[nn.Module, Tensor, dict[str, int]]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return layer, torch.randn(inputs, side, side), {"T": side**2, "p": outputs, "q": inputs * kernel**2}


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor, dict[str, int]]]] = {
    "Linear 512 → 512, one row": lambda: linear(1, 512, 512),
    "Linear 128 → 512, 64 rows": lambda: linear(64, 128, 512),
    "Linear 512 → 512, 32 rows": lambda: linear(32, 512, 512),
    "Linear 512 → 512, 512 rows": lambda: linear(512, 512, 512),
    "Conv 3 × 3, 16 → 16, 32 × 32": lambda: convolution(32, 16, 16),
    "Conv 3 × 3, 64 → 64, 16 × 16": lambda: convolution(16, 64, 64),
    "Conv 3 × 3, 64 → 64, 8 × 8": lambda: convolution(8, 64, 64),
    "Conv 3 × 3, 256 → 256, 4 × 4": lambda: convolution(4, 256, 256),
}


class Alone(nn.Module):
    """A layer whose output meets fixed numbers, so that its gradient is as full as in the middle of a network."""

    def __init__(self, layer: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.layer = layer
        with torch.no_grad():
            self.register_buffer("weights", torch.randn(layer(example[None]).shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * self.weights).flatten(1).sum(dim=1)


class Sum:
    """The model's output is the loss."""

    def outputs(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return model(batch[0])

    def losses(self, outputs: Tensor, _batch: tuple[Tensor, ...]) -> Tensor:
        return outputs


def counted(shape: dict[str, int], sides: tuple[int, int]) -> dict[str, int]:
    """Operations a sample by the page's formulas; a multiplication and an addition are two."""
    positions, p, q = shape["T"], shape["p"], shape["q"]
    r, s = sides
    direct, ghost = 2 * positions * p * q + 2 * p * q, 2 * positions**2 * (p + q)
    return {
        "forward": 2 * positions * p * q,
        "to the input": 2 * positions * p * q,
        "L2": 2 * (p + q) if positions == 1 else min(direct, ghost),
        "projection": 2 * positions * (p * r + q * s + r * s),
    }


def part_operations(arguments: argparse.Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, make in LAYERS.items():
        if ROWS.have(part="operations", case=name):
            continue
        layer, example, shape = make()
        size = int(min(256, max(8, 2**31 // (8 * shape["T"] * shape["p"] * shape["q"]))))
        measured = timed(Alone(layer, example).eval(), torch.randn(size, *example.shape), arguments.rounds)
        sides = Projection(DIM).sides(tuple(layer.weight.shape))
        row = {"case": name, "batch": size, "ms": measured, "operations": counted(shape, sides), "sides": list(sides)}
        keep({"part": "operations", **row})
        print(name, {one: round(value, 4) for one, value in measured.items()}, flush=True)


def timed(model: nn.Module, inputs: Tensor, rounds: int) -> dict[str, float]:
    """Milliseconds a sample: of a forward pass, and of what else comes on top of it."""
    asked = {"L2": Reductions(), "projection": Reductions(l2=False, projection=Projection(DIM))}
    roads = {one: PerSampleGradients(model, Sum(), (inputs,), layers="all", reductions=r) for one, r in asked.items()}
    frozen = copy.deepcopy(model).requires_grad_(False)
    leaf = inputs.clone().requires_grad_()
    jobs: dict[str, Callable[[], object]] = {
        "forward": lambda: frozen(inputs),
        "to the input": lambda: torch.autograd.grad(frozen(leaf).sum(), leaf),
        "L2": lambda: roads["L2"]((inputs,)),
        "projection": lambda: roads["projection"]((inputs,)),
    }
    spent: dict[str, list[float]] = {one: [] for one in jobs}
    for turn in range(rounds + 1):
        for one, job in jobs.items():
            began = time.perf_counter()
            job()
            if turn:  # the first round warms up
                spent[one].append(1000 * (time.perf_counter() - began) / len(inputs))
    forward = np.array(spent["forward"])
    return {
        one: float(np.median(np.array(values) - (forward if one != "forward" else 0))) for one, values in spent.items()
    }


# Rows and page


def keep(row: dict[str, Any]) -> None:
    ROWS.add(row | {"machine": machine(threads=1)})


def page_plan(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| case | samples | audit (s) | plan said (s) | time | by computing | memory | disk | planned in (s) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ratios: dict[str, dict[str, list[float]]] = {}
    inside = []
    for case in CASES:
        mine = [row for row in rows if row["case"] == case]
        if not mine:
            continue
        every = [ratios_of(row["plan"], row["real"]) for row in mine]
        ratios[case] = {name: [one[name] for one in every] for name in every[0]}
        inside += [row["plan"]["seconds_low"] <= row["real"]["seconds"] <= row["plan"]["seconds_high"] for row in mine]
        real, plan = (median([row[kind]["seconds"] for row in mine]) for kind in ("real", "plan"))
        low, high = (median([row["plan"][f"seconds_{end}"] for row in mine]) for end in ("low", "high"))
        cells = [
            case, f"{mine[0]['plan']['samples']:,}", f"{real:.3g}", f"{plan:.3g}, {low:.3g} to {high:.3g}",
            *(spread(values) for values in ratios[case].values()),
            f"{median([row['plan']['took'] for row in mine]):.1f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for name, words in (("time", "Time"), ("computing", "Time by computing"), ("memory", "Memory"), ("disk", "Disk")):
        off = {case: median(found[name]) for case, found in ratios.items() if abs(median(found[name]) - 1) > GOAL}
        state = "met in every case" if not off else "missed in " + "; ".join(f"{c} ({v:.2f})" for c, v in off.items())
        lines.append(f"* {words}, goal ± {100 * GOAL:.0f} % (medians): {state}.")
    lines += [
        f"* The audit's seconds lay inside the interval that the plan stated in {sum(inside)} of {len(inside)} runs.",
        "",
    ]
    return lines


def page_operations(rows: list[dict[str, Any]]) -> list[str]:
    kinds = ("forward", "to the input", "L2", "projection")
    lines = [
        "| layer | " + " | ".join(f"{kind}: counted (M), ms, G/s" for kind in kinds) + " |",
        "|---|" + "---|" * len(kinds),
    ]
    for row in rows:
        cells = []
        for kind in kinds:
            operations, ms = row["operations"][kind], row["ms"][kind]
            rate = f"{operations / ms / 1e6:.0f}" if ms > 0 else "–"
            cells.append(f"{operations / 1e6:.3g}, {ms:.3g}, {rate}")
        lines.append(f"| {row['case']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def page_worth() -> list[str]:
    """What it costs and what it finds, from the rows of other pages."""
    lines = []
    times = [
        row for row in read(RESULTS / "speed.jsonl") if row.get("peer") == "gradsift" and row.get("device") == "cpu"
    ]
    times = [row for row in times if row.get("measure") == "time" and row.get("ms")]
    if times:
        lines += ["| price, from [speed](performance.md) | over | lowest | geometric mean | highest | models |"]
        lines += ["|---|---|---|---|---|---|"]
        for job, base in PRICES.items():
            found = [row[base] for row in times if row["job"] == job]
            if found:
                mean = float(np.exp(np.mean(np.log(found))))
                where = "last layer" if job == "last layer" else "all layers, " + job
                lines.append(
                    f"| {where} | a {base} pass | {min(found):.2f} | {mean:.2f} | {max(found):.2f} | {len(found)} |"
                )
    file = RESULTS / "finetuning_cost.json"
    if times and file.exists():
        cases = [case for kept in json.loads(file.read_text()).values() for case in kept["cases"].values()]
        for job in ("step, recorded: last layer", "step, recorded: adapters"):
            found = [case[job]["ratio"] for case in cases if job in case]
            mean = float(np.exp(np.mean(np.log(found))))
            words = f"[recorded](performance-finetuning.md) along training, {job.rpartition(': ')[2]}"
            lines.append(
                f"| {words} | a training step | {min(found):.2f} | {mean:.2f} | {max(found):.2f} | {len(found)} |"
            )
    if times:
        lines.append("")
    audits = [row for row in read(RESULTS / "main_table.jsonl") if row["kind"] == "audit"]
    if audits:
        lines += [
            "| average precision, from [the results](results.md) | loss | L2 norm | isolation forest | best other |"
        ]
        lines += ["|---|---|---|---|---|"]
    won: list[bool] = []
    for regime in dict.fromkeys(row["regime"] for row in audits):
        seeds = list({row["seed"]: row["detection"] for row in audits if row["regime"] == regime}.values())
        ap = {name: float(np.mean([one[name]["ap"] for one in seeds])) for name in seeds[0]}
        others = {name: value for name, value in ap.items() if name not in ("loss", "l2", "isolation_forest")}
        best = max(others, key=lambda name: others[name])
        cells = [f"{ap[name]:.2f}" for name in ("loss", "l2", "isolation_forest")]
        lines.append(f"| {regime} | " + " | ".join(cells) + f" | {others[best]:.2f} (`{best}`) |")
        won.append(ap["loss"] >= ap["l2"])
    if won:
        lines += ["", f"The loss finds at least as many as the L2 norm in {sum(won)} of these {len(won)} settings."]
    states = [row for row in read(RESULTS / "collapse_signal.jsonl") if row["set"] == "fashion"]
    if states:
        columns = ("loss", "last layer", "first layer", "last layer, projected", "all layers, projected")
        lines += ["", "| average precision, from [collapse](results-collapse.md) | " + " | ".join(columns) + " |"]
        lines += ["|---|" + "---|" * len(columns)]
    for noise, epoch in sorted({(row["noise"], int(epoch)) for row in states for epoch in row["checkpoints"]}):
        found = [row["checkpoints"][str(epoch)] for row in states if row["noise"] == noise]
        values = [
            [one.get("loss_ap") for one in found],
            *([one["layers"][layer]["ap"] for one in found] for layer in ("last linear", "first convolution")),
            *([one.get("dimensions", {}).get(f"{which} 512") for one in found] for which in ("last", "all")),
        ]
        cells = [f"{np.mean(one):.2f}" if None not in one else "" for one in values]
        lines.append(f"| {100 * noise:.0f} % flipped, epoch {epoch} | " + " | ".join(cells) + " |")
    return [*lines, ""]


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

Written by `python benchmarks/plan_check.py --write` from `benchmarks/results/plan_check.jsonl`; the rows come from
`python benchmarks/plan_check.py`. Machine: {machines}.

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


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--part", choices=["plan", "operations"])
    parser.add_argument("--case", choices=list(CASES), help="only this case")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", choices=["plan", "audit"], help=argparse.SUPPRESS)
    arguments, _ = parser.parse_known_args()
    if arguments.work:
        work(arguments)
        return

    def measure(asked: argparse.Namespace) -> None:
        for name, part in {"plan": part_plan, "operations": part_operations}.items():
            if asked.part in (None, name):
                part(asked)

    run_once(parser, measure, write, needs=("data",))


if __name__ == "__main__":
    main()
