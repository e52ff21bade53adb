"""Losses of embedding models: pairs of an anchor and its match, and triplets with a negative.

A loss that takes the rest of the batch as negatives gives no sample a loss of its own: with other samples in the batch it
would be another one. Here the negatives are a bank of other matches, embedded once before the audit and frozen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data import Samples
from gradsift.data.batch import Batch, shape_in_words, to_model
from gradsift.errors import ModelError, SettingError
from gradsift.tasks.match_inputs import MatchInputs
from gradsift.tasks.match_likelihood import SAME, MatchLikelihood
from gradsift.tasks.pairs import PairTask, sides
from gradsift.tasks.structured import Classes, Part

SIDES = ANCHOR, POSITIVE, NEGATIVE = ("anchor", "positive", "negative")
"""A batch has the inputs of each: the key itself, or keys that begin with it, such as ``anchor_input_ids``."""
COOLER = 2.0
"""Parts are scored at so many times the training's temperature, where a memorised match stands out less."""
COMPARED = 2048
"""Each match is compared with at most so many others, where inputs are readable: memory and time grow with it."""
PROBLEM = (
    "a sample with {given} has no anchor with its match: give dicts with the inputs of both, anchor and positive (and, of "
    "triplets, negative), or texts through gradsift.MatchSet"
)

Pooling = Literal["mean", "first"]


@dataclass(frozen=True)
class Bank:
    """Embeddings of other pairs, of length one.

    Attributes:
        anchors: Shape (M, D).
        positives: Shape (M, D).
    """

    anchors: Tensor
    positives: Tensor

    def __len__(self) -> int:
        """Number of pairs M."""
        return len(self.anchors)

    def __repr__(self) -> str:
        """Its size and the first digits of its hash, which say in a manifest which bank it was."""
        digest = hashlib.sha256()
        for embeddings in (self.anchors, self.positives):
            digest.update(embeddings.cpu().double().numpy().tobytes())
        return f"Bank({len(self)} pairs, {digest.hexdigest()[:16]})"


