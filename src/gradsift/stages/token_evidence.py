"""Stage *tokens*: what a model predicts for every labelled token, and the hidden state that it predicts it from."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data import Samples
from gradsift.data.batch import Batch, to_model
from gradsift.evidence import Evidence
from gradsift.evidence.tokens import TokenEvidence
from gradsift.gradients import Batcher
from gradsift.gradients.batches import each_batch
from gradsift.gradients.model_state import evaluated
from gradsift.gradients.selection import last_layer
from gradsift.progress import progress
from gradsift.store import ArrayMatrix
from gradsift.tasks import NO_TARGET, TokenClassification
from gradsift.tasks.tokens import token_numbers
from gradsift.writing import writing

CLASSES = 1000
"""With more classes (a vocabulary), tokens are not looked at one by one."""
REACH = 2
"""So many tokens before and behind each are known with it."""


def has_tokens(task: Any, outputs: Any) -> bool:
    """Whether tokens are looked at one by one.

    Args:
        task: The task.
        outputs: The model's outputs for some samples.

    Returns:
        Whether it is token classification with at most 1,000 classes.
    """
    return (
        isinstance(task, TokenClassification)
        and isinstance(outputs, Tensor)
        and outputs.ndim == 3
        and outputs.shape[-1] <= CLASSES
    )


def token_evidence(
    model: nn.Module,
    task: TokenClassification,
    samples: Samples,
    positions: np.ndarray,
    batcher: Batcher,
    *,
    show_progress: bool = True,
) -> TokenEvidence:
    """Runs the model once more, forward alone, over all tokens. Hidden states wait in a temporary file.

    Args:
        model: The model, in eval mode.
        task: The task.
        samples: The data set.
        positions: Which samples, in order; they count from 0 in what comes back.
        batcher: The batch size.
        show_progress: Whether to show a progress bar.

    Returns:
        The evidence; without features where the last layer is not linear, or does not run once on every token.
    """
    layer = last_layer(model, task, to_model(samples.batch(positions[:1]), model))
    folder = Path(tempfile.mkdtemp(prefix="gradsift-"))
    hidden, width = folder / "hidden.npy", 0
    parts: list[tuple[np.ndarray, ...]] = []
    with writing(folder), hidden.open("wb") as file, progress("tokens", len(positions), show=show_progress) as bar:
        done = 0
        states = partial(_labelled_tokens, model, task, layer)
        walk = each_batch(states, samples.batch, positions, batcher, model=model, bar=bar)
        for some, (sample, place, label, probabilities, words, features) in walk:
            width = features.shape[1]
            file.write(np.ascontiguousarray(features).tobytes())
            parts.append((sample + done, place, label, probabilities, words))
            done += len(some)
    sample, place, label, probabilities, words = (np.concatenate(part) for part in zip(*parts, strict=True))
    stored = np.memmap(hidden, np.float16, "r", shape=(len(sample), width)) if width and len(sample) else None
    evidence = Evidence(
        probabilities,
        features=None if stored is None else ArrayMatrix(stored),
        labels=label.astype(np.int64),
        kind="class",
        provenance={"predictions": "in-sample"},
    )
    weakref.finalize(evidence, shutil.rmtree, folder, ignore_errors=True)
    return TokenEvidence(evidence, sample, place, len(positions), words if words.shape[1] else None)


def _labelled_tokens(
    model: nn.Module, task: TokenClassification, layer: nn.Module, _: np.ndarray, batch: Batch
) -> tuple[np.ndarray, ...]:
    """A forward pass over one batch.

    Args:
        model: The model.
        task: The task.
        layer: The last layer, whose input is the hidden state.
        _: Positions of the batch.
        batch: The batch.

    Returns:
        Of each labelled token: sample within the batch, place, label, probabilities (T, K), the tokens around it (T, 5),
        without columns where inputs are no token numbers, and hidden state (T, D); D is 0 where the last layer is not
        linear, or does not run once on every token.
    """
    inputs_of_layer: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _layer, inputs, _output: inputs_of_layer.append(inputs[0].detach()))
    try:
        with torch.no_grad():
            outputs = evaluated(lambda: task.outputs(model, batch))
    finally:
        handle.remove()
    targets = task.targets(outputs, batch)
    sample, place = (targets != NO_TARGET).nonzero(as_tuple=True)
    probabilities = outputs[sample, place].softmax(dim=-1)
    once = isinstance(layer, nn.Linear) and len(inputs_of_layer) == 1
    fits = once and inputs_of_layer[0].shape[:2] == targets.shape
    features = inputs_of_layer[0][sample, place] if fits else probabilities[:, :0]
    words = _around(token_numbers(batch), targets != NO_TARGET)[sample, place]
    tokens = (sample, place, targets[sample, place], probabilities.float(), words, features.half())
    return tuple(values.cpu().numpy() for values in tokens)


def _around(numbers: Any, labelled: Tensor) -> Tensor:
    """Numbers of the tokens around each token, shape (n, T, 5); without columns where there are none.

    What stands before the first or behind the last labelled token of a sample is -1: padding says nothing.
    """
    if not isinstance(numbers, Tensor) or numbers.shape != labelled.shape or numbers.is_floating_point():
        return labelled.new_zeros((*labelled.shape, 0), dtype=torch.int32)
    begun, ahead = labelled.cumsum(dim=1) > 0, labelled.flip(1).cumsum(dim=1).flip(1) > 0
    inside = numbers.to(labelled.device).int().masked_fill(~(begun & ahead), -1)
    return functional.pad(inside, (REACH, REACH), value=-1).unfold(1, 2 * REACH + 1, 1)
