"""The result of an audit: an audited run with all that can be done with it."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.cleaning import annotate, trim
from gradsift.data import Samples
from gradsift.evaluation import correct
from gradsift.locations import Location
from gradsift.report import Plot, as_html, describe_sample, render_sample, score_plot, write_report
from gradsift.table import AuditedRun


class Audit(AuditedRun):
    """A table with one row a sample, and the run directory it came from.

    Example:
        >>> import numpy as np
        >>> from gradsift import audit_predictions
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.95, 0.05]])
        >>> texts = [{"text": "purr", "label": 0}, {"text": "meow", "label": 0}, {"text": "woof", "label": 1},
        ...          {"text": "hiss", "label": 1}]
        >>> audit = audit_predictions([0, 0, 1, 1], probabilities, data=texts, contamination=0.25)
        >>> audit.flagged_positions.tolist()
        [3]
        >>> audit.worst(1)["preview"].to_pylist()
        ['hiss']
        >>> len(audit.trim())
        3

    Attributes:
        table: The table, ordered by its column ``position``; see :data:`gradsift.table.COLUMNS`. Opens in pandas, polars
            and DuckDB as it is.
        run: The run directory; the table is its ``scores.parquet``.
        train_set: The data set that was audited, where it is at hand; needed for previews.
    """

    @property
    def flagged(self) -> np.ndarray:
        """The former name of ``flagged_positions``."""
        warnings.warn(
            "Audit.flagged is Audit.flagged_positions now; the column of the table keeps its name",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.flagged_positions

    def worst(self, count: int = 10, *, previews: bool = True) -> pa.Table:
        """The most detrimental samples.

        Args:
            count: How many.
            previews: Whether the samples are read from the data set, where it is at hand.

        Returns:
            Their rows of the table, the worst first; with previews, a column ``preview`` of texts that describe them.

        Raises:
            DataError: The data set is not the one that was audited.
        """
        rows = super().worst(count)
        if not previews or self.train_set is None:
            return rows
        texts = [describe_sample(sample, self.feature_names) for sample in self._read(rows)]
        return rows.append_column("preview", pa.array(texts, pa.string()))

    def plot(self) -> Plot:
        """The distribution of scores and the cut, as a notebook shows it; ``save`` writes an SVG file.

        Returns:
            The drawing.
        """
        return score_plot(self)

    def trim(self, train_set: Any = None) -> Any:
        """The data set without the flagged samples.

        Args:
            train_set: The data set that was audited; may be left out where the audit still has it.

        Returns:
            The same kind of data set as came in; the original is left as it is.
        """
        return trim(train_set if train_set is not None else self.train_set, self)

    def correct(self, train_set: Any = None, how: Any = "auto", **options: Any) -> Any:
        """The data set with samples dropped, or with other labels, soft targets or weights.

        Args:
            train_set: The data set that was audited; may be left out where the audit still has it.
            how: As for :func:`gradsift.correct`.
            **options: As there.

        Returns:
            The same kind of data set as came in; the original is left as it is.
        """
        return correct(self, train_set if train_set is not None else self.train_set, how, **options)

    def annotate(self, train_set: Any = None) -> Any:
        """The data set with columns ``gradsift_score``, ``gradsift_flagged`` and others beside its own.

        Args:
            train_set: The data set that was audited; may be left out where the audit still has it.

        Returns:
            The same kind of data set as came in; the original is left as it is.
        """
        return annotate(train_set if train_set is not None else self.train_set, self)

    def report(self, path: str | Location | None = None, train_set: Any = None) -> Location:
        """Writes one self-contained HTML page.

        Args:
            path: Where to; ``report.html`` of the run directory where left out.
            train_set: The data set, for previews of samples; may be left out where the audit still has it.

        Returns:
            The path.
        """
        path = self.run.path / "report.html" if path is None else path
        return write_report(self, path, train_set if train_set is not None else self.train_set)

    def _repr_html_(self) -> str:
        """What a notebook shows: the summary and the ten most detrimental samples."""
        rows = super().worst(10)
        previews = None
        if self.train_set is not None:
            previews = [render_sample(sample, self.feature_names) for sample in self._read(rows)]
        return as_html([self.cut, *self.warnings], rows, self.class_names, previews)

    def _read(self, rows: pa.Table) -> list[Any]:
        """The samples of some rows, as the data set stores them."""
        return [self._samples.sample(position) for position in rows["position"].to_pylist()]

    @cached_property
    def _samples(self) -> Samples:
        """The data set, once it is sure to be the one that was audited."""
        return self.samples_of(self.train_set).raw
