"""CIFAR-10 with the human labels of CIFAR-10N (the paper's tables 2 and 5): 5 % removed by each score, and trained again.

    python examples/paper/cifar10n.py --data DIR --labels worst            # 4,000 images, a small network
    python examples/paper/cifar10n.py --data DIR --as-published --device cuda   # ResNet-34, 50,000 images, 100 epochs
    python examples/paper/cifar10n.py --data DIR --images 100 --epochs 1 --seeds 1      # seconds

``DIR/cifar10`` holds ``train.parquet`` (columns ``image`` as encoded bytes, ``label``, ``n_aggre_label``,
``n_random_label1``, ``n_worse_label``) and ``test.parquet``. Needs Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from protocol import Problem, beside, parser_of, show, trim_and_retrain
from torch import Tensor, nn
from torch.nn import functional

SHARE, BATCH = 0.05, 128
COLUMN = {"aggregate": "n_aggre_label", "random": "n_random_label1", "worst": "n_worse_label"}
ARMS = ("no change", "l1", "l2", "isolation_forest", "self_confidence")
TABLE_2 = {
    "aggregate": dict(zip(ARMS, ("90.87", "91.86", "92.21", "91.36", "91.38"), strict=True)),
    "random": dict(zip(ARMS, ("89.17", "90.66", "90.25", "90.20", "90.09"), strict=True)),
    "worst": dict(zip(ARMS, ("82.27", "84.20", "82.99", "83.72", "83.65"), strict=True)),
}


def load(file: Path, label: str, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first images (n, 3, 32, 32), standardised, with their labels in one column and their true ones."""
    table = pq.read_table(file, columns=list({"image", "label", label})).slice(0, rows)
    cells = [cell["bytes"] if isinstance(cell, dict) else cell for cell in table["image"].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content in cells])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    given, true = (torch.from_numpy(table[name].to_numpy().astype(np.int64)) for name in (label, "label"))
    return (images - mean[:, None, None]) / deviation[:, None, None], given, true


def small_network() -> nn.Module:
    """Three convolutions: what a processor trains in a minute."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of ``outputs`` channels."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet34() -> nn.Module:
    """ResNet-34 for small images: 3, 4, 6 and 3 blocks, the first convolution 3 x 3 without a stride."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for place in range(count):
            layers.append(Block(inputs, outputs, 2 if place == 0 and outputs > 64 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def recipe(make: Callable[[], nn.Module], epochs: int, device: str):
    """The paper's: SGD with momentum, a tenth of the rate after three fifths of the epochs, crops and flips; shuffled."""

    def train(dataset: tuple[Tensor, Tensor], *, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        images, labels = (part.to(device) for part in dataset)
        model = make().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(0.6 * epochs)])
        for _ in range(epochs):
            for rows in torch.randperm(len(labels)).split(BATCH):
                if len(rows) > 1:
                    loss = functional.cross_entropy(model(augmented(images[rows])), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            schedule.step()
        return model.eval()

    return train


def augmented(batch: Tensor) -> Tensor:
    """A random crop with 4 pixels of border, and a flip, one for each image."""
    padded, corner = functional.pad(batch, (4, 4, 4, 4)), torch.randint(9, (len(batch), 2)).tolist()
    crops = torch.stack([image[:, y : y + 32, x : x + 32] for image, (y, x) in zip(padded, corner, strict=True)])
    return torch.where((torch.rand(len(batch), 1, 1, 1) < 0.5).to(batch.device), crops.flip(3), crops)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, seeds=3)
    parser.add_argument("--labels", choices=COLUMN, default="worst")
    parser.add_argument("--images", type=int, default=4000, help="training images, the first ones")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--network", choices=("small", "resnet34"), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--as-published", action="store_true", help="ResNet-34, 50,000 images, 100 epochs")
    asked = parser.parse_args(arguments)
    if asked.as_published:
        asked.images, asked.epochs, asked.network = 50_000, 100, "resnet34"
    images, given, true = load(asked.data / "cifar10/train.parquet", COLUMN[asked.labels], asked.images)
    tests, test_labels, _ = load(asked.data / "cifar10/test.parquet", "label", min(asked.images, 10_000))
    problem = Problem((images, given), (tests, test_labels), given.numpy(), true.numpy())
    train = recipe(resnet34 if asked.network == "resnet34" else small_network, asked.epochs, asked.device)
    found = trim_and_retrain(train, lambda _: problem, share=SHARE, seeds=asked.seeds)
    lines = [f"## CIFAR-10N, labels *{asked.labels}*", ""]
    share_wrong = float((given != true).float().mean())
    lines += [
        f"{len(given):,} images, {100 * share_wrong:.1f} % wrong, network {asked.network}, {asked.epochs} epochs, "
        f"{asked.seeds} seeds; {100 * SHARE:.0f} % removed.",
        "",
    ]
    columns = {"detection": "detection (%)", "accuracy": "test accuracy, last epoch (%)"}
    lines += beside(found, columns, TABLE_2[asked.labels], "the paper, best epoch of ResNet-34 (%)")
    show(lines, asked.output)


if __name__ == "__main__":
    main()
