"""``tokens.json``: which tokens the gradient comes through, for the samples that the page shows.

It is written while the model is at hand, so that a page drawn later needs neither the model nor the data. It maps a
sample's position to ``{"tokens": [...], "share": [...], "loss": [...] or null}``: pieces of text that joined give the
whole text, shares that sum to 1, losses in nats that are null where a token is no target.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import RunDirectoryError
from gradsift.gradients import Batcher, Precision
from gradsift.gradients.batching import is_out_of_memory
from gradsift.gradients.tokens import TokenShares, token_shares
from gradsift.report.samples import on_cards
from gradsift.store.run_directory import RunDirectory
from gradsift.table import AuditedRun
from gradsift.tasks import Seq2Seq, Task, kind_of
from gradsift.writing import writing

logger = logging.getLogger(__name__)

NAME = "tokens.json"
BATCH = 4
BROKEN = "\N{REPLACEMENT CHARACTER}"
BYTES_OF_A_CHARACTER = 4


@dataclass(frozen=True)
class Highlight:
    """A sample's tokens.

    Attributes:
        tokens: Pieces of text; empty for a token that holds only the first bytes of a character.
        share: Share of the gradient that comes through each token.
        loss: Loss of each token in nats, ``None`` where it is no target; ``None`` for tasks without token losses.
    """

    tokens: list[str]
    share: list[float]
    loss: list[float | None] | None


def write_highlights(
    audit: AuditedRun, model: nn.Module, task: Task, samples: Samples, batch_size: int, precision: Precision = "float32"
) -> None:
    """Writes ``tokens.json`` for the samples on the cards; nothing without a tokenizer, or where a text is read in parts.

    Pairs, matches, sources with targets and masked words are read in parts.

    A page without highlights is better than no audit: what goes wrong with the model here is logged.

    Args:
        audit: The audit, its run directory open for writing.
        model: The model, in eval mode.
        task: The task.
        samples: The data set that was audited.
        batch_size: Most samples a batch; four at most are taken.
        precision: Precision of the passes.

    Raises:
        RunDirectoryError: The file cannot be written.
    """
    in_passes = kind_of(task) in ("pair", "structured") or isinstance(
        task, Seq2Seq
    )  # tokens are looked up more than once
    tokenizer = None if in_passes else _tokenizer(samples)
    positions = on_cards(audit)["position"].to_numpy()
    found: dict[str, Any] = {}
    if tokenizer is not None:
        try:
            found = _collect(model, task, samples, tokenizer, positions, Batcher(min(BATCH, batch_size)), precision)
        except Exception as error:  # noqa: BLE001  # models and tokenizers fail in their own ways
            logger.warning("the page shows no highlighted tokens: %s", error)
    if found:
        audit.run.write_json(NAME, found)
        return
    with writing(audit.run.path):
        (audit.run.path / NAME).unlink(missing_ok=True)  # of an earlier try that chose other samples


def read_highlights(run: RunDirectory) -> dict[int, Highlight]:
    """Reads ``tokens.json``.

    Args:
        run: The run directory.

    Returns:
        Position to highlight; empty where there is no such file, or (which is logged) a corrupt one.
    """
    if not (run.path / NAME).exists():
        return {}
    try:
        return {int(position): _highlight(entry) for position, entry in run.read_json(NAME).items()}
    except (RunDirectoryError, TypeError, ValueError, KeyError) as error:
        logger.warning("the page shows no highlighted tokens, %s is corrupt: %s", run.path / NAME, error)
        return {}


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """What each token adds to the text, so that the pieces joined read as the text does.

    A token decoded alone loses the space before it (SentencePiece), carries the mark of a continued word (``##``) or is
    part of a character (bytes); decoded behind the token before it, it does not.

    Args:
        tokenizer: The tokenizer.
        ids: Token ids of one sample.

    Returns:
        One string a token; empty for all but the last of the tokens that share a character.
    """
    texts: list[str] = []
    context, done = 0, 0
    for end in range(1, len(ids) + 1):
        before, now = tokenizer.decode(ids[context:done]) if done else "", tokenizer.decode(ids[context:end])
        if now.endswith(BROKEN) and end - done < BYTES_OF_A_CHARACTER and end < len(ids):
            texts.append("")
            continue
        # Where a tokenizer tidies up across two tokens, the token alone has to do.
        texts.append(now[len(before) :] if now.startswith(before) else tokenizer.decode(ids[done:end]))
        context, done = done, end
    return texts


def _tokenizer(samples: Samples) -> Any:
    """The tokenizer of the data set that was audited, also behind a ``DataLoader``."""
    source = samples.source
    tokenizer = getattr(getattr(source, "dataset", source), "tokenizer", None)
    return tokenizer if callable(getattr(tokenizer, "decode", None)) else None


def _collect(
    model: nn.Module,
    task: Task,
    samples: Samples,
    tokenizer: Any,
    positions: np.ndarray,
    batcher: Batcher,
    precision: Precision,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    start = 0
    while start < len(positions):
        chosen = positions[start : start + batcher.size]
        try:
            batch = samples.batch(chosen)
            shares = token_shares(model, task, batch, precision=precision)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batcher.shrink(error)
            continue
        for row, position in enumerate(chosen):
            entry = _entry(tokenizer, batch, shares, row)
            if entry is not None:
                found[str(position)] = entry
        start += len(chosen)
    return found


def _entry(tokenizer: Any, batch: Batch, shares: TokenShares, row: int) -> dict[str, Any] | None:
    """One sample without its padding, rounded; ``None`` where its gradient is not finite."""
    ids, mask = batch["input_ids"][row].tolist(), batch.get("attention_mask")
    is_token = (
        mask[row].tolist() if isinstance(mask, Tensor) and mask.shape == batch["input_ids"].shape else [1] * len(ids)
    )
    real = [place for place, one in enumerate(is_token) if one]
    share = shares.share[row].tolist()
    if not all(math.isfinite(value) for value in share):
        return None
    loss = None
    if shares.loss is not None:
        each = shares.loss[row].tolist()
        loss = [round(each[place], 3) + 0.0 if math.isfinite(each[place]) else None for place in real]
    return {
        "tokens": pieces(tokenizer, [ids[place] for place in real]),
        "share": [round(share[place], 5) for place in real],
        "loss": loss,
    }


def _highlight(entry: Any) -> Highlight:
    """An entry of the file, checked.

    Raises:
        ValueError: It is none.
    """
    tokens, share, loss = entry["tokens"], entry["share"], entry["loss"]
    columns = [tokens, share] if loss is None else [tokens, share, loss]
    right = (
        all(isinstance(column, list) and len(column) == len(tokens) for column in columns)
        and all(isinstance(token, str) for token in tokens)
        and all(_is_number(value) and value <= 1 for value in share)
        and all(value is None or _is_number(value) for value in loss or ())
    )
    if not right:
        raise ValueError("an entry holds no tokens with one share and one loss each")
    return Highlight(tokens, share, loss)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
