"""Stage *responses*: how probable a language model finds every response, with its prompt and without."""

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
from gradsift.tasks import NO_TARGET, CausalLM

WORD = re.compile(r"\w+|[^\w\s]")
WORDS = 2**18
"""Numbers that words are hashed to."""


def has_responses(task: Any, batch: Batch) -> bool:
    """Whether responses are looked at: those of a language model whose batches name their tokens, some of them a prompt's.

    Args:
        task: The task.
        batch: Some samples.

    Returns:
        Whether they are.
    """
    tokens = batch.get("input_ids") if isinstance(batch, dict) and "labels" in batch else None
    if not isinstance(task, CausalLM) or not isinstance(tokens, Tensor) or tokens.ndim != 2:
        return False
    learnt, real = _masks(batch)
    return bool((real & ~learnt)[:, 1:].any())


def response_evidence(
    model: nn.Module,
    task: CausalLM,
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
        losses, lengths, last = token_losses(model, task, batch)
        learnt, real = _masks(batch)
        alone = torch.full_like(lengths, torch.nan, dtype=losses.dtype)
        prompted = (real & ~learnt)[:, 1:].any(dim=1)
        if prompted.any():
            short, short_lengths = token_losses(model, task, without_prompts(batch, learnt, real))[:2]
            alone = torch.where(prompted, short.sum(dim=1) / short_lengths, alone)
        end_tokens, ends = np.full((len(last), 2), -1), np.zeros((len(last), 2))
        ids, losses_of = batch["input_ids"].cpu().numpy(), losses.cpu().numpy()
        for row, places in enumerate(last):
            for place, at in zip((-1, -2), reversed(places), strict=False):
                end_tokens[row, place], ends[row, place] = ids[row, at + 1], losses_of[row, at]
        words = [count.transform(_texts(ids, side.cpu().numpy(), tokenizer)) for side in (real & ~learnt, learnt)]
        return (losses.sum(dim=1) / lengths).cpu().numpy(), alone.cpu().numpy(), end_tokens, ends, *words

    with progress("responses", len(positions), show=show_progress) as bar:
        walk = each_batch(read, samples.batch, positions, batcher, model=model, bar=bar)
        losses, alone, tokens, ends, prompts, responses = zip(*(part for _, part in walk), strict=True)
    return ResponseEvidence(
        np.concatenate(losses).astype(np.float64),
        np.concatenate(alone).astype(np.float64),
        end_losses(np.concatenate(tokens), np.concatenate(ends)),
        csr_matrix(vstack(prompts)),
        csr_matrix(vstack(responses)),
    )


def token_losses(model: nn.Module, task: CausalLM, batch: Batch) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Losses of all target tokens, how many there are, and where the last two of each sample stand.

    Args:
        model: The model, in eval mode.
        task: The task.
        batch: The batch.

    Returns:
        Shapes (n, T - 1) and (n,), and at most two columns of the losses a sample.
    """
    with torch.no_grad():
        outputs = evaluated(lambda: task.outputs(model, batch))
        losses = task.token_losses(outputs, batch).float()
    targets = task.targets(outputs, batch) != NO_TARGET
    return losses, targets.sum(dim=1), [row.nonzero()[:, 0].tolist()[-2:] for row in targets]


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


def _masks(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which tokens are targets, and which are no padding, each of shape (n, T)."""
    learnt = batch["labels"] != NO_TARGET
    return learnt, batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones_like(learnt)


def _texts(tokens: np.ndarray, chosen: np.ndarray, tokenizer: Any) -> list[str]:
    """Chosen tokens of every sample as a text."""
    decode: Callable[[list[int]], str] = (
        (lambda ids: str(tokenizer.decode(ids))) if tokenizer is not None else lambda ids: " ".join(map(str, ids))
    )
    return [decode(row[own].tolist()) for row, own in zip(tokens, chosen, strict=True)]
