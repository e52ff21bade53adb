"""What the health check costs: collapse against plain forward passes, and the spectrum of a ResNet's last block.

    python benchmarks/geometry_cost.py --data DIR             # two cores, about a quarter of an hour
    python benchmarks/geometry_cost.py --data DIR --images 5000 --part spectrum
    python benchmarks/geometry_cost.py --write                # docs/performance-geometry.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``cifar10/``. A ResNet-20 of width 26 (about 700,000 parameters) is trained for one
epoch on 5,000 CIFAR-10 images. Collapse of all its layers on the 5,000 images is timed against two plain forward passes,
interleaved, and the ratio's median is what counts. Then the 110 largest eigenvalues of the last block's Gauss-Newton matrix
are computed, with the block's inputs cached once, and, for comparison, products without that.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, run_once
from frame.page import write_page
from frame.rows import RESULTS, machine
from frame.training import train_epochs
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from gradsift.curvature import GaussNewton, MeanLoss
from gradsift.geometry import collapse
from gradsift.geometry.spectra import spectrum
from gradsift.gradients.selection import select_parameters
from gradsift.tasks import Classification

ROWS = RESULTS / "geometry_cost.json"
WIDTH, IMAGES, ROUNDS = 26, 5000, 3
BLOCK = "stages.2.2.*"


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(outputs)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.norm_one(self.one(x)))
        return functional.relu(self.norm_two(self.two(out)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        sizes = [width, 2 * width, 4 * width]
        before = [width, *sizes[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(i, o, 1 if s == 0 else 2), Block(o, o, 1), Block(o, o, 1))
            for s, (i, o) in enumerate(zip(before, sizes, strict=True))
        )
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(dim=(2, 3)))


def load(arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    files = sorted((arguments.data / "cifar10").glob("train*.parquet"))
    table = pq.read_table(files[0]).slice(0, IMAGES)
    column = next(name for name in table.column_names if "image" in name)
    raw = [one["bytes"] if isinstance(one, dict) else one for one in table[column].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in raw])
    label = next(name for name in ("label", "true_label", "clean_label") if name in table.column_names)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (x - 0.5) / 0.25, torch.from_numpy(table[label].to_numpy().astype(np.int64))


def trained(x: Tensor, y: Tensor) -> ResNet:
    torch.manual_seed(0)
    model = ResNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return train_epochs(
        model, optimizer, lambda rows: functional.cross_entropy(model(x[rows]), y[rows]), len(y), epochs=1, batch=64
    )


@torch.no_grad()
def forward(model: nn.Module, x: Tensor) -> None:
    for part in x.split(256):
        model(part)


def seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(arguments: argparse.Namespace) -> None:
    x, y = load(arguments)
    model = trained(x, y)
    row: dict[str, Any] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    row |= {
        "parameters": sum(one.numel() for one in model.parameters()),
        "machine": machine(),
    }
    if arguments.part in (None, "collapse"):
        ratios, plain = [], []
        for _ in range(ROUNDS):
            plain.append(seconds(lambda: (forward(model, x), forward(model, x))))
            ratios.append(seconds(lambda: collapse(model, (x, y), show_progress=False)) / plain[-1])
        row["collapse"] = {"ratio": statistics.median(ratios), "ratios": ratios, "forward": statistics.median(plain)}
        print(row["collapse"], flush=True)
        ROWS.write_text(json.dumps(row, indent=1) + "\n")
    if arguments.part in (None, "spectrum"):
        few = (x[: arguments.images], y[: arguments.images])
        chosen = select_parameters(model, Classification(), BLOCK, (x[:4], y[:4]))
        batches = [(a, b) for a, b in zip(few[0].split(250), few[1].split(250), strict=True)]
        whole = GaussNewton(MeanLoss(model, Classification(), chosen, batches, len(few[0])))
        vector = torch.ones(1, whole.size)
        uncached = statistics.median(seconds(lambda: whole(vector)) for _ in range(2))
        found = spectrum(
            model, few, num_classes=10, layers=BLOCK, max_samples=arguments.images, tolerance=1e-3, show_progress=False
        )
        row[f"spectrum {arguments.images}"] = {
            "seconds": found.seconds, "products": found.products, "size": found.size, "outliers": found.outliers,
            "gap": found.gap, "seconds a product": found.seconds / found.products, "without the cache": uncached,
        }  # fmt: skip
        print(row[f"spectrum {arguments.images}"], flush=True)
    ROWS.write_text(json.dumps(row, indent=1) + "\n")


def write() -> None:
    row = json.loads(ROWS.read_text())
    lines = [PAGE_HEAD, f"ResNet-20 of width {WIDTH}, {row['parameters']:,} parameters. Machine: {row['machine']}.", ""]
    if "collapse" in row:
        one = row["collapse"]
        lines += [
            f"* Collapse of all {IMAGES:,} images in every layer: **{one['ratio']:.2f} ×** two plain forward passes "
            f"(median of {len(one['ratios'])} interleaved rounds; {min(one['ratios']):.2f} to {max(one['ratios']):.2f}; "
            f"the forward passes took {one['forward']:.1f} seconds). The goal was 2 ×.",
        ]
    for name, one in row.items():
        if name.startswith("spectrum"):
            images = int(name.split()[1])
            lines.append(
                f"* The 110 largest eigenvalues of the last block ({one['size']:,} parameters) on {images:,} images: "
                f"**{one['seconds'] / 60:.1f} minutes**, {one['products']} products of {one['seconds a product']:.2f} "
                f"seconds; one through the whole network takes {one['without the cache']:.2f}. {one['outliers']} "
                f"eigenvalues stand above the largest gap, a factor of {one['gap']:.2f}. The goal was 10 minutes for 1,000 "
                f"images."
            )
    write_page("performance-geometry.md", lines)


PAGE_HEAD = """# What the health check costs

Written by `python benchmarks/geometry_cost.py --write` from `benchmarks/results/geometry_cost.json`; the figures come from
`python benchmarks/geometry_cost.py`.
"""


def main() -> None:
    parser = parser_of(__doc__, threads=None)
    parser.add_argument("--part", choices=("collapse", "spectrum"), help="one of them")
    parser.add_argument("--images", type=int, default=1000, help="images of the spectrum")
    run_once(parser, measure, write, needs=("data",))


if __name__ == "__main__":
    main()
