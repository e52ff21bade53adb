"""Part on a denoiser: what it learnt a digit from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forward_influence.images import load
from forward_influence.methods import METHODS, timed
from gradsift.influence import Influence
from gradsift.tasks import Denoising

SIDE, STEPS = 14, 100


class Denoiser(nn.Module):
    """Predicts the noise in a 14 x 14 image; time enters as sines."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SIDE * SIDE + 16, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, SIDE * SIDE)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        at = t.to(x)[:, None] / STEPS * torch.pi * 2.0 ** torch.arange(8).to(x) / 2
        return self.layers(torch.cat([x.flatten(1), at.sin(), at.cos()], dim=1)).view_as(x)


def denoiser(images: Tensor, weights: Tensor, seed: int, steps: int = 1000) -> nn.Module:
    """Adam on the noise's squared error; a weight of 0 takes a sample out, and the other draws stay as they are."""
    torch.manual_seed(seed)
    model, kept = Denoiser(), Denoising(timesteps=STEPS).kept.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        places, noise = torch.randint(len(images), (64,)), torch.randn(64, 1, SIDE, SIDE)
        t = torch.randint(STEPS, (64,))
        share = kept[t][:, None, None, None]
        error = model(share.sqrt() * images[places] + (1 - share).sqrt() * noise, t) - noise
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        optimizer.zero_grad()
        own = weights[places]
        (error.square().flatten(1).mean(1) @ own / own.sum().clamp(min=1)).backward()
        optimizer.step()
    return model.eval()


def part_diffusion(data_folder: Path, seed: int) -> dict[str, Any]:
    """Held-out digits of one class as a group: the class of what ranks highest, and a retraining without it."""
    task, count = Denoising(draws=16, timesteps=STEPS, seed=seed), 60
    images, labels = load(data_folder, "mnist", "train", 600, seed)
    held, kinds = load(data_folder, "mnist", "test", 200, seed)
    images, held = (functional.avg_pool2d(one, 2) for one in (images, held))
    model, seconds = denoiser(images, torch.ones(600), seed), {}
    scores = {}
    for name, method in METHODS.items():
        one = method(show_progress=False, task=task)

        def of_all(one: Influence = one) -> np.ndarray:
            one.fit(model, (images,))
            return np.stack([one.influence((held[kinds == kind],)) for kind in range(10)], axis=1)

        scores[name] = timed(seconds, name, of_all)
    means = torch.stack([held[kinds == kind].mean(dim=0) for kind in range(10)])
    scores["nearest to the mean image"] = -torch.cdist(images.flatten(1), means.flatten(1)).numpy()
    generator = np.random.default_rng([seed, 19])
    scores["random"] = generator.random((600, 10))
    scores["random of the class"] = scores["random"] + (labels.numpy()[:, None] == np.arange(10))
    asked = generator.choice(10, 2, replace=False)

    def loss(of: nn.Module, kind: int) -> float:
        with torch.no_grad():
            mine = held[kinds == kind]
            return float(task.losses(task.outputs(of, mine), mine).mean())

    measures = {}
    for name, values in scores.items():
        first = np.argsort(-values, axis=0)[:count]
        rises = []
        for kind in asked:
            weights = torch.ones(600)
            weights[torch.from_numpy(first[:, kind].copy())] = 0
            rises.append(100 * (loss(denoiser(images, weights, seed), int(kind)) / loss(model, int(kind)) - 1))
        same = (labels.numpy()[first] == np.arange(10)).mean()
        measures[name] = {"share of the class": float(same), "rise of the loss in %": float(np.mean(rises))}
    about = {"loss of held-out images": float(np.mean([loss(model, kind) for kind in range(10)]))}
    return {"MNIST 14 x 14": {"measures": measures, "seconds": seconds, "about": about}}
