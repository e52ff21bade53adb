"""Texts with a label, or a label for each word, tokenised by the model's own tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsift.errors import DataError, SettingError
from gradsift.integrations.encoded import EncodedSet, Labels, fingerprint_of
from gradsift.tasks import NO_TARGET

logger = logging.getLogger(__name__)

UNLIMITED = 10**6
"""Tokenizers without a limit of their own have a huge one."""


class TokenizedSet(EncodedSet):
    """Shared part: limits on length, padding at the right.

    Args:
        rows: The rows.
        tokenizer: The model's tokenizer.
        max_length: Most tokens of a sample, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        SettingError: The tokenizer is none.
    """

    def __init__(self, rows: Any, tokenizer: Any, *, max_length: int | None = None) -> None:
        super().__init__(rows)
        if not callable(tokenizer) or not hasattr(tokenizer, "get_vocab"):
            raise SettingError(
                f"the tokenizer is a {type(tokenizer).__name__}: give the model's own, "
                "AutoTokenizer.from_pretrained(...)"
            )
        limit = tokenizer.model_max_length
        if max_length is not None and max_length < 1:
            raise SettingError(f"max_length is a number of tokens from 1, given {max_length}")
        self.tokenizer = tokenizer
        self.max_length: int | None = max_length or (limit if limit < UNLIMITED else None)
        self._cut_told = False

    @property
    def encoding(self) -> dict[str, Any]:
        """Limit and tokenizer."""
        known = sorted(self.tokenizer.get_vocab().items()), self.tokenizer.special_tokens_map
        return {
            "max_length": self.max_length,
            "tokenizer": type(self.tokenizer).__name__,
            "tokenizer_fingerprint": fingerprint_of(*known, getattr(self.tokenizer, "chat_template", None)),
        }

    def cut(self, values: Sequence[int], position: int) -> list[int]:
        """Token ids, or what belongs to them, up to the limit.

        Args:
            values: One number a token.
            position: Position of the sample, for the message.

        Returns:
            At most ``max_length`` of them.
        """
        if self.max_length is not None and len(values) > self.max_length:
            self.tell_of_cut(position)
        return [int(value) for value in values[: self.max_length]]

    def tell_of_cut(self, position: int) -> None:
        """Says once that a sample is longer than the limit.

        Args:
            position: Its position.
        """
        if not self._cut_told:
            self._cut_told = True
            logger.warning(
                "the sample at position %s has more than %s tokens: the rest is cut off, of this one and of others "
                "(max_length)",
                *(position, self.max_length),
            )

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pads samples at the right to the longest of the batch.

        Args:
            samples: Encoded samples: lists of tokens, and numbers.

        Returns:
            A batch of tensors; ids stay words.
        """
        padding = self.tokenizer.pad_token_id
        padding = self.tokenizer.eos_token_id if padding is None else padding
        fill = {"input_ids": 0 if padding is None else padding, "labels": NO_TARGET}
        batch: dict[str, Any] = {}
        for name in samples[0]:
            column = [sample[name] for sample in samples]
            if name == "id":
                batch[name] = column
            elif isinstance(column[0], list):
                batch[name] = _padded(column, fill.get(name, 0))
            elif isinstance(column[0], Tensor):
                batch[name] = torch.stack(column)
            else:
                batch[name] = torch.as_tensor(column)
        return batch

    def tokens(self, position: int) -> list[str]:
        """The tokens of a sample as words for a person.

        Args:
            position: Position of the sample.

        Returns:
            One string a token.
        """
        return [self.tokenizer.decode([token]) for token in self[position]["input_ids"]]

    def refuse_empty(self, tokens: Sequence[int], position: int) -> None:
        """Refuses a sample without tokens.

        Args:
            tokens: Its token ids.
            position: Its position.

        Raises:
            DataError: There are none.
        """
        if not len(tokens):
            raise DataError(
                f"the text at position {position} is empty and the tokenizer adds nothing to it: remove such rows first"
            )


