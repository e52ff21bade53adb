"""Labels that are no single class, as people and detectors say them, and as a data set stores them.

What is said of several yes-or-no labels is the list of those that hold; of values the value, or one a target; of tokens a
class for each labelled token of the sample, in order. A data set stores zeros and ones, numbers, and a label for every
token or word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsift.cleaning.corrected_set import label_of
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.table import AuditedRun
from gradsift.table.tokens import TokenRows

WORDS = {"multilabel": "several yes-or-no labels", "value": "values", "token": "classes of tokens"}
"""Kinds of labels that are no classes, in words."""


class PartLabels:
    """Turns labels that are no classes into what a data set stores.

    Example:
        >>> import gradsift, numpy as np, torch
        >>> X, y = np.arange(20, dtype=np.float32)[:, None], np.arange(20, dtype=np.float32)[:, None]
        >>> model = torch.nn.Linear(1, 1).eval()
        >>> audit = gradsift.audit(model, (X, y), task="regression", contamination=0.1, show_progress=False)
        >>> PartLabels(audit, audit.samples_of((X, y))).stored({3: 5.5})
        {3: array([5.5], dtype=float32)}

    Args:
        audit: The audit.
        samples: The data set that was audited.
        label: Column of labels, where it has no usual name.
    """

    def __init__(self, audit: AuditedRun, samples: Samples, label: str | None = None) -> None:
        self._audit, self._samples = audit, samples
        own = samples.dataset if samples.raw is not samples else None
        self._label = label or getattr(own, "label", None)

    @cached_property
    def _tokens(self) -> TokenRows | None:
        return None if self._audit.tokens is None else TokenRows(self._audit.tokens)

    def stored(self, labels: Mapping[int, Any]) -> dict[int, Any]:
        """New labels as the data set stores them.

        Args:
            labels: Position to what is said.

        Returns:
            Position to a new label of the same form as the given one.

        Raises:
            DataError: The data set has no such label, or its column cannot hold it.
        """
        return {position: self._stored(position, label) for position, label in labels.items()}

    def _stored(self, position: int, label: Any) -> Any:
        stored_label = label_of(self._samples.raw.sample(position), self._label)
        before = _flat(stored_label)
        if self._audit.kind == "token":
            return _like(stored_label, self._of_tokens(position, label, before))
        audited = self._audit.table["given_label"][position].as_py()
        _refuse_other(position, before, audited)
        if self._audit.kind == "multilabel":  # a label that is not known stays so, unless it holds
            held = set(label)
            values = [
                value if _is_missing(value) and k not in held else int(k in held) for k, value in enumerate(before)
            ]
        else:
            values = list(label) if isinstance(label, list) else [label]
        if len(values) != len(before):
            raise DataError(f"{len(values)} values for the {len(before)} targets at position {position}: give one each")
        return _like(stored_label, values)

    def _of_tokens(self, position: int, label: Sequence[int], before: list[Any]) -> list[Any]:
        """The labels of a sample's tokens or words, some of them new."""
        if self._tokens is None:
            raise DataError("this audit has no table of tokens: audit with the task 'token-classification'")
        rows, rows_of_words = self._tokens.of(position), self._samples.dataset
        places, stored_class = rows["token"].to_pylist(), self._class
        if hasattr(rows_of_words, "label_places"):  # which may number classes otherwise, too
            places, stored_class = rows_of_words.label_places(position), rows_of_words.stored_class
        elif self._audit.details.get("encoding"):
            raise DataError(
                "only the model's tokenizer says which token is which word's: pass the data set as it was audited, a "
                "gradsift.TextSet of these rows"
            )
        audited, values = rows["given_label"].to_pylist(), list(before)
        fits = len(places) == len(audited) == len(label) and max(places, default=-1) < len(before)
        if not fits or any(
            stored_class(number, before[place]) != before[place] for place, number in zip(places, audited, strict=True)
        ):
            raise DataError(
                f"the labels of tokens at position {position} are not those that were audited: pass the same data set, or "
                "name the column of labels"
            )
        for place, number, new in zip(places, audited, label, strict=True):
            values[place] = before[place] if new == number else stored_class(new, before[place])
        return values

    def _class(self, number: int, like: Any) -> Any:
        """A class as the data set stores it."""
        names = self._audit.class_names
        return names[number] if isinstance(like, str) and names is not None else number


def suggested_parts(audit: AuditedRun, positions: Sequence[int] | np.ndarray) -> dict[int, Any]:
    """What an audit suggests in place of labels that are no classes.

    Args:
        audit: The audit.
        positions: Samples to look at.

    Returns:
        Position to what is said, of those for which another label is suggested.

    Raises:
        SettingError: The audit suggests nothing at all.
    """
    if audit.kind == "token":
        labels = {} if audit.tokens is None else TokenRows(audit.tokens).suggested(positions)
    else:
        column = audit.table["suggested_label"]
        labels = {int(place): column[int(place)].as_py() for place in positions if column[int(place)].is_valid}
        if audit.kind == "multilabel":
            labels = {place: labels_that_hold(values) for place, values in labels.items()}
    if not labels and len(positions):
        raise SettingError("no label is suggested by this audit for what is flagged: use 'drop'")
    return labels


def labels_that_hold(values: Sequence[int | None]) -> list[int]:
    """Zeros and ones as a list of labels.

    Example:
        >>> labels_that_hold([1, 0, None, 1])
        [0, 3]

    Args:
        values: One of each label; ``None`` where it is not known.

    Returns:
        Numbers of the labels that hold.
    """
    return [label for label, value in enumerate(values) if value == 1]


def _flat(stored: Any) -> list[Any]:
    """The values of a label: numbers or words of Python."""
    if isinstance(stored, dict):
        return list(stored.values())
    if isinstance(stored, Tensor | np.ndarray):
        return list(stored.reshape(-1).tolist())
    if isinstance(stored, list | tuple):
        return [value.item() if isinstance(value, Tensor | np.generic) else value for value in stored]
    return [stored.item() if isinstance(stored, np.generic) else stored]


def _like(stored: Any, values: list[Any]) -> Any:
    """Values in the form of a stored label."""
    if isinstance(stored, Tensor):
        return torch.tensor(_whole(values, not stored.is_floating_point())).to(stored).reshape(stored.shape)
    if isinstance(stored, np.ndarray):
        return np.array(_whole(values, stored.dtype.kind in "iub"), dtype=stored.dtype).reshape(stored.shape)
    if isinstance(stored, dict):
        return values
    if isinstance(stored, list | tuple):
        return type(stored)(values)
    return _whole(values, isinstance(stored, np.integer))[0]


def _whole(values: list[Any], whole: bool) -> list[Any]:
    """The values, which a column of whole numbers must be able to hold."""
    broken = [value for value in values if whole and not isinstance(value, str) and value != int(value)]
    if broken:
        raise DataError(
            f"the column of labels holds whole numbers, and {broken[0]!r} is none: make it one of floats first"
        )
    return values


def _refuse_other(position: int, before: list[Any], audited: Any) -> None:
    """Refuses a label that is not the one in the audit's table, such as that of another column."""
    expected = audited if isinstance(audited, list) else [audited]
    try:
        fits = len(before) == len(expected) and np.allclose(
            np.array(before, dtype=np.float64),
            np.array(expected, dtype=np.float64),
            rtol=1e-5,
            atol=1e-6,
            equal_nan=True,
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise DataError(
            f"the label at position {position} is {before!r:.80}, and {audited!r:.80} was audited: pass the same data "
            "set, or name the column of labels"
        )


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN differs from itself
