"""Puts samples together by a collate function, and sees to it that each row of the batch is that of its sample."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from gradsift.data.batch import Batch
from gradsift.data.randomness import generators_kept
from gradsift.data.rows import Missing, Path, columns, part, shown
from gradsift.errors import DataError

logger = logging.getLogger(__name__)

TRIED = 16
"""Rows that must all be found among other samples before a whole column is searched."""


class Collation:
    """A collate function whose batches are compared with their samples.

    A row is compared with its sample as the data set gives it; where that shows nothing (texts that are tokenised, numbers
    that are normalised by the collate function), with what the collate function makes of the sample alone. Padding on
    either side and casts make no difference. Columns that depend on the rest of the batch, or on chance, are left out.

    Args:
        function: The collate function.
        compares: Whether batches are compared with their samples; those of PyTorch's own function never need it.

    Attributes:
        function: The collate function.
        compares: Whether batches are compared with their samples.
    """

    def __init__(self, function: Callable[[list[Any]], Batch], *, compares: bool = True) -> None:
        self.function, self.compares = function, compares and function is not default_collate
        self._incomparable: set[Path] = set()

    @property
    def name(self) -> str:
        """The function's qualified name."""
        function: Any = self.function
        while hasattr(function, "func"):  # functools.partial, and what wraps a function likewise
            function = function.func
        owner = function if hasattr(function, "__qualname__") else type(function)
        return f"{owner.__module__}.{owner.__qualname__}"

    def batch(self, samples: list[Any], positions: Sequence[int]) -> Batch:
        """Puts samples together.

        Args:
            samples: The samples.
            positions: Their positions, for messages.

        Returns:
            The batch, whose rows are those of the samples, in order.

        Raises:
            DataError: The function drops, repeats or reorders samples; names it and the samples.
        """
        batch, rows = self.traced(samples)
        if rows == list(range(len(samples))):
            return batch
        places = [None if row is None else positions[row] for row in rows]
        raise DataError(f"the collate function {self.name} {_fault(places, list(positions))}")

    def traced(self, samples: list[Any]) -> tuple[Batch, list[int | None]]:
        """Puts samples together and tells which row is whose.

        Args:
            samples: The samples.

        Returns:
            The batch, and for each row the place of its sample among those given; ``None`` where that cannot be told.
        """
        size = len(samples)
        if not self.compares:
            return self.function(samples), list(range(size))
        kept = [_copied(sample) for sample in samples]  # a collate function may take parts out of a sample
        batch = self.function(samples)
        by_path = dict(columns(batch))
        lengths = {len(column) for column in by_path.values()}
        if len(lengths) == 1 and size not in lengths:
            return batch, _whose(by_path, self._alone(kept), lengths.pop())
        return batch, self._order({path: column for path, column in by_path.items() if len(column) == size}, kept)

    def tells_apart(self, batch: Batch, size: int) -> bool:
        """Whether samples that had changed places would have been seen in a batch.

        Args:
            batch: What :meth:`batch` gave.
            size: How many samples went in.

        Returns:
            True where a column that is compared has another value in at least half of the rows.
        """
        compared = [column for path, column in columns(batch) if path not in self._incomparable and len(column) == size]
        return any(len({_key(row) for row in column}) >= size / 2 for column in compared)

    def _order(self, batch: Mapping[Path, Any], samples: list[Any]) -> list[int | None]:
        """Whose rows they are, where there is one for each sample."""
        size = len(samples)
        identity: list[int | None] = list(range(size))
        compared = {path: column for path, column in batch.items() if path not in self._incomparable}
        left = [path for path, column in compared.items() if not shown(column, _parts(samples, path)).all()]
        if size == 1 or not left:
            return identity
        alone = self._alone(samples)
        moved = [path for path in left if not shown(compared[path], _firsts(alone, path)).all()]
        for path in moved:
            if not _holds_others(compared[path], _firsts(alone, path)) or self._is_random(
                path, compared[path], samples
            ):
                self._incomparable.add(path)
                logger.debug("column %s of %s is not compared: it depends on the batch or on chance", path, self.name)
        if self._incomparable.issuperset(moved):
            return identity
        return _whose(batch, alone, size)

    def _alone(self, samples: list[Any]) -> list[Any]:
        """What the function makes of each sample alone; :class:`Missing` where it fails."""
        batches: list[Any] = []
        with generators_kept():
            for sample in samples:
                try:
                    batches.append(self.function([_copied(sample)]))
                except Exception as error:  # noqa: BLE001  # it may need several samples, or leave this one out
                    logger.debug("%s takes no sample alone: %s", self.name, error)
                    batches.append(Missing)
        return batches

    def _is_random(self, path: Path, column: Any, samples: list[Any]) -> bool:
        """Whether a column comes out otherwise a second time."""
        with generators_kept():
            again = dict(columns(self.function([_copied(sample) for sample in samples]))).get(path, ())
        return len(again) != len(column) or not shown(column, list(again)).all()


