"""Data sets over rows of the user's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from torch.utils.data import Dataset

from gradsift.data import Samples


class RowSet(Dataset):
    """A data set over rows that can be made anew over others of them.

    Attributes:
        raw: The rows as they were given.
    """

    raw: Any

    @abstractmethod
    def with_rows(self, rows: Any) -> Self:
        """The same over other rows.

        Args:
            rows: The rows.

        Returns:
            A data set like this one.
        """

    def select(self, positions: Sequence[int]) -> Self:
        """Some of the rows.

        Args:
            positions: Which ones, in order.

        Returns:
            A data set like this one.
        """
        return self.with_rows(Samples(self.raw).keep(np.asarray(positions, dtype=np.int64)))
