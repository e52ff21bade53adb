"""CIFAR-10 with the human labels of CIFAR-10N, a slice of 10,000 images: train, audit, see what is found.

    python examples/cifar10n.py --labels worst -o runs/cifar10n

``--data`` (or ``$GRADSIFT_DATA/cifar10``) is a folder with ``train.parquet`` (columns ``image`` as encoded bytes,
``label``, ``n_aggre_label``, ``n_worse_label``) and ``test.parquet``. Needs Pillow: ``pip install 'gradsift[image]'``.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import gradsift
from gradsift.evaluation import detection

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
COLUMN = {"aggre": "n_aggre_label", "worst": "n_worse_label"}
SLICE, EPOCHS, BATCH = 10_000, 10, 128


def load(folder: Path, part: str, label: str, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first rows: images (n, 3, 32, 32), standardised, and one column of labels (n,)."""
    table = pq.read_table(folder / f"{part}.parquet", columns=["image", label]).slice(0, rows)
    images = []
    for cell in table["image"].to_pylist():
        content = cell["bytes"] if isinstance(cell, dict) else cell
        images.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    labels = torch.from_numpy(table[label].to_numpy().astype(np.int64))
    return (pixels - mean[:, None, None]) / deviation[:, None, None], labels


def make_model() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(3, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2), *block(64, 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def train(dataset: tuple[torch.Tensor, torch.Tensor], *, seed: int) -> nn.Module:
    """SGD with momentum and a linearly falling rate, shuffled, horizontal flips; the model of the last epoch."""
    torch.manual_seed(seed)
    images, labels = dataset
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            batch = images[rows]
            mirrored = torch.where(torch.rand(len(rows))[:, None, None, None] < 0.5, batch.flip(3), batch)
            loss = functional.cross_entropy(model(mirrored), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, test_set: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Test accuracy in percent."""
    images, labels = test_set
    predicted = torch.cat([model(part).argmax(1) for part in images.split(1000)])
    return 100 * float((predicted == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GRADSIFT_DATA", "data")) / "cifar10")
    parser.add_argument("--labels", choices=list(COLUMN), default="aggre")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/cifar10n"))
    arguments = parser.parse_args()

    images, given = load(arguments.data, "train", COLUMN[arguments.labels], SLICE)
    _, true = load(arguments.data, "train", "label", SLICE)
    print(f"{100 * float((given != true).float().mean()):.1f} % of the labels are wrong")
    started = time.perf_counter()
    model = train((images, given), seed=arguments.seed)
    print(f"trained in {time.perf_counter() - started:.0f} s")
    print(f"test accuracy {accuracy(model, load(arguments.data, 'test', 'label', 10_000)):.2f} %")

    started = time.perf_counter()
    audit = gradsift.audit(
        model, (images, given), class_names=CLASSES, output=arguments.output, seed=arguments.seed, overwrite=True
    )
    print(f"audited {len(audit):,} samples in {time.perf_counter() - started:.0f} s")
    print(audit.summary())
    for name, measures in detection(audit, (given != true).numpy()).items():
        print(f"{name:30s}", "  ".join(f"{measure} {value:.3f}" for measure, value in measures.items()))
    print("report:", audit.run.path / "report.html")


if __name__ == "__main__":
    main()
