"""The words of a sample whose tokens have classes, with the label of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.data import Samples
from gradsift.data.batch import LABEL_KEYS
from gradsift.report.highlights import pieces
from gradsift.report.tokens import LEVELS
from gradsift.table import AuditedRun
from gradsift.table.tokens import TokenRows


@dataclass(frozen=True)
class Word:
    """A word, or a token where words are not known.

    Attributes:
        text: What it says.
        place: Its place among the labelled tokens of its sample; ``None`` where it has no label.
        given: Its given class.
        suggested: The suggested one, where it is flagged.
        level: How strongly it is shaded, from 0 to 20: the probability that its label is wrong.
    """

    text: str
    place: int | None = None
    given: int | None = None
    suggested: int | None = None
    level: int = 0


class Sentences:
    """Reads the words of samples.

    Args:
        audit: An audit with a table of tokens.
        samples: The data set, where it is at hand.
    """

    def __init__(self, audit: AuditedRun, samples: Samples | None) -> None:
        self._rows, self._samples = TokenRows(audit.tokens), samples
        source = None if samples is None else samples.source
        found = getattr(getattr(source, "dataset", source), "tokenizer", None)
        self._tokenizer = found if callable(getattr(found, "decode", None)) else None

    def words(self, position: int) -> list[Word]:
        """All words of a sample.

        Args:
            position: The sample.

        Returns:
            The words in order.
        """
        rows = self._rows.of(position).to_pylist()
        texts, places = self._texts(position, [row["token"] for row in rows])
        number_of = {place: number for number, place in enumerate(places)}
        words = []
        for place, text in enumerate(texts):
            number = number_of.get(place)
            if number is None:
                words.append(Word(text))
                continue
            row = rows[number]
            level = round(LEVELS * min(1.0, max(0.0, row["wrong_probability"])))
            words.append(Word(text, number, row["given_label"], row["suggested_label"], level))
        return words

    def _texts(self, position: int, tokens: list[int]) -> tuple[list[str], list[int]]:
        """Words, and which of them have the labels."""
        dataset: Any = None if self._samples is None else self._samples.dataset
        words = dataset.words(position) if hasattr(dataset, "label_places") else None
        if words is not None:
            places = dataset.label_places(position)
            if len(places) == len(tokens):
                return words, places
        elif self._samples is not None:
            ids = _token_ids(self._samples.sample(position))
            if ids is not None and max(tokens, default=-1) < len(ids):
                return _whole_words(self._tokenizer, ids, tokens)
        return [f"token {token}" for token in tokens], list(range(len(tokens)))


def _token_ids(sample: Any) -> list[int] | None:
    """The ids of a sample's tokens; ``None`` where its input is something else."""
    if isinstance(sample, dict):
        inputs = sample.get("input_ids", next((one for name, one in sample.items() if name not in LABEL_KEYS), None))
    else:
        inputs = sample[0] if isinstance(sample, tuple | list) and len(sample) > 1 else None
    try:
        ids = np.asarray(inputs)
    except (TypeError, ValueError):
        return None
    return ids.tolist() if ids.ndim == 1 and ids.dtype.kind in "iu" else None


def _whole_words(tokenizer: Any, ids: list[int], labelled: list[int]) -> tuple[list[str], list[int]]:
    """Tokens as texts, where a token without a label belongs to the word before it; special ones are left out."""
    if tokenizer is None:
        return [str(ids[place]) for place in labelled], list(range(len(labelled)))
    special, starts = set(getattr(tokenizer, "all_special_ids", ())), set(labelled)
    texts: list[str] = []
    places: list[int] = []
    for place, text in enumerate(pieces(tokenizer, ids)):
        if place in starts:
            places.append(len(texts))
            texts.append(text.strip())
        elif ids[place] not in special:
            if not texts or text[:1].isspace():
                texts.append(text.strip())
            else:
                texts[-1] += text
    return texts, places
