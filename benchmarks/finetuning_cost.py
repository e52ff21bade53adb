"""What an audit and a recorder cost beside fine-tuning with LoRA: ratios to a plain training step on the same batch.

    python benchmarks/finetuning_cost.py                  # prints, writes benchmarks/results/finetuning_cost.json
    python benchmarks/finetuning_cost.py --device cuda    # adds a 1-billion-parameter Llama shape in bfloat16
    python benchmarks/finetuning_cost.py --write          # writes docs/performance-finetuning.md from it

A training step is forward, backward into the adapters, and AdamW. Each round runs every job once on the same batch, in
turn; the figure is the median over rounds of the ratio within a round. Weights are random: they do not change the cost.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import torch
import transformers
from frame.command import parser_of, quiet, run_once
from frame.page import write_page
from frame.rows import RESULTS, machine
from speed.models import LLAMA_1B, MINILM

import gradsift
from gradsift.data import to_model
from gradsift.gradients import PerSampleGradients, Projection, Reductions
from gradsift.trajectory.indexed import POSITIONS

RESULT = RESULTS / "finetuning_cost.json"
GOALS = {"adapters, L2 + projection": 1.5, "step, recorded: last layer": 1.05, "step, recorded: adapters": 1.05}
STORIES = {"hidden_size": 288, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 768}


def adapted(model: Any, kind: str, targets: list[str], device: str) -> Any:
    settings = peft.LoraConfig(
        task_type=kind, r=8, lora_alpha=16, lora_dropout=0.05, target_modules=targets,
        modules_to_save=["classifier"] if kind == "SEQ_CLS" else None,
    )  # fmt: skip
    return peft.get_peft_model(model, settings).to(device)


def classifier(size: int, length: int, device: str) -> tuple[Any, dict[str, torch.Tensor], str]:
    config = transformers.BertConfig(vocab_size=30_522, num_labels=6, **MINILM)
    model = adapted(transformers.BertForSequenceClassification(config), "SEQ_CLS", ["query", "value"], device)
    ids = torch.randint(30_000, (size, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(6, (size,))}
    return model, batch, "classification"


def language_model(
    shape: dict[str, Any], size: int, length: int, device: str, dtype: torch.dtype
) -> tuple[Any, dict[str, torch.Tensor], str]:
    config = transformers.LlamaConfig(**({"vocab_size": 32_000, "tie_word_embeddings": True} | shape))
    with torch.device(device):
        model = transformers.LlamaForCausalLM(config).to(dtype)
    ids = torch.randint(config.vocab_size, (size, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    return adapted(model, "CAUSAL_LM", ["q_proj", "v_proj"], device), batch, "causal-lm"


def cases(device: str) -> dict[str, Callable[[], tuple[Any, dict[str, torch.Tensor], str]]]:
    found = {
        "MiniLM shape, classifier, 32 x 32 tokens": lambda: classifier(32, 32, device),
        "MiniLM shape, classifier, 32 x 128 tokens": lambda: classifier(32, 128, device),
        "Llama shape of 15 M, language model, 8 x 64 tokens": lambda: language_model(
            STORIES, 8, 64, device, torch.float32
        ),
    }
    if device != "cpu":
        found["Llama shape of 1.2 B in bfloat16, language model, 8 x 512 tokens"] = lambda: language_model(
            LLAMA_1B, 8, 512, device, torch.bfloat16
        )
    return found


def jobs(model: Any, batch: dict[str, torch.Tensor], task: str, device: str) -> dict[str, Callable[[], object]]:
    batch = to_model(batch, model)
    size = len(batch["labels"])
    rows = [{name: values[place].cpu() for name, values in batch.items()} for place in range(size)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    positions = torch.arange(size, device=device)

    def step(**more: torch.Tensor) -> None:
        model.train()
        model(**batch, **more).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def recorded(layers: Any) -> Callable[[], float]:
        def run() -> float:
            recorder = gradsift.Recorder(model, rows, task=task, layers=layers, passes="train")
            started = time.perf_counter()
            step(**{POSITIONS: positions})
            recorder.end_step()
            seconds = time.perf_counter() - started
            recorder.end_epoch()
            recorder.finish()
            if "l2" not in recorder.trajectory.statistics:
                raise SystemExit("no gradient norms were recorded")
            return seconds  # hooks are put on and taken off outside of what is timed

        return run

    def gradients(reductions: Reductions) -> Callable[[], object]:
        road = PerSampleGradients(model.eval(), task, batch, layers="all", reductions=reductions)

        def run() -> None:
            model.eval()
            road(batch)

        return run

    found: dict[str, Callable[[], object]] = {
        "training step": step,
        "adapters, L2": gradients(Reductions()),
        "adapters, L2 + projection": gradients(Reductions(projection=Projection(512))),
        "step, recorded: adapters": recorded("*lora_*"),
    }
    if task == "classification":
        found["step, recorded: last layer"] = recorded("last")
    return found


def measure(rounds: int, device: str) -> dict[str, Any]:
    torch.manual_seed(0)
    found = {}
    for name, make in cases(device).items():
        model, batch, task = make()
        work = jobs(model, batch, task, device)
        spent: dict[str, list[float]] = {job: [] for job in work}
        for turn in range(rounds + 2):
            for job, run in work.items():
                started = time.perf_counter()
                own = run()
                if device != "cpu":
                    torch.cuda.synchronize()
                if turn > 1:  # two rounds warm up
                    spent[job].append(own if isinstance(own, float) else time.perf_counter() - started)
        base = np.asarray(spent["training step"])
        tokens = batch["input_ids"].numel()
        found[name] = {
            job: {"ms": 1000 * float(np.median(values)), "ratio": float(np.median(np.asarray(values) / base)),
                  "tokens_per_second": tokens / float(np.median(values))}
            for job, values in spent.items()
        }  # fmt: skip
        print(name)
        for job, row in found[name].items():
            goal = GOALS.get(job)
            verdict = "" if goal is None else f"  goal {goal}: {'met' if row['ratio'] <= goal else 'MISSED'}"
            print(f"  {job:28s} {row['ms']:8.1f} ms  {row['ratio']:5.2f} x a training step  "
                  f"{row['tokens_per_second']:9,.0f} tokens/s{verdict}", flush=True)  # fmt: skip
    return found


def write() -> None:
    lines = [PAGE_HEAD]
    for name_of_machine, result in json.loads(RESULT.read_text()).items():
        lines += [f"## {name_of_machine}", "", f"{result['rounds']} rounds.", ""]
        for name, rows in result["cases"].items():
            lines += [f"### {name}", "", "| job | ms | × training step | tokens a second |", "|---|---|---|---|"]
            lines += [
                f"| {job} | {row['ms']:.1f} | {row['ratio']:.2f} | {row['tokens_per_second']:,.0f} |"
                for job, row in rows.items()
            ]
            lines.append("")
        for job, goal in GOALS.items():
            ratios = {name: rows[job]["ratio"] for name, rows in result["cases"].items() if job in rows}
            worst = max(ratios, key=ratios.__getitem__)
            state = "met on every model" if ratios[worst] <= goal else f"missed on {worst}"
            lines.append(f"* {job}: goal {goal} × a training step, {state}; worst {ratios[worst]:.2f}.")
        lines.append("")
    write_page("performance-finetuning.md", lines)


PAGE_HEAD = """# What audits and recorders cost beside fine-tuning

Written by `python benchmarks/finetuning_cost.py --write`; measured by `python benchmarks/finetuning_cost.py`. A *training
step* is forward, backward into the LoRA adapters (r = 8, two projections a layer) and AdamW, on the same batch.
*Adapters, L2 + projection* is an audit of all adapters: exact norms and a projection to 512 dimensions. *Step, recorded* is
the training step itself with a `Recorder(passes="train")`. Ratios are medians of ratios within a round.
"""


def main() -> None:
    parser = parser_of(__doc__, threads=None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")

    def add_cases(asked: argparse.Namespace) -> None:
        found = measure(asked.rounds, asked.device)
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        known[machine(asked.device)] = {"rounds": asked.rounds, "cases": found}
        RESULT.write_text(json.dumps(known, indent=1) + "\n")

    quiet()
    run_once(parser, add_cases, write)


if __name__ == "__main__":
    main()
