"""Speech recognition by connectionist temporal classification (CTC): how well a transcript fits what the model hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch, inputs_of, is_traced, labels_of
from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.tasks.base import LossTask, as_labels
from gradsift.tasks.structured import Classes, Part

NO_TARGET = -100
"""What transcripts are padded with."""
SHOWN = 60
"""Most characters of a transcript in a reason."""
LOWEST = -1e4
"""Logits below count as this: letters that a model rules out have minus infinity, which has no derivative."""


class CTC:
    """CTC loss, ``l = -log sum over alignments of p(alignment | x)``, a letter or a transcript.

    Args:
        blank: Number of the blank; that of padding in the model's configuration where left out, or 0.
        reduction: ``"mean"`` over the letters of a transcript, ``"sum"`` as transformers train by default.

    Raises:
        SettingError: The reduction is neither.
    """

    kind = "structured"

    def __init__(self, *, blank: int | None = None, reduction: Literal["mean", "sum"] = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise SettingError(f"reduction over a transcript's letters is 'mean' or 'sum', given {reduction!r}")
        self.blank, self.reduction = blank, reduction

    def outputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Runs the model.

        Args:
            model: A model of transformers ``...ForCTC``, or one that gives logits (n, T, V).
            batch: A dict with ``input_values`` or ``input_features``, a mask, and ``labels``, -100 at padding; or
                a tuple (x, labels).

        Returns:
            ``logits`` (n, T, V), ``lengths`` in frames (n,) and the number of the ``blank`` ().

        Raises:
            ModelError: The model gives no logits for each frame.
        """
        arguments, keywords = inputs_of(batch)
        logits = LossTask.tensor_of(model(*arguments, **keywords))
        if logits.ndim != 3:  # samples, frames, letters
            raise ModelError(f"CTC needs logits of shape (n, frames, letters), the model gives {tuple(logits.shape)}")
        mask, frames_of = keywords.get("attention_mask"), getattr(model, "_get_feat_extract_output_lengths", None)
        lengths = torch.full((len(logits),), logits.shape[1], device=logits.device)
        if isinstance(mask, Tensor) and callable(frames_of):
            lengths = frames_of(mask.sum(dim=-1)).long()
        padding = getattr(getattr(model, "config", None), "pad_token_id", None)
        blank = next((number for number in (self.blank, padding) if number is not None), 0)
        return {"logits": logits, "lengths": lengths, "blank": torch.tensor(blank, device=logits.device)}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """CTC loss of each sample.

        Args:
            outputs: As :meth:`outputs` gives them.
            batch: The batch.

        Returns:
            Shape (n,), in nats a letter (mean) or a transcript (sum).

        Raises:
            SampleError: A transcript is empty, longer than there are frames, or has letters beyond the vocabulary.
        """
        transcripts = self._transcripts(outputs, batch)
        return _losses(outputs, transcripts, self.reduction)

    def class_counts(self, outputs: Any, batch: Batch) -> None:
        """Transcripts are scored without."""
        del outputs, batch

    def worst_parts(self, outputs: Mapping[str, Tensor], batch: Batch, classes: Classes) -> list[Part]:
        """What the model hears instead of each transcript, whose score is its divergence a letter (:func:`divergences`).

        Args:
            outputs: As :meth:`outputs` gives them.
            batch: The batch.
            classes: The letters, as names.

        Returns:
            One part a sample; its size is the number of letters.
        """
        transcripts = self._transcripts(outputs, batch)
        losses, scores = _losses(outputs, transcripts, "mean"), divergences(outputs, transcripts)
        return [
            Part(
                score / len(letters),
                f"loss {loss:.1f} a letter: model hears {_text(heard, classes)}",
                size=len(letters),
            )
            for loss, score, letters, heard in zip(
                losses.tolist(), scores.tolist(), transcripts, heard_in(outputs), strict=True
            )
        ]

    @staticmethod
    def _transcripts(outputs: Mapping[str, Tensor], batch: Batch) -> list[Tensor]:
        """Letters of each transcript, checked."""
        labels = as_labels(labels_of(batch)).long()
        logits, lengths = outputs["logits"], outputs["lengths"]
        if labels.ndim != 2 or len(labels) != len(logits):  # samples, letters
            raise DataError(
                f"transcripts of shape {tuple(labels.shape)}: give numbers of letters (n, L), -100 at padding"
            )
        transcripts = [row[row != NO_TARGET] for row in labels]
        if is_traced(labels):
            return transcripts
        needed = [len(letters) + int((letters[1:] == letters[:-1]).sum()) for letters in transcripts]
        outside = [
            bool(((letters < 0) | (letters >= logits.shape[2]) | (letters == outputs["blank"])).any())
            for letters in transcripts
        ]
        for problem, affected, fix in (
            (
                "an empty transcript",
                [not len(letters) for letters in transcripts],
                "Write it down, or remove the sound",
            ),
            (
                f"letters outside 0 ... {logits.shape[2] - 1}, or the blank {int(outputs['blank'])} itself",
                outside,
                "Check that processor and model belong together",
            ),
            (
                "a transcript that is longer than its sound has frames",
                [count > frames for count, frames in zip(needed, lengths.tolist(), strict=True)],
                "Cut sound and transcript alike, or remove them",
            ),
        ):
            rows = [row for row, is_affected in enumerate(affected) if is_affected]
            if rows:
                raise SampleError(problem, rows, fix)
        return transcripts


