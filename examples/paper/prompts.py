"""Which prompts shaped an answer (the paper's table 3): DataInf's three sets of prompts, ten classes each.

    python examples/paper/prompts.py --data DIR --model MODEL                            # minutes a set
    python examples/paper/prompts.py --data DIR --model MODEL --set math_with_reason
    python examples/paper/prompts.py --data DIR --model MODEL --per-class 90 --epochs 25   # the paper's size
    python examples/paper/prompts.py --data DIR --model MODEL --per-class 2 --epochs 1     # seconds

``DIR/datainf`` holds ``SET_train.parquet`` and ``SET_test.parquet`` (columns ``prompt``, ``text``, ``variation``).
``MODEL`` is a folder of a model with Llama's layers; the paper's is Llama-2-13B. It is fine-tuned with LoRA on the prompts
of all classes.

For each answer, AUC ranks the training prompts of its class before the others, and recall is the share of its class among
the first. Outlier gradient analysis is told the class of every training prompt: one forest a class, and each prompt gets
the score of its class. The two influence methods are not told. The mean gradient of a class is told as well: our control.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from protocol import beside, parser_of, show
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

import gradsift
from gradsift.detectors import IsolationForest
from gradsift.influence import DataInf, InnerProduct, SampleGradients

SETS = ("grammars", "math_without_reason", "math_with_reason")
METHODS = ("outlier gradients", "inner product", "DataInf")
TABLE_3 = {
    "grammars": dict(zip(METHODS, ("1.000, 1.000", "0.999, 0.982", "1.000, 0.996"), strict=True)),
    "math_without_reason": dict(zip(METHODS, ("1.000, 1.000", "0.724, 0.241", "0.999, 0.993"), strict=True)),
    "math_with_reason": dict(zip(METHODS, ("1.000, 1.000", "0.722, 0.226", "0.999, 0.990"), strict=True)),
}
"""``inner product`` is its Gradient Tracing."""


def load(file: Path, per_class: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Prompts and responses of some rows of each class, and their class numbers."""
    table = pq.read_table(file, columns=["prompt", "text", "variation"])
    names, classes = np.unique(table["variation"].to_numpy(zero_copy_only=False), return_inverse=True)
    generator = np.random.default_rng(seed)
    chosen = np.concatenate([
        generator.permutation(np.flatnonzero(classes == place))[:per_class] for place in range(len(names))
    ])  # fmt: skip
    rows = table.take(pa.array(chosen)).to_pylist()
    answers = [row["text"].removeprefix(row["prompt"]).removesuffix("</s>") for row in rows]
    pairs = pa.table({"prompt": [row["prompt"] for row in rows], "response": answers})
    return pairs, classes[chosen]


def fine_tune(model: Any, train_set: Any, epochs: int, seed: int) -> Any:
    """LoRA of rank 8 on queries and values, as in the paper."""
    transformers.set_seed(seed)
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM", r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj", "v_proj"]
    )
    model = peft.get_peft_model(model, settings).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    samples = [train_set[place] for place in range(len(train_set))]
    for _ in range(epochs):
        for places in torch.randperm(len(samples)).split(16):
            model(**train_set.collate([samples[place] for place in places])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def gradients_of(model: Any, dataset: Any, layers: str = "all") -> SampleGradients:
    return SampleGradients(model, dataset, task="causal-lm", layers=layers, batch_size=8, show_progress=False)


def matrix(store: SampleGradients) -> np.ndarray:
    """The gradients of all prompts, shape (n, p): an adapter of one layer is small."""
    return np.concatenate([part.flatten(1).numpy() for part in store.rows(np.arange(len(store))).values()], axis=1)


def scores_of(model: Any, train_set: Any, test_set: Any, classes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Method to scores (n_train, n_test); high = this prompt shaped that answer."""
    last = f"*layers.{model.config.num_hidden_layers - 1}.*"
    rows, tests = (matrix(gradients_of(model, some, last)) for some in (train_set, test_set))
    forests = [IsolationForest(random_state=seed).fit(rows[classes == kind]) for kind in np.unique(classes)]
    means = np.stack([normalize(rows)[classes == kind].mean(axis=0) for kind in np.unique(classes)])
    store = gradients_of(model, train_set)
    return {
        "outlier gradients": np.stack([forest.score_samples(tests) for forest in forests])[classes],
        "inner product": InnerProduct().fit_gradients(store).influence(test_set, each=True),
        "DataInf": DataInf().fit_gradients(store).influence(test_set, each=True),
        "cosine to a class's mean": (normalize(means) @ normalize(tests).T)[classes],
    }


def measures(scores: np.ndarray, classes: np.ndarray, tests: np.ndarray) -> tuple[float, float]:
    """AUC and recall, means over the answers."""
    aucs, recalls = [], []
    for place, kind in enumerate(tests):
        own = classes == kind
        aucs.append(roc_auc_score(own, scores[:, place]))
        recalls.append(own[np.argsort(-scores[:, place], kind="stable")[: own.sum()]].mean())
    return float(np.mean(aucs)), float(np.mean(recalls))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, seeds=1)
    parser.add_argument("--model", type=Path, required=True, help="folder of a language model")
    parser.add_argument("--set", choices=SETS, default="grammars")
    parser.add_argument("--per-class", type=int, default=10, help="training prompts of each class; the paper's: 90")
    parser.add_argument("--epochs", type=int, default=5, help="the paper's: 25")
    asked = parser.parse_args(arguments)
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    started = time.perf_counter()
    for seed in range(asked.seeds):
        (rows, classes), (test_rows, tests) = (
            load(asked.data / f"datainf/{asked.set}_{part}.parquet", count, seed)
            for part, count in (("train", asked.per_class), ("test", min(asked.per_class, 10)))
        )
        train_set, test_set = (
            gradsift.PromptSet(some, tokenizer, prompt="prompt", response="response", max_length=192)
            for some in (rows, test_rows)
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
        model = fine_tune(model, train_set, asked.epochs, seed)
        for method, scores in scores_of(model, train_set, test_set, classes, seed).items():
            auc, recall = measures(scores, classes, tests)
            found[method]["auc"].append(auc)
            found[method]["recall"].append(recall)
    lines = [f"## {asked.set.replace('_', ' ')}", ""]
    lines += [f"{asked.model.name}, {asked.per_class} training prompts of each of {len(np.unique(classes))} classes, "
              f"{asked.epochs} epochs, {asked.seeds} seeds; {time.perf_counter() - started:.0f} s.", ""]  # fmt: skip
    lines += beside(
        found, {"auc": "AUC", "recall": "recall"}, TABLE_3[asked.set], "the paper, Llama-2-13B: AUC, recall", 3
    )
    show(lines, asked.output)


if __name__ == "__main__":
    main()
