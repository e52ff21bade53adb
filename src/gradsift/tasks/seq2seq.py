"""Losses of models with an encoder and a decoder: translation, summaries, any text from a text."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gradsift.data.batch import Batch, inputs_of, labels_of
from gradsift.errors import ModelError
from gradsift.tasks.tokens import TokenLoss


class Seq2Seq(TokenLoss):
    """Sequence to sequence, ``l = mean_t - log p(y_t | x, y_<t)`` over the target's tokens, as T5 and BART are trained.

    Logits at t stand for the label at t: the model itself puts the labels one place later into its decoder.
    """

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs encoder and decoder, without their cache for generation.

        Args:
            model: A model of transformers with an encoder and a decoder, or one that takes ``labels`` and gives logits.
            batch: A dict with ``input_ids``, ``attention_mask`` and ``labels``, -100 at padding.

        Returns:
            Logits, shape (n, T, V).

        Raises:
            ModelError: The model has no encoder, or gives no tensor.
        """
        config = getattr(model, "config", None)
        if config is not None and getattr(config, "is_encoder_decoder", None) is False:
            raise ModelError(
                f'{type(model).__name__} has no encoder with a decoder, which task="seq2seq" is for: a model that '
                'continues a text takes task="causal-lm", prompts and responses through a PromptSet'
            )
        keywords = _named(batch)
        if config is not None:
            keywords["use_cache"] = False
        if "decoder_input_ids" not in keywords:
            shift: Any = getattr(model, "prepare_decoder_input_ids_from_labels", None)
            name, value = (
                ("labels", labels_of(batch)) if shift is None else ("decoder_input_ids", shift(labels_of(batch)))
            )
            keywords[name] = value
        return self.tensor_of(model(**keywords))


def _named(batch: Batch) -> dict[str, Any]:
    """The model's arguments by name; a lone tensor is the source."""
    arguments, keywords = inputs_of(batch)
    return dict(keywords) | dict(zip(("input_ids", "attention_mask"), arguments, strict=False))
