"""Small networks that train in seconds on one core; each ends in one linear layer that gives the logits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


def fashion_network() -> nn.Module:
    """106,122 parameters, 64 features."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def cifar_network() -> nn.Module:
    """54,000 parameters, 96 features."""

    def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(3, 24, stride=2), *block(24, 48), nn.MaxPool2d(2), *block(48, 96),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


class Residual(nn.Module):
    """Adds what some layers make of their input to it.

    Args:
        layers: The layers.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """The sum."""
        return inputs + self.layers(inputs)


def fast_resnet() -> nn.Module:
    """A nine-layer ResNet for CIFAR-10 that trains in seconds on a GPU: 6.6 million parameters, 512 features."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(3, 64), *block(64, 128), nn.MaxPool2d(2), Residual(*block(128, 128), *block(128, 128)),
        *block(128, 256), nn.MaxPool2d(2), *block(256, 512), nn.MaxPool2d(2),
        Residual(*block(512, 512), *block(512, 512)), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def perceptron(inputs: int, classes: int) -> nn.Module:
    """Two hidden layers, 32 features."""
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes))


class QuestionNetwork(nn.Module):
    """The small pretrained BERT (2 layers, 128 features) with word embeddings as they are, and a new head.

    Args:
        folder: The pretrained model.
        classes: Number of classes.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__()
        from transformers import AutoModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.encoder = AutoModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
        )
        self.encoder.embeddings.requires_grad_(False)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, pieces: Tensor) -> Tensor:
        """Logits (n, K) of word pieces (n, T), from the mean over a question's pieces."""
        pieces = pieces[:, : int((pieces != 0).sum(dim=1).max())]
        there = pieces != 0
        hidden = self.encoder(input_ids=pieces, attention_mask=there.long()).last_hidden_state
        return self.head(self.dropout(mean_over_tokens(hidden, there)))


def mean_over_tokens(hidden: Tensor, there: Tensor) -> Tensor:
    """Mean of hidden states (n, T, D) over the tokens that there are (n, T): shape (n, D)."""
    weights = there.to(hidden)[:, :, None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


class OneLogit(nn.Module):
    """Gives the logits (0, z) of a network with one output: softmax cross-entropy of them is the logistic loss of z.

    Args:
        layers: The network; its last layer gives z, shape (n, 1).
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, 2)."""
        logit = self.layers(inputs)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def linear_toy_network() -> nn.Module:
    """Logistic regression without intercept, as in the paper."""
    return OneLogit(nn.Linear(2, 1, bias=False))


def half_moons_network() -> nn.Module:
    """The paper's 2-2-2-1 perceptron: 14 weights, of which two in the last layer.

    Without a bias there and with features above zero, half of all draws of weights can say one class alone and never learn;
    weights are drawn again until the untrained network says both classes on a grid over the data.
    """
    grid = torch.cartesian_prod(torch.linspace(-1, 2, 10), torch.linspace(-0.5, 1, 10))
    while True:
        model = OneLogit(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
        with torch.no_grad():
            share = float((model(grid)[:, 1] > 0).float().mean())
        if 0.1 < share < 0.9:
            return model