class Contrastive:
    """Contrastive loss with a frozen memory bank, ``l = -log e^(s(a,p)/t) / (e^(s(a,p)/t) + sum_m e^(s(a,b_m)/t))``.

    s is the cosine, t the temperature, and b_m are matches of other samples, embedded once with the audited model. It
    approximates the in-batch loss (InfoNCE, MultipleNegativesRankingLoss) of a batch of M + 1 samples. The negatives are
    the same for all samples, and what a sample does as a negative of others is left out. A text of the bank that equals the
    match itself is no negative.

    Example:
        >>> from torch import nn
        >>> pairs = {"anchor": torch.randn(20, 3), "positive": torch.randn(20, 3)}
        >>> task = Contrastive.of(nn.Linear(3, 4), pairs, size=8)
        >>> task.losses(task.outputs(nn.Linear(3, 4), pairs), pairs).shape
        torch.Size([20])

    Args:
        anchors: Embeddings of the bank's anchors, shape (M, D).
        positives: Embeddings of their matches, shape (M, D).
        temperature: Temperature of the training, above 0; 0.05 is sentence-transformers' scale of 20.
        pooling: How tokens become one embedding where the model gives hidden states: their mean, or the first one.
        likelihood: How probable a match is by the inputs, which scores parts; :meth:`of` adds it.

    Raises:
        SettingError: The temperature is not above 0, or the bank holds fewer than two pairs.
    """

    kind = "structured"

    def __init__(
        self,
        anchors: Tensor,
        positives: Tensor,
        *,
        temperature: float = 0.05,
        pooling: Pooling = "mean",
        likelihood: MatchLikelihood | None = None,
    ) -> None:
        if not temperature > 0:
            raise SettingError(f"the temperature is a number above 0, given {temperature}")
        if anchors.shape != positives.shape or len(anchors) < 2:  # one pair has no other
            raise SettingError(
                f"a bank needs two pairs or more, given embeddings of shapes {tuple(anchors.shape)} and "
                f"{tuple(positives.shape)}"
            )
        self.bank = Bank(*(functional.normalize(embeddings.detach(), dim=1) for embeddings in (anchors, positives)))
        self.temperature, self.pooling, self.likelihood = temperature, pooling, likelihood

    @classmethod
    def of(
        cls,
        model: nn.Module,
        train_set: Any,
        *,
        size: int = 256,
        temperature: float = 0.05,
        pooling: Pooling = "mean",
        seed: int = 0,
        batch_size: int = 32,
    ) -> Self:
        """Embeds a bank of pairs that are drawn at random.

        Args:
            model: The trained model, in eval mode.
            train_set: The data set.
            size: Number of pairs M; all where there are fewer.
            temperature: Temperature of the training.
            pooling: How tokens become one embedding.
            seed: Seed of the draw.
            batch_size: Pairs a batch.

        Returns:
            The task.
        """
        samples = Samples(train_set)
        order = np.random.default_rng(seed).permutation(len(samples))
        compared = chosen = np.sort(order[:size])
        bank = samples.batch(chosen)
        readable = MatchInputs.of(side_of(bank, ANCHOR), side_of(bank, POSITIVE)) is not None
        if readable:
            compared = np.sort(order[: max(size, COMPARED)])
            bank = samples.batch(compared)
        embeddings = []
        with torch.no_grad():
            for start in range(0, len(compared), batch_size):
                batch = to_model(samples.batch(compared[start : start + batch_size]), model)
                both = [embedded(model, side_of(batch, side), pooling) for side in (ANCHOR, POSITIVE)]
                embeddings.append(functional.normalize(torch.stack(both, dim=1), dim=2))
        pairs, likelihood = torch.cat(embeddings), None
        if readable:
            likelihood = MatchLikelihood.of(side_of(bank, ANCHOR), side_of(bank, POSITIVE), pairs, seed=seed)
        anchors, positives = pairs[np.isin(compared, chosen)].unbind(dim=1)
        return cls(anchors, positives, temperature=temperature, pooling=pooling, likelihood=likelihood)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Embeddings of anchors and matches, of length one, shape (n, 2, D)."""
        both = [embedded(model, side_of(batch, side), self.pooling) for side in (ANCHOR, POSITIVE)]
        return functional.normalize(torch.stack(both, dim=1), dim=2)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of each pair against the bank, shape (n,), in nats."""
        del batch
        return against(outputs[:, 0], outputs[:, 1], self.bank.positives, self.temperature)

    def class_counts(self, outputs: Tensor, batch: Batch) -> None:
        """Pairs have no classes."""
        del outputs, batch

    def worst_parts(self, outputs: Tensor, batch: Batch, classes: Classes) -> list[Part]:
        """How badly each pair matches: how improbable each side is, given the other.

        Embeddings have been trained on the wrong matches, too, and remember some; the inputs have not. Where these are
        features or tokens, a :class:`~gradsift.tasks.match_likelihood.MatchLikelihood` scores the pairs; elsewhere the loss
        of both ways does, match among matches and anchor among anchors.

        Args:
            outputs: Embeddings, shape (n, 2, D).
            batch: The batch.
            classes: Not used.

        Returns:
            One part a pair.
        """
        del classes
        (anchor, match), warm = outputs.unbind(dim=1), COOLER * self.temperature
        wrong = None
        if self.likelihood is not None:
            scores, wrong = self.likelihood.rated(side_of(batch, ANCHOR), side_of(batch, POSITIVE), outputs)
        else:
            scores = against(anchor, match, self.bank.positives, warm) + against(match, anchor, self.bank.anchors, warm)
        own = (anchor * match).sum(dim=1)
        closer = (anchor @ self.bank.positives.to(anchor).T > own[:, None]).sum(dim=1)
        words = [
            f"cosine {cosine:.2f}: {count} of {len(self.bank)} other matches are closer to the anchor"
            for cosine, count in zip(own.tolist(), closer.tolist(), strict=True)
        ]
        chances = [None] * len(words) if wrong is None else wrong.tolist()
        return [
            Part(score, text, wrong=chance) for score, text, chance in zip(scores.tolist(), words, chances, strict=True)
        ]


