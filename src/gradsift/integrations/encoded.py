"""Data sets of rows that a model's own tokenizer or processor encodes, sample by sample."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from gradsift.data import LABEL_KEYS, Samples
from gradsift.data.batch import CURED
from gradsift.data.class_names import are_named, folded, names_of_column, numbers_by_name
from gradsift.data.samples import is_splits, one_split
from gradsift.errors import DataError
from gradsift.integrations.row_set import RowSet


class EncodedSet(RowSet):
    """Rows with named columns, and how a row becomes a sample.

    Rows, not their encodings, identify the data: an audit of an encoded set trims and annotates the rows themselves.

    Args:
        rows: A ``datasets.Dataset``, a ``DatasetDict`` with a split named train, a ``pyarrow.Table``, or a list of dicts.

    Attributes:
        raw: The rows as they were given.
        classes: Names of the classes, where they are known.
        label: Name of the column of labels, where there is one.
    """

    label: str | None = None

    def __init__(self, rows: Any) -> None:
        self.raw = rows
        self.classes: list[str] | None = None
        self._samples = Samples(rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._samples)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One encoded sample."""
        row = self.row(position)
        encoded = self.encode(row, position)
        cured = {name: torch.as_tensor(np.asarray(row[name], dtype=np.float32)) for name in CURED if name in row}
        return encoded | cured | ({"id": str(row["id"])} if "id" in row else {})

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.row(0))

    def class_names_of(self, column: str) -> list[str] | None:
        """Names of the classes in a column, as a ``ClassLabel`` or the metadata of a parquet file tells them.

        Args:
            column: The column.

        Returns:
            One name a class number, or ``None``.
        """
        return names_of_column(one_split(self.raw) if is_splits(self.raw) else self.raw, column)

    def row(self, position: int) -> dict[str, Any]:
        """One row as it stands.

        Args:
            position: Its position.

        Returns:
            Column to value.

        Raises:
            DataError: A row is no dict of columns.
        """
        row = self._samples.sample(int(position))
        if not isinstance(row, Mapping):
            raise DataError(f"row {position} is a {type(row).__name__}: rows must be dicts of columns")
        return dict(row)

    def with_rows(self, rows: Any) -> Self:
        """The same encoding over other rows.

        Args:
            rows: The rows.

        Returns:
            A data set like this one.
        """
        encoded = object.__new__(type(self))
        encoded.__dict__ |= self.__dict__
        EncodedSet.__init__(encoded, rows)
        encoded.classes = self.classes
        return encoded

    def needs(self, *names: str | None) -> None:
        """Checks that columns are there.

        Args:
            *names: Names of columns; ``None`` is passed over.

        Raises:
            DataError: One is missing.
        """
        missing = [name for name in names if name is not None and name not in self.columns]
        if missing:
            raise DataError(f"no column {', '.join(map(repr, missing))}: the columns are {', '.join(self.columns)}")

    def label_column(self, label: str | None) -> str:
        """The column of labels.

        Args:
            label: Its name, or ``None``: ``label``, or the only usual one.

        Returns:
            Its name.

        Raises:
            DataError: It is missing, or none or several have a usual name.
        """
        self.needs(label)
        usual_names = [name for name in self.columns if name.lower() in LABEL_KEYS]
        if label is None and "label" not in usual_names and len(usual_names) != 1:
            raise DataError(
                f"name the column of labels with label=... (--label): the columns are {', '.join(self.columns)}"
            )
        return label or ("label" if "label" in usual_names else usual_names[0])

    @property
    @abstractmethod
    def encoding(self) -> dict[str, Any]:
        """How rows are encoded, in plain values for the manifest."""

    @abstractmethod
    def encode(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Turns a row into a sample.

        Args:
            row: The row.
            position: Its position, for messages.

        Returns:
            What the model takes, and ``labels``.
        """

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Puts samples together.

        Args:
            samples: Encoded samples.

        Returns:
            A batch.
        """
        return default_collate(samples)


class Labels:
    """Class numbers of a column that holds numbers, words or a ``ClassLabel``.

    Names are compared without case and white space around them; a data set that numbers the same names otherwise than
    ``label2id`` is renumbered.

    Args:
        rows: The data set.
        column: Its column of labels.
        label2id: Word to class number, as in ``model.config.label2id``.

    Raises:
        DataError: Labels are words and nothing tells their numbers, or the classes of a ``ClassLabel`` are not those of
            ``label2id``.
    """

    def __init__(self, rows: EncodedSet, column: str, label2id: Mapping[str, int] | None) -> None:
        self._column, self._label2id = column, dict(label2id or {})
        self._numbers = numbers_by_name(self._label2id)
        self.names: list[str] | None = rows.class_names_of(column)
        self._renumber: list[int] | None = None
        if self.names is not None and are_named(self.names) and are_named(list(self._label2id)):
            self._renumber = self._new_numbers(self.names)
        if self._label2id and (self.names is None or not are_named(self.names) or self._renumber is not None):
            self.names = [word for word, _ in sorted(self._label2id.items(), key=lambda pair: pair[1])]
        first_label = rows.row(0)[column]
        # words without numbers are refused at once
        self.number(first_label[:1] if isinstance(first_label, list) else first_label, 0)

    def _new_numbers(self, names: Sequence[str]) -> list[int]:
        """The number in ``label2id`` of each of the data set's classes."""
        unknown = [name for name in names if self._number_of(name) is None]
        if unknown:
            example = ", ".join(f"{name!r}: {number}" for number, name in enumerate(names[:4]))
            example = f"{{{example}{', ...' if len(names) > 4 else ''}}}"
            raise DataError(
                f"column {self._column!r} names the classes {', '.join(names[:10])}, of which {', '.join(unknown[:5])} "
                f"are none of the model's {', '.join(list(self._label2id)[:10])}, so their numbers may mean other "
                f"classes. Give the number that each has in the model's output, label2id={example}, "
                "or correct the names in the model's config.json (label2id)"
            )
        return [int(self._number_of(name) or 0) for name in names]

    def _number_of(self, word: str) -> int | None:
        return self._numbers.get(word, self._numbers.get(folded(word)))

    @property
    def mapping(self) -> dict[str, int] | None:
        """Word to class number, in plain values for the manifest."""
        return self._label2id or None

    def stored(self, number: int, like: Any) -> Any:
        """A class as the rows have it: the reverse of :meth:`number`.

        Args:
            number: The class number.
            like: Another label of the rows: a word or a number.

        Returns:
            That word where it means the same class; else the name of the class, or its number in the rows.
        """
        if isinstance(like, str):
            means_same_class = self._number_of(like) == number
            return like if means_same_class or self.names is None else self.names[number]
        return number if self._renumber is None else self._renumber.index(number)

    def number(self, value: Any, position: int) -> Any:
        """The class number, value or list of numbers of a label.

        Args:
            value: The label as it stands in the row.
            position: Position of the row, for messages.

        Returns:
            A number, or a list of numbers.

        Raises:
            DataError: There is no label, or an unknown word.
        """
        if isinstance(value, Tensor | np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [self.number(element, position) for element in value]
        if value is None:
            raise DataError(
                f"the row at position {position} has no label in column {self._column!r}: give it one or remove it"
            )
        if isinstance(value, str):
            if not self._numbers:
                raise DataError(
                    f"labels in column {self._column!r} are words such as {value!r}, and nothing tells which class of the "
                    "model each one is: name the classes in the model's config.json (label2id), or pass label2id={...}"
                )
            number = self._number_of(value)
            if number is None:
                raise DataError(
                    f"the label {value!r} at position {position} in column {self._column!r} is none of the model's "
                    f"classes {', '.join(list(self._label2id)[:10])}: correct it, or name it in label2id"
                )
            return number
        if self._renumber is not None and isinstance(value, int) and 0 <= value < len(self._renumber):
            return self._renumber[value]
        return value


def fingerprint_of(*parts: Any) -> str:
    """A short hash of what a tokenizer or processor does, so that a run is not resumed with another one.

    Args:
        *parts: Plain values.

    Returns:
        The first 16 digits of their SHA-256 in hexadecimal.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
