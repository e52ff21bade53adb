"""Models with data sets that are planned and then audited."""

from __future__ import annotations

from collections.abc import Callable
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


def digits(_data: Path) -> Made:
    from sklearn.datasets import load_digits

    found = load_digits()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    return model, ((found.data / 16).astype(np.float32), found.target.astype(np.int64)), {}


def images(data: Path, count: int, layers: str, *, at_once: bool = True) -> Made:
    if not at_once:
        return resnet20(data), Decoded(data, count), {"layers": layers}
    pixels, labels = cifar10(data, "train", np.arange(count))
    return resnet20(data), (standardised(pixels, *CIFAR10), torch.from_numpy(labels)), {"layers": layers}


def texts(data: Path, layers: str) -> Made:
    import transformers

    path = data / "models/bert-tiny-question-clf"
    rows = pq.read_table(data / "sms_spam/train.parquet")
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
