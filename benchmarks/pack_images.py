"""CIFAR-10 with human labels, small enough to be carried to a machine without a network; and what that costs in accuracy.

    python benchmarks/pack_images.py --data DIR --to device/data           # 60,000 images, about 52 MB
    python benchmarks/pack_images.py --data DIR --to DIR --small           # made-up images in the same form; needs no data
    python benchmarks/pack_images.py --data DIR --to device/data --cost    # trainings on both, paired by seed

Images become WebP of quality 95, in the same columns as before, so that whatever reads ``cifar10/`` reads the pack.
``--cost``: the small network of benchmarks/quality, 6,000 images of a seed, trained and tested on images as they are and
as they are packed.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from frame.command import parser_of
from frame.page import paired
from frame.rows import Rows, machine
from PIL import Image

ROWS = Rows("pack_images.jsonl", key=("seed", "images"))
QUALITY = 95
AS_THEY_ARE, PACKED = "as they are", f"WebP {QUALITY}"
LABELS = ("label", "n_aggre_label", "n_worse_label", "n_random_label1")
MADE_UP = {"train": 200, "test": 60}


def encoded(content: bytes, quality: int = QUALITY) -> bytes:
    """One image as WebP."""
    target = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(target, "WEBP", quality=quality, method=6)
    return target.getvalue()


def pack(data: Path, place: Path) -> None:
    """Writes ``cifar10/train.parquet`` and ``cifar10/test.parquet``."""
    (place / "cifar10").mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        table = pq.read_table(data / "cifar10" / f"{part}.parquet")
        images = [encoded(cell["bytes"] if isinstance(cell, dict) else cell) for cell in table["image"].to_pylist()]
        columns = {"image": pa.array(images, pa.binary())}
        columns |= {name: table[name] for name in LABELS if name in table.column_names}
        write(place, part, columns)


def make_up(place: Path) -> None:
    """Images of one colour a class, with some labels wrong."""
    (place / "cifar10").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for part, size in MADE_UP.items():
        labels = generator.integers(0, 10, size)
        images = []
        for label in labels:
            pixels = generator.integers(0, 60, (32, 32, 3)) + np.array([20 * label, 200 - 20 * label, 90])
            target = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target, "PNG")
            images.append(target.getvalue())
        wrong = np.where(generator.random(size) < 0.3, (labels + 1) % 10, labels)
        columns = {"image": pa.array(images, pa.binary()), "label": pa.array(labels)}
        columns |= {name: pa.array(wrong) for name in LABELS[1:]} if part == "train" else {}
        write(place, part, columns)


def write(place: Path, part: str, columns: dict[str, pa.Array]) -> None:
    path = place / "cifar10" / f"{part}.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    print(f"{path}: {len(columns['label']):,} images, {path.stat().st_size / 2**20:.1f} MiB", flush=True)


def cost(data: Path, packed: Path, seed: int) -> None:
    """Test accuracy of the same training on images as they are and as they are packed."""
    from quality.regimes import REGIMES
    from quality.training import accuracy, train

    for name, place in ((AS_THEY_ARE, data), (PACKED, packed)):
        if ROWS.have(seed=seed, images=name):
            continue
        problem = REGIMES["cifar10n-aggre"].load(place, seed)
        model = train(problem.network, problem.recipe, problem.inputs, problem.given, seed=seed)
        row = {"seed": seed, "images": name, "accuracy": accuracy(model, *problem.test), "machine": machine("cpu")}
        ROWS.add(row)
        print(f"seed {seed}, {name}: {row['accuracy']:.2f} %", flush=True)


def difference() -> None:
    """Says the mean difference, paired by seed."""
    values = {
        name: {row["seed"]: row["accuracy"] for row in ROWS.having(images=name)} for name in (AS_THEY_ARE, PACKED)
    }
    print(f"packed less as they are: {paired(values[PACKED], values[AS_THEY_ARE])} points of accuracy")


def main() -> None:
    parser = parser_of(__doc__, seeds=5)
    parser.add_argument("--to", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--small", action="store_true", help="made-up images")
    parser.add_argument("--cost", action="store_true", help="measure what packing costs, in accuracy")
    asked: argparse.Namespace = parser.parse_args()
    if asked.small:
        make_up(asked.to)
        return
    if asked.data is None:
        parser.error("--data is needed")
    if not asked.cost:
        pack(asked.data, asked.to)
        return
    torch.set_num_threads(asked.threads)
    for seed in asked.seeds:
        cost(asked.data, asked.to, seed)
    difference()


if __name__ == "__main__":
    main()