def heard_in(outputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Letters of the most probable alignment of each sample: repeats are joined, blanks left out.

    Args:
        outputs: ``logits``, ``lengths`` and ``blank``.

    Returns:
        Numbers of letters, one tensor a sample.
    """
    best = [
        row[:length] for row, length in zip(outputs["logits"].argmax(dim=2), outputs["lengths"].tolist(), strict=True)
    ]
    joined = [torch.unique_consecutive(row) for row in best]
    return [row[row != outputs["blank"]] for row in joined]


def divergences(outputs: Mapping[str, Tensor], transcripts: list[Tensor]) -> Tensor:
    """How far the frames of each sample have to be turned for its transcript, ``sum_t KL(q_t || p_t)``.

    With p_t what the model gives for frame t, and q_t the same where the transcript is known (forward-backward). The CTC
    loss is this sum and what frames tell of each other under q, their total correlation, which is large where the places of
    letters are uncertain, whatever the letters are.

    Args:
        outputs: ``logits``, ``lengths`` and ``blank``.
        transcripts: Letters of each sample.

    Returns:
        Shape (n,), in nats, between 0 and the loss of the transcript.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        logits = outputs["logits"].detach().clamp(min=LOWEST).requires_grad_()
        losses = _losses({**outputs, "logits": logits}, transcripts, "sum")
        (gradients,) = torch.autograd.grad(losses.sum(), logits)  # p - q
    logs = logits.detach().log_softmax(dim=2)
    known = (logs.exp() - gradients).clamp(min=0)
    return (torch.special.xlogy(known, known) - known * logs).sum(dim=(1, 2)).clamp(min=0)


def _losses(outputs: Mapping[str, Tensor], transcripts: list[Tensor], reduction: str) -> Tensor:
    """CTC loss of some transcripts, shape (n,)."""
    logs = outputs["logits"].log_softmax(dim=2).transpose(0, 1)
    counts = torch.tensor([len(transcript) for transcript in transcripts], device=logs.device)
    losses = functional.ctc_loss(
        logs, torch.cat(transcripts), outputs["lengths"], counts, blank=int(outputs["blank"]), reduction="none"
    )
    return losses / counts.clamp(min=1) if reduction == "mean" else losses


def _text(letters: Tensor, classes: Classes) -> str:
    """Letters as a text; ``|`` stands for a space, as in the vocabularies of transformers."""
    if not len(letters):
        return "nothing"
    if classes.names is None:
        return f"letters {' '.join(map(str, letters[:SHOWN].tolist()))}"
    names = [classes.names[number] if number < len(classes.names) else "?" for number in letters.tolist()]
    text = "".join(names).replace("|", " ")
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + " …")
