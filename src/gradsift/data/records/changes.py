"""What a copy of a file of records holds beside what the file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradsift.data.batch import GIVEN_LABEL


@dataclass(frozen=True)
class Changes:
    """Columns that are added, and labels that are replaced.

    Attributes:
        size: Number of records n.
        added: Name to values, shape (n,) or (n, K).
        label: Column of labels in which some are replaced; the given ones stand beside in ``gradsift_given_label``.
        like: Position of a record to that of one whose label it gets.
        values: Position of a record to its new label, as numbers, words and lists of them.
    """

    size: int
    added: Mapping[str, np.ndarray] = field(default_factory=dict)
    label: str | None = None
    like: Mapping[int, int] = field(default_factory=dict)
    values: Mapping[int, Any] = field(default_factory=dict)

    def given_name(self, names: Sequence[str]) -> str | None:
        """The column that keeps the given labels; ``None`` where the file has it already, or none is replaced.

        Args:
            names: Columns of the file.

        Returns:
            Its name.
        """
        return GIVEN_LABEL if self.label is not None and GIVEN_LABEL not in names else None

    def new_names(self, names: Sequence[str]) -> list[str]:
        """Columns that a copy has beside those of the file.

        Args:
            names: Columns of the file.

        Returns:
            Their names, in order.
        """
        given = self.given_name(names)
        return [*([given] if given is not None else []), *self.added]

    def texts(self, position: int) -> dict[str, str]:
        """Added values of a record as JSON.

        Args:
            position: Its position.

        Returns:
            Name to text.
        """
        return {name: json.dumps(_rounded(values[position])) for name, values in self.added.items()}


def _rounded(value: np.ndarray) -> float | list[float]:
    """Numbers with the seven digits that float32 holds."""
    rounded = [float(f"{one:.7g}") for one in np.atleast_1d(value)]
    return rounded if np.ndim(value) else rounded[0]
