"""The errors that gradsift raises on purpose. Each message says what was given and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class GradsiftError(Exception):
    """Base of every error that gradsift raises on purpose."""


class DataError(GradsiftError, ValueError):
    """The data set cannot be audited as it was given."""


class SampleError(DataError):
    """Some samples of one batch cannot be used.

    A task knows rows of a batch, not positions in the data set, so it raises this error with the rows;
    whoever knows the positions calls :meth:`at` to name the samples.

    Args:
        problem: What is wrong, as a sentence without a full stop.
        rows: Rows of the batch that are affected.
        fix: What to do about it.
    """

    def __init__(self, problem: str, rows: Sequence[int], fix: str) -> None:
        self.problem, self.rows, self.fix = problem, list(rows), fix
        super().__init__(f"{problem} (rows {_listed(self.rows)} of the batch). {fix}")

    def at(self, positions: Sequence[int] | np.ndarray) -> DataError:
        """The same error, naming positions in the data set.

        Args:
            positions: Position in the data set of every row of the batch.

        Returns:
            A :class:`DataError` that names the samples.
        """
        samples = [int(positions[row]) for row in self.rows]
        return DataError(f"{self.problem}, at positions {_listed(samples)}. {self.fix}")


@contextmanager
def naming_samples(positions: Sequence[int] | np.ndarray) -> Iterator[None]:
    """Turns errors about rows of a batch into errors about positions in the data set.

    Args:
        positions: Position of every row.

    Yields:
        Nothing.

    Raises:
        DataError: A row cannot be used.
    """
    try:
        yield
    except SampleError as error:
        raise error.at(positions) from error


class ModelError(GradsiftError, ValueError):
    """The model, or the task's two methods, cannot be used as they were given."""


class SettingError(GradsiftError, ValueError):
    """A setting is outside its range, or two settings contradict each other."""


class UntrustedCodeError(SettingError):
    """A configuration that the user has not written names code, and the user has not allowed it to run."""


class OutputError(GradsiftError, OSError):
    """A file or folder cannot be written, or stands in the way."""

    when_full = ""
    """What the next try does after the disk was full, for the message."""


class RunDirectoryError(OutputError):
    """A run directory is missing, foreign, corrupt, in the way, or cannot be written."""

    when_full = ", it resumes"


class LocationError(GradsiftError):
    """A store that a URL names cannot be reached, read or written."""


class UnsafeFileError(GradsiftError, ValueError):
    """A file would run code when loaded (a pickle), so it is refused."""


def _listed(numbers: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return f"{shown} and {len(numbers) - most} more" if len(numbers) > most else shown