class TextSet(TokenizedSet):
    """Texts to classify as a whole, or word by word.

    Args:
        rows: A ``datasets.Dataset``, ``DatasetDict``, ``pyarrow.Table`` or list of dicts.
        tokenizer: The model's tokenizer.
        text: Column of the text, or two columns of a pair of texts; a column of lists of words for token classification.
            Rows that hold ``input_ids`` are taken as they are where it is left out.
        label: Column of labels: a number, a word (see ``label2id``), a list of zeros and ones, or one label a word;
            ``label``, or the only column with a usual name, where left out.
        label2id: Word to class number, as in ``model.config.label2id``.
        max_length: Most tokens of a sample, the rest is cut off; the tokenizer's own limit where left out.

    Raises:
        DataError: A column is missing, or labels are words without numbers.
    """

    label: str

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        *,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        label2id: Mapping[str, int] | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(rows, tokenizer, max_length=max_length)
        self._text = [text] if isinstance(text, str) else list(text or ())
        if not self._text and "input_ids" not in self.columns:
            raise DataError(f"name the column of texts with text=...: the columns are {', '.join(self.columns)}")
        self.needs(*self._text)
        self.label = self.label_column(label)
        self._labels = Labels(self, self.label, label2id)
        self.classes = self._labels.names

    @property
    def encoding(self) -> dict[str, Any]:
        """Columns, numbers of the classes, limit and tokenizer."""
        columns = {"text": self._text or ["input_ids"], "label": self.label, "label2id": self._labels.mapping}
        return columns | super().encoding

    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Tokens with their mask, and the label."""
        return self._encoded(row, position, self._labels.number(row[self.label], position))

    def label_places(self, position: int) -> list[int]:
        """Where the labels of a sample's labelled tokens stand in its row's list of labels.

        Args:
            position: Position of the sample.

        Returns:
            One place a labelled token, in order; words that were cut off, or make no token, have none.
        """
        row = self.row(position)
        numbers = self._labels.number(row[self.label], position)
        if not isinstance(numbers, list):
            return []
        places = self._encoded(row, position, list(range(len(numbers))))["labels"]
        return [place for place in places if place != NO_TARGET and numbers[place] != NO_TARGET]

    def stored_class(self, number: int, like: Any) -> Any:
        """A class as the rows have it.

        Args:
            number: Its number in the model's output.
            like: Another label of the rows: a word or a number.

        Returns:
            The word or number.
        """
        return self._labels.stored(number, like)

    def words(self, position: int) -> list[str] | None:
        """The words of a sample, where each of them has a label.

        Args:
            position: Position of the sample.

        Returns:
            The words; ``None`` where rows hold texts as a whole, or tokens.
        """
        texts = self.row(position)[self._text[0]] if self._text else None
        return None if texts is None or isinstance(texts, str) else [str(word) for word in texts]

    def _encoded(self, row: Mapping[str, Any], position: int, label: Any) -> dict[str, Any]:
        if not self._text:
            given = {
                name: self.cut(row[name], position)
                for name in ("input_ids", "attention_mask", "token_type_ids")
                if name in row
            }
            given.setdefault("attention_mask", [1] * len(given["input_ids"]))
            self.refuse_empty(given["input_ids"], position)
            return given | {"labels": self._of_tokens(label, row["input_ids"], position)}
        texts = [row[name] for name in self._text]
        texts = [text.tolist() if isinstance(text, np.ndarray) else text for text in texts]
        words = isinstance(texts[0], list)
        for name, text in zip(self._text, texts, strict=True):
            if not all(isinstance(one, str) for one in (text if words and isinstance(text, list) else [text])):
                raise DataError(
                    f"column {name!r} at position {position} holds {text!r:.80}, a text is needed: mend or remove the row"
                )
        encoded = self.tokenizer(
            *texts, truncation=self.max_length is not None, max_length=self.max_length, is_split_into_words=words
        )
        self.refuse_empty(encoded["input_ids"], position)
        if any(one.overflowing for one in encoded.encodings or ()):
            self.tell_of_cut(position)
        sample: dict[str, Any] = {name: list(values) for name, values in encoded.items()}
        if not (words and isinstance(label, list)):
            return sample | {"labels": label}
        if len(label) != len(texts[0]):
            raise DataError(
                f"the row at position {position} has {len(texts[0])} words in column {self._text[0]!r} and {len(label)} "
                f"labels in column {self.label!r}: one label a word is needed"
            )
        if encoded.encodings is None:
            raise SettingError(
                f"labels of words need a fast tokenizer, which knows a token's word; given {type(self.tokenizer).__name__}"
            )
        return sample | {"labels": _of_first_pieces(encoded.word_ids(), label)}

    def _of_tokens(self, label: Any, tokens: Sequence[int], position: int) -> Any:
        """The label of rows that hold tokens: one for each of them is cut as they are."""
        return self.cut(label, position) if isinstance(label, list) and len(label) == len(tokens) else label


def _of_first_pieces(word_of: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """A word's label for the first of its tokens, no target for the others."""
    return [
        labels[word] if word is not None and word != before else NO_TARGET
        for word, before in zip(word_of, [None, *word_of[:-1]], strict=True)
    ]


def _padded(column: Sequence[Sequence[float]], fill: int) -> Tensor:
    longest = max(len(values) for values in column)
    return torch.tensor([[*values, *([fill] * (longest - len(values)))] for values in column])
