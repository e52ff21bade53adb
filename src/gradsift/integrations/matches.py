"""Texts that belong together, as embedding models learn them: anchors with their matches, and negatives where there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradsift.errors import DataError
from gradsift.integrations.sides import SidedSet
from gradsift.tasks.matches import SIDES


class MatchSet(SidedSet):
    """Pairs or triplets of texts for a sentence encoder.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        tokenizer: The model's tokenizer.
        anchor: Column of questions, or of the first texts.
        positive: Column of the texts that match them.
        negative: Column of texts that do not; ``negative`` where there is such a column.
        max_length: Most tokens of a text, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        DataError: A column is missing, or a row holds no text.
    """

    sides = SIDES

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        *,
        anchor: str = "anchor",
        positive: str = "positive",
        negative: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(rows, tokenizer, max_length=max_length)
        negative = "negative" if negative is None and "negative" in self.columns else negative
        self.needs(anchor, positive, negative)
        self._columns = {"anchor": anchor, "positive": positive} | ({} if negative is None else {"negative": negative})

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, limit and tokenizer; a triplet whose two answers are swapped is put right by column."""
        pair = {"chosen": self._columns["positive"], "rejected": self._columns.get("negative")}
        return self._columns | ({} if pair["rejected"] is None else pair) | super().encoding

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Tokens of every side with their mask."""
        encoded: dict[str, Any] = {}
        for side, column in self._columns.items():
            if not isinstance(row[column], str) or not row[column].strip():
                raise DataError(
                    f"column {column!r} at position {position} holds {row[column]!r:.80}, a text is needed: mend or remove "
                    "the row"
                )
            tokens = self.tokenizer(row[column], truncation=False, verbose=False)["input_ids"]
            self.refuse_empty(tokens, position)
            encoded[f"{side}_input_ids"] = self.cut(tokens, position)
            encoded[f"{side}_attention_mask"] = self.cut([1] * len(tokens), position)
        return encoded
