"""Draws whose training changes the pretrained network itself: MiniLM's last layer, or adapters in all of its layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from quality import sources
from quality.networks import QuestionNetwork, mean_over_tokens
from quality.regimes import Noise, Problem, parts
from quality.sources import Labelled
from quality.training import Recipe
from torch import Tensor, nn

from gain import features

BLOCK = Recipe(6, 32, 5e-4)
"""The last layer and a new head: Adam, a falling rate. It fits 95 % of TREC's labels, 74 % of the wrong ones."""
ADAPTERS = Recipe(4, 16, 3e-3)
"""Adapters and a new head: Adam at a high, falling rate."""


class LastBlock(QuestionNetwork):
    """MiniLM's last layer and a linear head on the mean over tokens; what enters the layer is computed beforehand.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(features.minilm(), classes)
        self.encoder = self.encoder.encoder.layer[-1]

    def forward(self, states: Tensor) -> Tensor:
        """Logits (n, K) of hidden states (n, T, 384), which are zero where there is no token."""
        there = states.any(dim=2)
        longest = int(there.sum(dim=1).max())
        states, there = states[:, :longest].float(), there[:, :longest]
        closed = torch.zeros_like(there, dtype=torch.float32).masked_fill(~there, torch.finfo(torch.float32).min)
        return self.head(self.dropout(mean_over_tokens(self.encoder(states, closed[:, None, None, :]), there)))


def with_adapters(classes: int) -> nn.Module:
    """MiniLM with LoRA of rank 8 on queries and values of all layers, and a new head on the mean over word pieces."""
    from peft import LoraConfig, get_peft_model

    network = QuestionNetwork(features.minilm(), classes)
    network.encoder = get_peft_model(network.encoder, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]))
    return network


def last_block(data: Path, cache: Path, seed: int, *, name: str, plant: Noise) -> Problem:
    """2,000 texts, as the hidden states that enter the last layer; what else is kept of the training part tests, too."""
    found = features.states_of_texts(data, cache, name)
    pool, test = ((torch.from_numpy(found[part]), found[f"{part}_label"]) for part in ("train", "test"))
    return _drawn(pool, test, seed, (2_000, len(pool[1]) - 2_000), plant, LastBlock, BLOCK)


def adapters(data: Path, cache: Path, seed: int, *, plant: Noise) -> Problem:
    """600 of TREC's questions, as word pieces, which MiniLM shares with BERT; 1,000 others test, too."""
    del cache
    pool, test = (sources.questions(data, part) for part in ("train", "test"))
    return _drawn(pool, test, seed, (600, 1_000), plant, with_adapters, ADAPTERS)


def _drawn(
    pool: Labelled, test: Labelled, seed: int, counts: tuple[int, int], plant: Noise,
    network: Callable[[int], nn.Module], recipe: Recipe,
) -> Problem:  # fmt: skip
    """Texts that the seed draws; nothing validates."""
    (inputs, labels), (tested, test_labels) = pool, test
    rows, rest = parts(len(labels), counts, seed)
    true = labels[rows].astype(np.int64)
    tests = torch.cat([tested, inputs[rest]]), np.concatenate([test_labels, labels[rest]])
    network = partial(network, int(true.max()) + 1)
    return Problem(inputs[rows], plant(inputs[rows], true, seed), true, (inputs[:0], true[:0]), tests, network, recipe)
