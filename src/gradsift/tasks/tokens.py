"""Losses over tokens: language models and token classification. Label -100 marks a token that is no target."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from gradsift.data.batch import Batch, is_traced, labels_of
from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.tasks.base import LossTask, as_labels
from gradsift.tasks.reading import Outputs, check_outputs

NO_TARGET = -100
"""The label of a token that is no target: padding, or a prompt where only the response is learnt."""


class TokenLoss(LossTask):
    """Shared part: cross-entropy of every target token, averaged or summed over a sample's tokens.

    Args:
        reduction: ``"mean"`` over a sample's target tokens: a long sample weighs as much as a short one. ``"sum"``: every
            token weighs the same, as in a training loss that is averaged over the tokens of a whole batch.
        outputs: ``"logits"``; ``"probabilities"`` for a model that ends in a softmax; ``"auto"`` looks at some outputs.

    Raises:
        SettingError: The reduction is neither, or ``outputs`` is none of these.
    """

    def __init__(self, *, reduction: Literal["mean", "sum"] = "mean", outputs: Outputs = "auto") -> None:
        if reduction not in ("mean", "sum"):
            raise SettingError(f"reduction over a sample's tokens is 'mean' or 'sum', given {reduction!r}")
        self.reduction = reduction
        self.outputs_are = check_outputs(outputs)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each sample, over its target tokens.

        Args:
            outputs: Logits, shape (n, T, K).
            batch: The batch; labels (n, T), -100 where a token is no target.

        Returns:
            Shape (n,), in nats a token (mean) or a sample (sum).

        Raises:
            SampleError: A sample has no target token.
        """
        targets, losses = self.targets(outputs, batch), self.token_losses(outputs, batch)
        counts = (targets != NO_TARGET).sum(dim=1)
        empty = [] if is_traced(counts) else (counts == 0).nonzero()[:, 0].tolist()
        if empty:
            raise SampleError(
                "no token is a target (all labels are -100, or the text is empty or cut off before the response)",
                empty,
                "Remove these samples, or allow longer ones (max_length)",
            )
        total = losses.sum(dim=1)
        return total / counts if self.reduction == "mean" else total

    def token_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each target token.

        Args:
            outputs: Logits, shape (n, T, K).
            batch: The batch.

        Returns:
            Shape (n, T'), zero where a token is no target; column t as in :meth:`targets`.

        Raises:
            SampleError: Labels are outside 0 ... K - 1.
        """
        targets = self.targets(outputs, batch)
        if not is_traced(targets):
            outside = ((targets >= outputs.shape[2]) | ((targets < 0) & (targets != NO_TARGET))).any(dim=1)
            wrong = outside.nonzero()[:, 0].tolist()
            if wrong:
                raise SampleError(
                    f"token labels outside 0 ... {outputs.shape[2] - 1} (-100 for no target)",
                    wrong,
                    "Check that tokenizer, labels and model belong together",
                )
        size, length, classes = outputs.shape
        # One row a token, as it lies in memory: transposing or cutting logits of a vocabulary costs more than the loss.
        every = functional.pad(targets, (0, length - targets.shape[1]), value=NO_TARGET)
        losses = functional.cross_entropy(
            outputs.reshape(-1, classes), every.reshape(-1), reduction="none", ignore_index=NO_TARGET
        )
        return losses.reshape(size, length)[:, : targets.shape[1]]

    def targets(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The target of every logit, in order from the first.

        Args:
            outputs: Logits, shape (n, T, K).
            batch: The batch.

        Returns:
            Shape (n, T'), int64.

        Raises:
            ModelError: The model gives no logits for each token.
            DataError: Labels are not one number a token.
        """
        if outputs.ndim != 3:
            raise ModelError(
                f"{type(self).__name__} needs logits of shape (n, tokens, K), the model gives {tuple(outputs.shape)}"
            )
        labels = as_labels(labels_of(batch))
        if labels.shape != outputs.shape[:2]:
            raise DataError(
                f"labels of shape {tuple(labels.shape)} for logits of shape {tuple(outputs.shape)}: one label a token is "
                f"needed, {NO_TARGET} where a token is no target"
            )
        return labels.long()


class TokenClassification(TokenLoss):
    """A class for every token, ``l = mean_t - log p(y_t | x)`` over tokens whose label is not -100."""

    kind = "token"


class CausalLM(TokenLoss):
    """Next-token prediction, ``l = mean_t - log p(x_t | x_<t)`` over the target tokens; or their sum.

    Whole sequence or response only is a matter of the labels: a prompt's tokens have the label -100.
    """

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model, without its cache for generation: with it, packed documents of a row would see each other.

        Args:
            model: The model.
            batch: A dict with ``input_ids``, ``labels`` and what else the model takes; or a tuple of such a dict and the
                labels.

        Returns:
            Logits, shape (n, T, V).

        Raises:
            ModelError: The model does not predict the next token: an encoder and decoder, or a masked language model.
            DataError: Labels are shifted already.
        """
        _refuse_other_targets(model)
        _refuse_shifted(batch)
        if getattr(getattr(model, "config", None), "use_cache", False):
            if isinstance(batch, dict):
                batch = batch | {"use_cache": False}
            elif isinstance(batch, tuple | list) and batch and isinstance(batch[0], dict):
                batch = (batch[0] | {"use_cache": False}, *batch[1:])
        return super().outputs(model, batch)

    def targets(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Labels from the second token on, shape (n, T - 1): logits at t predict the token at t + 1."""
        return super().targets(outputs, batch)[:, 1:]


def _refuse_other_targets(model: nn.Module) -> None:
    """Refuses models whose logits at t do not stand for the token at t + 1."""
    base: Any = getattr(model, "get_base_model", None)  # of an adapter
    inner = base() if callable(base) else model
    kind = type(getattr(inner, "_model", inner)).__name__
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True:
        raise ModelError(
            "the model has an encoder and a decoder, which shifts the labels itself: its logits at t stand for the label "
            'at t, and task="causal-lm" would shift them again. Pass task="seq2seq", sources and targets through a '
            "gradsift.Seq2SeqSet"
        )
    if kind.endswith("ForMaskedLM"):
        raise ModelError(
            f"a {kind} predicts masked tokens in their own place, not the next token: pass "
            "task=gradsift.tasks.MaskedLM.of(tokenizer), which masks each token once"
        )


def token_numbers(batch: Batch) -> Any:
    """The token numbers that go into a model: ``input_ids``, or the first element of a tuple.

    Args:
        batch: The batch.

    Returns:
        What is there; ``None`` where nothing is.
    """
    inputs = batch[0] if isinstance(batch, tuple | list) and batch else batch
    return inputs.get("input_ids") if isinstance(inputs, dict) else inputs


def _refuse_shifted(batch: Batch) -> None:
    """Refuses labels that are the next tokens already, as training loops without transformers have them."""
    tokens = token_numbers(batch)
    if isinstance(batch, dict):
        labels = batch.get("labels")
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        labels = batch[1]
    else:
        return
    if not isinstance(tokens, Tensor) or not isinstance(labels, Tensor) or is_traced(tokens) or is_traced(labels):
        return
    if tokens.ndim != 2 or tokens.shape != labels.shape or tokens.is_floating_point():
        return
    labels = labels.to(tokens.device)
    learnt = labels[:, :-1] != NO_TARGET
    own, following = (labels == tokens)[:, :-1], labels[:, :-1] == tokens[:, 1:]
    if learnt.any() and bool((following | ~learnt).all()) and not bool((own | ~learnt).all()):
        raise DataError(
            'the labels are the next tokens already, and task="causal-lm" shifts them itself: give the tokens themselves '
            'as labels (labels = input_ids), or keep them and pass task="token-classification", which does not shift'
        )
