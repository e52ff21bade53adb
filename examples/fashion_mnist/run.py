"""Fashion-MNIST, all 60,000 images, with flipped labels: train, audit all samples, see what is found.

    python examples/fashion_mnist.py --noise symmetric -o runs/fashion

The files are read from ``--data`` (a folder with the four ``*-ubyte.gz`` files), by default where Debian's package
``dataset-fashion-mnist`` puts them.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import gradsift
from gradsift.evaluation import detection, flip_labels

DATA = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
EPOCHS, BATCH = 4, 128


def load(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 1, 28, 28) in [0, 1] and labels (n,) of ``train`` or ``t10k``."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def train(dataset: tuple[torch.Tensor, torch.Tensor], *, seed: int) -> nn.Module:
    """Adam with a linearly falling rate, shuffled; the model of the last epoch."""
    torch.manual_seed(seed)
    images, labels = dataset
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
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
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--noise", choices=["symmetric", "pair"], default="symmetric")
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/fashion"))
    arguments = parser.parse_args()

    images, true = load(arguments.data, "train")
    given = torch.from_numpy(flip_labels(true.numpy(), arguments.rate, kind=arguments.noise, seed=arguments.seed))
    started = time.perf_counter()
    model = train((images, given), seed=arguments.seed)
    print(f"trained in {time.perf_counter() - started:.0f} s")
    print(f"test accuracy {accuracy(model, load(arguments.data, 't10k')):.2f} %")

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
