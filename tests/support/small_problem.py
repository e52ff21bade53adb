"""A small problem of the quality benchmark, which trains in a moment."""

from typing import Any

import numpy as np
import torch
from quality.regimes import Problem
from quality.training import Recipe
from torch import nn

from gradsift.evaluation import flip_labels


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def small_problem(**more: Any) -> Problem:
    """Three classes, 120 samples, 20 % of the labels flipped; ``more`` are further fields, such as groups."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 120)
    inputs = torch.from_numpy(generator.standard_normal((120, 4)) + 3 * np.eye(4)[true]).float()
    settings = {"validation": (inputs[:40], true[:40]), "test": (inputs[:40], true[:40]), "recipe": Recipe(6, 20, 0.05)}
    given = flip_labels(true, 0.2, seed=0)
    return Problem(inputs, given, true, network=network, **(settings | more))
