"""Pairs of a source and a target text, as models with an encoder and a decoder learn them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradsift.errors import DataError
from gradsift.integrations.text import TokenizedSet


class Seq2SeqSet(TokenizedSet):
    """Texts to be made from texts: translations, summaries, answers.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        tokenizer: The model's tokenizer; targets are encoded as it encodes targets (``text_target``).
        source: Column of the texts that the encoder reads.
        target: Column of the texts that the decoder learns.
        max_length: Most tokens of a source, and of a target, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        DataError: A column is missing.
    """

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        *,
        source: str = "source",
        target: str = "target",
        max_length: int | None = None,
    ) -> None:
        super().__init__(rows, tokenizer, max_length=max_length)
        self.needs(source, target)
        self._source, self._target = source, target

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, limit and tokenizer."""
        return {"source": self._source, "target": self._target} | super().encoding

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Tokens of the source with their mask; those of the target are the labels."""
        source, target = (self._text(row, name, position) for name in (self._source, self._target))
        options: dict[str, Any] = {"truncation": False, "verbose": False}
        tokens = self.tokenizer(source, **options)["input_ids"]
        labels = self.tokenizer(text_target=target, **options)["input_ids"]
        self.refuse_empty(tokens, position)
        if not len(labels):
            raise DataError(f"the target at position {position} is empty: give one, or remove the row")
        return {
            "input_ids": self.cut(tokens, position),
            "attention_mask": self.cut([1] * len(tokens), position),
            "labels": self.cut(labels, position),
        }

    @staticmethod
    def _text(row: Mapping[str, Any], name: str, position: int) -> str:
        if not isinstance(row[name], str):
            raise DataError(f"column {name!r} at position {position} holds {row[name]!r:.80}, a text is needed")
        return str(row[name])
