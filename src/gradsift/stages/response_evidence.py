"""Stage *responses*: how probable a model finds every response, with its prompt and without.

Of a model with an encoder and a decoder, the source is the prompt and the target the response.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.evidence.responses import ResponseEvidence, end_losses
from gradsift.gradients import Batcher
from gradsift.gradients.batches import each_batch
from gradsift.gradients.model_state import evaluated
from gradsift.progress import progress
from gradsift.tasks import NO_TARGET, CausalLM, Seq2Seq, TokenLoss

WORD = re.compile(r"\w+|[^\w\s]")
WORDS = 2**18
"""Numbers that words are hashed to."""


def has_responses(task: Any, batch: Batch) -> bool:
    """Whether responses are looked at: batches name their tokens, and some of them are a prompt's or a source's.

    Args:
        task: The task.
        batch: Some samples.

    Returns:
        Whether they are.
    """
    tokens = batch.get("input_ids") if isinstance(batch, dict) and "labels" in batch else None
    if not isinstance(task, CausalLM | Seq2Seq) or not isinstance(tokens, Tensor) or tokens.ndim != 2:
        return False
    if isinstance(task, Seq2Seq):
        return True
    learnt, real = _masks(batch)
    return bool((real & ~learnt)[:, 1:].any())


def response_evidence(
    model: nn.Module,
    task: CausalLM | Seq2Seq,
    samples: Samples,
    positions: np.ndarray,
    batcher: Batcher,
    *,
    show_progress: bool = True,
) -> ResponseEvidence:
    """Runs the model over all chats, forward alone: once as they are, once without their prompts.

    Args:
        model: The model, in eval mode.
        task: The task.
        samples: The data set; batches hold ``input_ids`` and ``labels``, -100 where a token is no target.
        positions: Which samples, in order.
        batcher: The batch size.
        show_progress: Whether to show a progress bar.

    Returns:
        The evidence. Words are those of the data set's tokenizer, where it has one, and token ids elsewhere.
    """
    tokenizer = getattr(samples.dataset, "tokenizer", None)
    count = HashingVectorizer(
        n_features=WORDS, alternate_sign=False, norm=None, tokenizer=WORD.findall, token_pattern=None
    )

    def read(_: np.ndarray, batch: Batch) -> tuple[Any, ...]:
        losses, targets = token_losses(model, task, batch)
        learnt, real = _masks(batch)
        apart = isinstance(task, Seq2Seq)  # a source has tokens of its own
        prompt = real if apart else real & ~learnt
        prompted = torch.ones(len(real), dtype=torch.bool, device=real.device) if apart else prompt[:, 1:].any(dim=1)
        alone = torch.full_like(losses[:, 0], torch.nan)
        if prompted.any():
            short = without_source(batch, real) if apart else without_prompts(batch, learnt, real)
            alone = torch.where(prompted, _means(*token_losses(model, task, short)), alone)
        ends = _last_two(losses.cpu().numpy(), targets.cpu().numpy())
        words = [
            count.transform(_texts(ids.cpu().numpy(), side.cpu().numpy(), tokenizer))
            for ids, side in ((batch["input_ids"], prompt), (batch["labels"], learnt))
        ]
        lengths = (targets != NO_TARGET).sum(dim=1).cpu().numpy()
        return _means(losses, targets).cpu().numpy(), alone.cpu().numpy(), lengths, *ends, *words

    with progress("responses", len(positions), show=show_progress) as bar:
        walk = each_batch(read, samples.batch, positions, batcher, model=model, bar=bar)
        losses, alone, lengths, tokens, ends, prompts, responses = zip(*(part for _, part in walk), strict=True)
    return ResponseEvidence(
        np.concatenate(losses).astype(np.float64),
        np.concatenate(alone).astype(np.float64),
        end_losses(np.concatenate(tokens), np.concatenate(ends)),
        csr_matrix(vstack(prompts)),
        csr_matrix(vstack(responses)),
        np.concatenate(lengths),
    )


def token_losses(model: nn.Module, task: TokenLoss, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of all target tokens, and the targets.

    Args:
        model: The model, in eval mode.
        task: The task.
        batch: The batch.

    Returns:
        Losses and token ids, each of shape (n, T'): zero and -100 where a token is no target.
    """
    with torch.no_grad():
        outputs = evaluated(lambda: task.outputs(model, batch))
        losses = task.token_losses(outputs, batch).float()
    return losses, task.targets(outputs, batch)


def without_source(batch: Batch, real: Tensor) -> Batch:
    """The same samples with nothing of their source but its last token, which ends it.

    Args:
        batch: The batch.
        real: Which tokens of the source are no padding, shape (n, T).

    Returns:
        A batch of the same entries.
    """
    places = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, places, -1).max(dim=1, keepdim=True).values.clamp(min=0)
    ids = batch["input_ids"].gather(1, last)
    return batch | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def without_prompts(batch: Batch, learnt: Tensor, real: Tensor) -> Batch:
    """The same samples with nothing but their first token and their targets, padded at the right.

    Args:
        batch: The batch.
        learnt: Which tokens are targets, shape (n, T).
        real: Which tokens are no padding, shape (n, T).

    Returns:
        A batch of the same entries.
    """
    first = real & (real.cumsum(dim=1) == 1)
    keep = learnt | first
    order = torch.argsort((~keep).int(), dim=1, stable=True)[:, : int(keep.sum(dim=1).max())]
    kept = keep.gather(1, order)
    short = {
        name: value.gather(1, order) if isinstance(value, Tensor) and value.shape == keep.shape else value
        for name, value in batch.items()
    }
    short["attention_mask"] = kept.to(batch["attention_mask"].dtype if "attention_mask" in batch else torch.long)
    return short | {"labels": short["labels"].masked_fill(~kept, NO_TARGET)}


def _means(losses: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of the target tokens of each sample, shape (n,)."""
    return losses.sum(dim=1) / (targets != NO_TARGET).sum(dim=1)


def _last_two(losses: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last two target tokens of each sample and their losses, each of shape (n, 2); -1 and 0 where there is none."""
    tokens, ends = np.full((len(targets), 2), -1), np.zeros((len(targets), 2))
    for row, own in enumerate(targets):
        for place, at in zip((-1, -2), reversed(np.flatnonzero(own != NO_TARGET)[-2:]), strict=False):
            tokens[row, place], ends[row, place] = own[at], losses[row, at]
    return tokens, ends


def _masks(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which tokens are targets, and which are no padding, each of shape (n, T)."""
    real = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(batch["input_ids"])
    return batch["labels"] != NO_TARGET, real.bool()


def _texts(tokens: np.ndarray, chosen: np.ndarray, tokenizer: Any) -> list[str]:
    """Chosen tokens of every sample as a text."""
    decode: Callable[[list[int]], str] = (
        (lambda ids: str(tokenizer.decode(ids))) if tokenizer is not None else lambda ids: " ".join(map(str, ids))
    )
    return [decode(row[own].tolist()) for row, own in zip(tokens, chosen, strict=True)]