class Triplet(PairTask):
    """Anchor, match and negative, ``l = -log sigmoid((s(a, p) - s(a, n)) / t)``: the triplet loss with a soft margin.

    It is the contrastive loss with one negative. A pair of answers is what it compares, so swapped ones are found and put
    right as those of reward models are.

    Args:
        temperature: Scale t of the difference of cosines, above 0.
        pooling: How tokens become one embedding where the model gives hidden states.

    Raises:
        SettingError: The temperature is not above 0.
    """

    def __init__(self, *, temperature: float = 0.05, pooling: Pooling = "mean") -> None:
        if not temperature > 0:
            raise SettingError(f"the temperature is a number above 0, given {temperature}")
        self.temperature, self.pooling = temperature, pooling

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cosines with the match and with the negative over the temperature; see :meth:`PairTask.outputs`."""
        anchor, *others = (
            functional.normalize(embedded(model, side_of(batch, side), self.pooling), dim=1) for side in SIDES
        )
        return torch.stack([(anchor * other).sum(dim=1) for other in others], dim=1) / self.temperature


def side_of(batch: Batch, side: str) -> Any:
    """The inputs of one side of a batch.

    Args:
        batch: A dict, or a tuple of anchors, matches and, of triplets, negatives.
        side: One of :data:`SIDES`.

    Returns:
        What goes into the model: a tensor, or a dict of arguments.

    Raises:
        DataError: The batch has none.
    """
    if isinstance(batch, tuple | list):
        batch = dict(zip(SIDES, batch, strict=False))
    return sides(batch, side, PROBLEM)


def embedded(model: nn.Module, inputs: Any, pooling: Pooling = "mean") -> Tensor:
    """Embeddings of some inputs.

    Args:
        model: Gives a tensor (n, D), an object with ``last_hidden_state`` (transformers), or a dict with
            ``sentence_embedding`` (sentence-transformers, which take one dict).
        inputs: A tensor, or a dict of arguments.
        pooling: How hidden states become one embedding: the mean of tokens that are no padding, or the first one.

    Returns:
        Shape (n, D), at least float32.

    Raises:
        ModelError: The model gives something else.
    """
    if isinstance(inputs, Mapping):
        output = model(dict(inputs)) if isinstance(model, nn.Sequential) else model(**inputs)
    else:
        output = model(inputs)
    if isinstance(output, Mapping) and "sentence_embedding" in output:
        output = output["sentence_embedding"]
    states = getattr(output, "last_hidden_state", None)
    if isinstance(states, Tensor):
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        output = states[:, 0] if pooling == "first" else _mean(states, mask)
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise ModelError(
            f"the model gives {shape_in_words(output)}: an embedding model gives a tensor of shape (n, D), or "
            "last_hidden_state, or sentence_embedding; wrap yours in a module that does"
        )
    return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    weights = torch.ones_like(states[..., :1]) if mask is None else mask[..., None].to(states)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def against(first: Tensor, second: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the second among itself and the bank, ``-log e^(s(f,s)/t) / (e^(s(f,s)/t) + sum_m e^(s(f,b_m)/t))``.

    Args:
        first: Vectors of length one, shape (n, D).
        second: What belongs to them, shape (n, D).
        bank: Shape (M, D); what equals the second is left out.
        temperature: Temperature t.

    Returns:
        Shape (n,), in nats.
    """
    bank = bank.to(first)
    own = (first * second).sum(dim=1, keepdim=True)
    others = (first @ bank.T).masked_fill((second @ bank.T).detach() > 1 - SAME, -torch.inf)
    return -(torch.cat([own, others], dim=1) / temperature).log_softmax(dim=1)[:, 0]
