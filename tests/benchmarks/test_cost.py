"""What the default along training costs."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from quality import cost
from quality.regimes import Problem
from quality.training import Recipe


def test_epochs_with_and_without_a_recorder_are_timed(monkeypatch):
    monkeypatch.setattr(cost, "ROUNDS", 2)
    inputs, labels = torch.randn(60, 4), np.arange(60) % 3
    held = (inputs, labels)
    problem = Problem(inputs, labels, labels, held, held, lambda: nn.Linear(4, 3), Recipe(2, 20, 0.1))
    plain, recorded = cost.epochs(problem)
    assert plain > 0
    assert recorded > 0


def test_shares_of_the_training_are_told():
    row = {"regime": "small", "epochs": 10, "plain": 2.0, "recorded": 2.1, "scoring": 1.0, "machine": "here"}
    known = [
        {"regime": "small", "method": "posterior_every_third", "information_seconds": 1.6, "training_seconds": 20.0},
        {"regime": "other", "method": "posterior_every_third", "information_seconds": 9.0, "training_seconds": 20.0},
    ]
    assert "| small | 2.00 | 5.0 % | 5.0 % | 10.0 % | 8.0 % | 13.0 % |" in cost.cost_lines([row], known)
