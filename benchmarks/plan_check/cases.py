"""Models with data sets that are planned and then audited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.images import CIFAR10, cifar10, decoded, standardised
from resnet20 import resnet20
from torch import Tensor, nn

import gradsift

Made = tuple[Any, Any, dict[str, Any]]
"""A model, its data set, and what the audit is asked for."""


class Decoded(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """CIFAR-10 images, decoded as they are read."""

    def __init__(self, data: Path, count: int) -> None:
        table = pq.read_table(data / "cifar10" / "train.parquet", columns=["image", "label"]).slice(0, count)
        self._images, self._labels = table["image"].to_pylist(), table["label"].to_pylist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return standardised(decoded([self._images[position]]), *CIFAR10)[0], self._labels[position]


def digits(_data: Path, times: int = 1, **asked: Any) -> Made:
    from sklearn.datasets import load_digits

    found = load_digits()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    pixels = np.tile((found.data / 16).astype(np.float32), (times, 1))
    noise = np.random.default_rng(0).normal(scale=0.05, size=pixels.shape).astype(np.float32)
    return model, (pixels + noise * (times > 1), np.tile(found.target.astype(np.int64), times)), asked


def table(_data: Path, size: int, **asked: Any) -> Made:
    """Rows of ten numbers in two overlapping classes, and a perceptron."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(size, 10)).astype(np.float32)
    labels = (rows[:, :3].sum(axis=1) + generator.normal(scale=0.5, size=size) > 0).astype(np.int64)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)).eval()
    return model, (rows, labels), asked


def images(data: Path, count: int, layers: str, *, at_once: bool = True) -> Made:
    if not at_once:
        return resnet20(data), Decoded(data, count), {"layers": layers}
    pixels, labels = cifar10(data, "train", np.arange(count))
    return resnet20(data), (standardised(pixels, *CIFAR10), torch.from_numpy(labels)), {"layers": layers}


def texts(data: Path, layers: str, count: int | None = None) -> Made:
    import transformers

    path = data / "models/bert-tiny-question-clf"
    rows = pq.read_table(data / "sms_spam/train.parquet").slice(0, count)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return model, gradsift.TextSet(rows, tokenizer, text="text", label="label"), {"layers": layers}


def prompts(data: Path, name: str, count: int) -> Made:
    import peft
    import transformers

    path = data / "models" / name
    table = pq.read_table(data / "datainf/math_with_reason_train.parquet")
    chosen = np.random.default_rng(0).permutation(len(table))[:count]
    pairs = zip(table["prompt"].to_pylist(), table["text"].to_pylist(), strict=True)
    rows = pa.table({"prompt": table["prompt"], "response": [text[len(prompt) :] for prompt, text in pairs]})
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"])
    base = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    few = rows.take(pa.array(chosen))
    train_set = gradsift.PromptSet(few, tokenizer, prompt="prompt", response="response", max_length=256)
    return peft.get_peft_model(base, settings).eval(), train_set, {"layers": "all", "task": "causal-lm"}


CASES: dict[str, Callable[[Path], Made]] = {
    "digits, MLP, last layer": digits,
    "CIFAR-10, ResNet-20, last layer": lambda data: images(data, 6000, "last"),
    "CIFAR-10, ResNet-20, all layers": lambda data: images(data, 2000, "all"),
    "CIFAR-10 decoded as it is read, ResNet-20, last layer": lambda data: images(data, 6000, "last", at_once=False),
    "SMS, BERT-tiny, last layer": lambda data: texts(data, "last"),
    "SMS, BERT-tiny, all layers": lambda data: texts(data, "all"),
    "prompts, LoRA on stories260K, all layers": lambda data: prompts(data, "stories260K", 900),
    "prompts, LoRA on stories15M, all layers": lambda data: prompts(data, "stories15M", 200),
}
"""Cases of some seconds each; :func:`_small_cases` has short ones over layers, detectors and sizes."""


def _small_cases() -> dict[str, Callable[[Path], Made]]:
    cases: dict[str, Callable[[Path], Made]] = {}
    for layers in ("last", "all"):
        for detector in ("l1", "l2", "isolation_forest", "loss", "posterior"):
            cases[f"digits four times, MLP, {layers}, {detector}"] = partial(
                digits, times=4, layers=layers, detectors=(detector,)
            )
        for size in (2_000, 10_000, 40_000):
            cases[f"{size:,} rows of ten numbers, MLP, {layers}"] = partial(table, size=size, layers=layers)
        for detector in ("l2", "isolation_forest", "posterior"):
            cases[f"20,000 rows of ten numbers, MLP, {layers}, {detector}"] = partial(
                table, size=20_000, layers=layers, detectors=(detector,)
            )
        for count in (300, 1_000):
            cases[f"{count:,} of CIFAR-10, ResNet-20, {layers}"] = partial(images, count=count, layers=layers)
        for count in (500, 1_500):
            cases[f"{count:,} of SMS, BERT-tiny, {layers}"] = partial(texts, layers=layers, count=count)
    for count in (100, 300):
        cases[f"{count} prompts, LoRA on stories260K, all"] = partial(prompts, name="stories260K", count=count)
    return cases


CASES |= _small_cases()
