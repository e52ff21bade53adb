"""Small diffusion models: conditions that are wrong classes, pictures of another set, and pictures with copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from gradsift.data.images import open_image
from gradsift.tasks import ConditionalDenoising, Denoising
from kinds.class_labels import flipped
from kinds.scored import scored_rows
from kinds.task_draw import TaskDraw

SIDE, STEPS, CLASSES = 8, 100, 10


@dataclass(frozen=True)
class PictureDraw:
    """Pictures some of which are strange or copies, and the denoiser that was trained on them.

    Attributes:
        model: The denoiser, in eval mode.
        images: Shape (n, 1, 8, 8).
        conditions: Their classes, shape (n,).
        wrong: Which are strange or copies, shape (n,).
        copies: Whether they are copies.
    """

    model: nn.Module
    images: Tensor
    conditions: Tensor
    wrong: np.ndarray
    copies: bool


class Denoiser(nn.Module):
    """Predicts the noise in an 8 x 8 image of a class; time enters as sines."""

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        self.kind, self.time = nn.Embedding(CLASSES, 32), nn.Linear(16, 32)
        self.layers = nn.Sequential(
            nn.Linear(SIDE * SIDE + 64, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, SIDE * SIDE),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The noise, shape (n, 1, 8, 8)."""
        at = t.to(x)[:, None] / STEPS * torch.pi * 2.0 ** torch.arange(8).to(x) / 2
        about = self.time(torch.cat([at.sin(), at.cos()], dim=1)), self.kind(y)
        return self.layers(torch.cat([x.flatten(1), *about], dim=1)).view_as(x)


def pictures(data: Path, name: str, seed: int, size: int = 1200) -> tuple[Tensor, np.ndarray]:
    """Pictures of 8 x 8 pixels in -1 ... 1, shape (n, 1, 8, 8), and their classes."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        pixels, classes = load_digits(return_X_y=True)
        images = pixels.reshape(-1, 1, SIDE, SIDE) / 8 - 1
    elif name == "cifar10":
        rows = pq.read_table(data / name / "test.parquet", columns=["image", "label"]).slice(0, 2000)
        decoded = [np.asarray(open_image(one).convert("L")) for one in rows["image"].to_pylist()]
        whole = torch.from_numpy(np.stack(decoded)[:, None] / 127.5 - 1)
        images, classes = functional.avg_pool2d(whole, 4).numpy(), rows["label"].to_numpy()
    else:
        rows = pq.read_table(data / name / "train_subset.parquet")
        whole = np.frombuffer(b"".join(rows["pixels"].to_pylist()), np.uint8).reshape(-1, 1, 28, 28) / 127.5 - 1
        images = functional.avg_pool2d(functional.pad(torch.from_numpy(whole), (2, 2, 2, 2), value=-1), 4).numpy()
        classes = rows["label"].to_numpy()
    chosen = rng.choice(len(images), size, replace=False)
    return torch.from_numpy(images[chosen]).float(), classes[chosen].astype(np.int64)


def trained(images: Tensor, classes: Tensor, seed: int, steps: int = 2500) -> nn.Module:
    """Adam on the squared error of the noise, with a rate that falls to zero."""
    torch.manual_seed(seed)
    model, kept = Denoiser(), ConditionalDenoising(conditions=CLASSES, timesteps=STEPS).kept.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        rows, noise, t = torch.randint(len(images), (64,)), torch.randn(64, 1, SIDE, SIDE), torch.randint(STEPS, (64,))
        share = kept[t][:, None, None, None]
        noisy = share.sqrt() * images[rows] + (1 - share).sqrt() * noise
        optimizer.zero_grad()
        (model(noisy, t, classes[rows]) - noise).square().mean().backward()
        optimizer.step()
    return model.eval()


def spoiled(data: Path, seed: int, *, name: str, how: str, other: str = "", size: int = 1000) -> PictureDraw:
    """A draw: pictures of another set take the place of some, or some pictures have copies, and a denoiser learns all.

    Args:
        data: Folder of the data sets.
        seed: Seed of pictures, places and training.
        name: The set.
        how: ``outliers`` 30 pictures of another set; ``copies`` ten pictures 15 times; ``alike`` the same with noise of a
            hundredth of the range.
        other: The other set.
        size: Number of pictures.
    """
    rng = np.random.default_rng(6000 + seed)
    images, classes = pictures(data, name, seed, size)
    wrong = np.zeros(size, dtype=bool)
    if how == "outliers":
        places = rng.choice(size, 30, replace=False)
        images[places] = pictures(data, other, seed + 1000, len(places))[0]
    else:
        places = rng.choice(size, (10, 15), replace=False)
        for group in places:
            noise = 0.02 * rng.standard_normal((len(group), 1, SIDE, SIDE)) * (how == "alike")
            images[group] = images[group[0]] + torch.from_numpy(noise).float()
    wrong[places.ravel()] = True
    conditions = torch.from_numpy(classes)
    return PictureDraw(trained(images, conditions, seed), images, conditions, wrong, how != "outliers")


def picture_rows(draw: PictureDraw, seed: int) -> list[dict[str, Any]]:
    """Average precision on one draw: copies are told by a finding, strange pictures by the score.

    Args:
        draw: The draw.
        seed: Seed of the random order.

    Returns:
        A row a method; the default's row says how many samples the finding names.
    """
    task = Denoising(timesteps=STEPS, draws=32, conditional=True)
    audit = gradsift.audit(draw.model, (draw.images, draw.conditions), task=task, show_progress=False)
    table, kind = audit.table, "near_duplicate" if draw.copies else "outlier"
    named = [one.positions for one in audit.findings if one.kind == kind]
    scores = {"random": np.random.default_rng(seed).random(len(draw.wrong))}
    if draw.copies:  # which are learnt best
        scores |= {f"least {name}": -table[f"score_{name}"].to_numpy() for name in ("loss", "l2", "isolation_forest")}
        scores["default: near_duplicate"] = table["duplicate_group"].is_valid().to_numpy(zero_copy_only=False)
        flagged = named[0] if named else np.zeros(0, dtype=np.int64)
    else:
        scores |= {name: table[f"score_{name}"].to_numpy() for name in ("loss", "l2", "isolation_forest")}
        scores["distance of the picture"] = table["outlier_score"].to_numpy()
        scores[f"default: {audit.detector}"], flagged = table["score"].to_numpy(), audit.flagged_positions
    return scored_rows(scores, draw.wrong, flagged)


def load(data: Path, seed: int, *, name: str, how: str, rate: float) -> TaskDraw:
    """A draw: classes are flipped, and a denoiser learns pictures with them."""
    images, true = pictures(data, name, seed)
    given = flipped(true, how, rate, seed)
    conditions = torch.from_numpy(given)
    task = ConditionalDenoising(conditions=CLASSES, timesteps=STEPS)
    return TaskDraw(trained(images, conditions, seed), (images, conditions), task, given != true, classes=given)