def _whose(batch: Mapping[Path, Any], alone: list[Any], size: int) -> list[int | None]:
    """For each row the sample that, put together alone, looks like it; ``None`` where several or none do."""
    candidates, used = [set(range(len(alone))) for _ in range(size)], 0
    for path, column in batch.items():
        parts = _firsts(alone, path)
        narrowed = [_alike(column, row, parts, candidates[row]) for row in range(size)]
        if all(narrowed):  # otherwise it is a column that depends on the rest of the batch
            candidates, used = narrowed, used + 1
    owners: list[int | None] = []
    for places in candidates:
        new = sorted(places.difference(place for place in owners if place is not None))
        # Samples that are alike in everything may stand for each other.
        sure = len(places) == 1 or (used == len(batch) and used > 0)
        owners.append((new or sorted(places))[0] if sure else None)
    return owners


def _holds_others(column: Any, parts: list[Any]) -> bool:
    """Whether rows that do not show their own part show another one, as where samples have changed places."""
    size = len(parts)
    wrong = np.flatnonzero(~shown(column, parts)).tolist()[:TRIED]
    everyone = set(range(size))
    return all(_alike(column, row, parts, everyone) for row in wrong) and not shown(column, [column[0]] * size).all()


def _alike(column: Any, row: int, parts: list[Any], candidates: set[int]) -> set[int]:
    """Which of the candidates' parts a row shows."""
    places = sorted(candidates)
    rows = (
        [column[row]] * len(places)
        if isinstance(column, list)
        else column[row : row + 1].expand(len(places), *column.shape[1:])
    )
    return set(np.asarray(places)[shown(rows, [parts[place] for place in places])].tolist())


def _parts(samples: list[Any], path: Path) -> list[Any]:
    return [part(sample, path) for sample in samples]


def _firsts(alone: list[Any], path: Path) -> list[Any]:
    """A column's row in batches of one sample."""
    rows = _parts(alone, path)
    return [row[0] if isinstance(row, Tensor | np.ndarray | list) and len(row) == 1 else Missing for row in rows]


def _key(row: Any) -> Any:
    """What equal rows have in common, and only they."""
    return row.detach().cpu().contiguous().numpy().tobytes() if isinstance(row, Tensor) else row


def _copied(sample: Any) -> Any:
    if isinstance(sample, dict | list):
        return sample.copy()
    return type(sample)({**sample}) if isinstance(sample, Mapping) else sample  # type: ignore[call-arg]  # BatchEncoding


def _fault(places: list[int | None], positions: list[int]) -> str:
    """What a collate function does to samples, and what to do about it.

    Args:
        places: Position of the sample in each row; ``None`` where it is not known.
        positions: Position of each sample that went in.
    """
    counts = f"gives {len(places)} rows for {len(positions)} samples"
    remedy = "Return one row for each sample, in their order"
    if len(places) < len(positions):
        dropped = [] if None in places else [position for position in positions if position not in places]
        which = f" ({_named(dropped)})" if dropped else ""
        return f"{counts}: it drops samples{which}. {remedy}, and remove samples that cannot be used from the data set"
    repeated = [
        place for place in dict.fromkeys(places) if place is not None and places.count(place) > positions.count(place)
    ]
    if len(places) > len(positions):
        return f"{counts}: it repeats samples. {remedy}"
    if repeated:
        return f"puts a sample into the row of another one: it repeats samples ({_named(repeated)}). {remedy}"
    row, place = next((row, place) for row, place in enumerate(places) if place != positions[row])
    which = "another sample" if place is None else f"the sample at position {place}"
    return (
        f"reorders samples: {which} stands in the row of the sample at position {positions[row]}. {remedy} (for packed "
        "sequences pack_padded_sequence(..., enforce_sorted=False) sorts inside the model)"
    )


def _named(positions: list[int]) -> str:
    return f"positions {', '.join(map(str, positions[:10]))}{', ...' if len(positions) > 10 else ''}"
