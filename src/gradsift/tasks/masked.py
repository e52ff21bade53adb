"""Masked language models: how well each word of a text is told from the others."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch, is_traced
from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.tasks.structured import Classes, Part

NAMED = 3
"""So many tokens are named in a reason."""


class MaskedLM:
    """Pseudo-log-likelihood in a few passes, ``l = mean_t - log p(x_t | tokens that are not masked with t)``.

    A training masks other tokens at every epoch, so a text has no loss of its own; here pass k of S masks the tokens at
    k, k + S, k + 2S, ... of each text, so that each token is predicted once, and always with the same ones
    (pseudo-log-likelihood of Salazar et al., 2020, with 1 / S of the tokens masked at a time rather than one).

    Args:
        mask: Number of the mask token.
        special: Numbers of tokens that are never masked: padding, beginnings and ends.
        passes: Number S of passes; 6 masks 17 % at a time, about as many as BERT's training.

    Raises:
        SettingError: There are fewer than two passes.
    """

    kind = "structured"

    def __init__(self, mask: int, *, special: tuple[int, ...] = (), passes: int = 6) -> None:
        if passes < 2:  # one pass would mask all
            raise SettingError(f"a masked language model needs two passes or more, given {passes}")
        self.mask, self.special, self.passes = mask, tuple(special), passes

    @classmethod
    def of(cls, tokenizer: Any, *, passes: int = 6) -> Self:
        """The task for the model of a tokenizer.

        Args:
            tokenizer: Its tokenizer, which has a mask token.
            passes: Number of passes.

        Returns:
            The task.

        Raises:
            SettingError: The tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise SettingError(f"a {type(tokenizer).__name__} without mask token belongs to no masked language model")
        return cls(tokenizer.mask_token_id, special=tuple(sorted(tokenizer.all_special_ids)), passes=passes)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model S times.

        Args:
            model: A model of transformers ``...ForMaskedLM``.
            batch: A dict with ``input_ids`` and ``attention_mask``; labels are not read.

        Returns:
            Loss of each token where it was masked, zero of special ones, shape (n, T).

        Raises:
            ModelError: The model gives no logits for each token.
            DataError: The batch holds no tokens.
        """
        ids, counted = self._tokens(batch)
        turn = (counted.cumsum(dim=1) - 1) % self.passes
        rest = {name: value for name, value in batch.items() if name not in ("input_ids", "labels", "id")}
        losses = torch.zeros(ids.shape, device=ids.device)
        for place in range(self.passes):
            hidden = counted & (turn == place)
            output = model(input_ids=torch.where(hidden, self.mask, ids), **rest)
            logits = getattr(output, "logits", output)
            if not isinstance(logits, Tensor) or logits.shape[:2] != ids.shape or logits.ndim != 3:
                raise ModelError(
                    "a masked language model gives logits of shape (n, tokens, words): pass ...ForMaskedLM"
                )
            each = functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none")
            losses = losses + torch.where(hidden, each.reshape(ids.shape), 0.0)
        return losses

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean loss of each text's tokens, shape (n,), in nats.

        Args:
            outputs: Losses of tokens, shape (n, T).
            batch: The batch.

        Returns:
            Shape (n,).

        Raises:
            SampleError: A text has no token.
        """
        counts = self._tokens(batch)[1].sum(dim=1)
        empty = [] if is_traced(counts) else (counts == 0).nonzero()[:, 0].tolist()
        if empty:
            raise SampleError("the text is empty: all its tokens are special ones", empty, "Remove these texts")
        return outputs.sum(dim=1) / counts

    def class_counts(self, outputs: Any, batch: Batch) -> Tensor:
        """How often each token stands in the texts of a batch.

        Args:
            outputs: Not used.
            batch: The batch.

        Returns:
            Shape (V,), with V - 1 the largest number of a token in the batch.
        """
        del outputs
        ids, counted = self._tokens(batch)
        return torch.bincount(ids[counted])

    def worst_parts(self, outputs: Tensor, batch: Batch, classes: Classes) -> list[Part]:
        """The least expected tokens of each text, and its score in three ways.

        These are its mean loss, the part of it beyond the loss of the same tokens out of context, and the share of tokens
        that stood in the text before. A model that has learnt little tells common words from rare ones, and no more: the
        second takes that off. Random letters and foreign words fall into few pieces, which come again and again, and models
        soon learn these.

        Args:
            outputs: Losses of tokens, shape (n, T).
            batch: The batch.
            classes: How common each token is; where that is not known, all count as equally common.

        Returns:
            One part a text.
        """
        ids, counted = self._tokens(batch)
        alone = (outputs - self._out_of_context(ids, classes).to(outputs)).masked_fill(~counted, 0.0).sum(dim=1)
        parts = []
        for loss, beyond, own, among, losses in zip(
            self.losses(outputs, batch).tolist(), alone.tolist(), ids, counted, outputs, strict=True
        ):
            words, worst = own[among], losses.topk(min(NAMED, len(losses)))
            repeated = 1 - len(words.unique()) / len(words)
            named = ", ".join(
                f"{place} ({loss:.1f})" for loss, place in zip(*map(torch.Tensor.tolist, worst), strict=True)
            )
            words_of = f"loss {loss:.1f}; least expected tokens: {named}"
            parts.append(Part((loss, beyond / len(words), repeated), words_of))
        return parts

    @staticmethod
    def _out_of_context(ids: Tensor, classes: Classes) -> Tensor:
        """Loss of each token for one who knows how common it is, and no context; shape (n, T)."""
        if classes.shares is None:
            return torch.zeros(ids.shape)
        shares = classes.shares.to(ids.device)
        rarest = shares[shares > 0].min()  # also of tokens that were not counted
        known = torch.where(ids < len(shares), shares[ids.clamp(max=len(shares) - 1)], rarest)
        return -known.clamp(min=rarest).log()

    def _tokens(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Token ids, and which of them count, both of shape (n, T)."""
        ids = batch.get("input_ids") if isinstance(batch, dict) else None
        if not isinstance(ids, Tensor) or ids.ndim != 2:  # texts, tokens
            raise DataError(
                "a masked language model reads dicts with input_ids (n, tokens): encode texts with a PromptSet"
            )
        real = batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones_like(ids, dtype=torch.bool)
        return ids, real & ~torch.isin(ids, torch.tensor(self.special, dtype=ids.dtype, device=ids.device))
