"""A run directory with its table, as cleaning, evaluation and the report read it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gradsift.data import Samples, has_fingerprint
from gradsift.errors import DataError, RunDirectoryError, SettingError
from gradsift.evidence import Evidence, refuse_other_data, stored_evidence, stored_gradients
from gradsift.locations import Location
from gradsift.store import RunDirectory, StoredMatrix
from gradsift.store.tables import TOKENS, about_table, read_table
from gradsift.table.findings import Finding, findings_of
from gradsift.table.notices import Notice
from gradsift.tasks import Kind
from gradsift.trajectory import Trajectory

OF_PREDICTIONS = "predictions"
"""What the manifest calls the task of an audit of evidence, without a model."""


class AuditedRun:
    """A table with one row a sample, and the run directory it came from.

    Attributes:
        table: The table, ordered by its column ``position``; see :data:`gradsift.table.COLUMNS`. Opens in pandas, polars
            and DuckDB as it is.
        run: The run directory; the table is its ``scores.parquet``.
        train_set: The data set that was audited, where it is at hand; needed for previews in the report.
    """

    def __init__(self, table: pa.Table, run: RunDirectory, train_set: Any = None) -> None:
        self.table, self.run, self.train_set = table, run, train_set

    @classmethod
    def open(cls, path: str | Location, train_set: Any = None, *, table: str | Location | None = None) -> Self:
        """Opens an audit from its run directory.

        Args:
            path: The run directory.
            train_set: The data set, for trimming and previews.
            table: Another table of the same run, such as one that ``gradsift influence`` wrote, its rows in any order; the
                run's own where left out.

        Returns:
            The audit.

        Raises:
            RunDirectoryError: There is no whole run, or its table is broken.
        """
        run = RunDirectory.open(path)
        if table is None:
            return cls(_with_all_columns(by_position(run.read_table(), run.path)), run, train_set)
        result = cls(_with_all_columns(by_position(read_table(table), table)), run, train_set)
        own, other = result.run.read_json("manifest.json"), result._meta
        if other.get("data_fingerprint") != own.get("data_fingerprint"):
            raise RunDirectoryError(f"{table} is no table of {path}: it is of other samples")
        if other.get("run", own.get("fingerprint")) != own.get("fingerprint"):  # the first format does not say it
            raise RunDirectoryError(f"{table} is no table of {path}: it is of another model, or of other settings")
        if len(result) != sum(own["shards"]):
            raise RunDirectoryError(
                f"{table} has {len(result)} rows, {path} {sum(own['shards'])} samples: keep one row a sample"
            )
        return result

    def __len__(self) -> int:
        """Number of samples."""
        return self.table.num_rows

    @property
    def details(self) -> dict[str, Any]:
        """The manifest: versions, fingerprints, coverage, warnings, how the cut was decided."""
        manifest = self.run.read_json("manifest.json")
        manifest.pop("files", None)  # checksums
        return manifest | self._meta.get("details", {})

    @property
    def notices(self) -> list[Notice]:
        """What may make the scores, or what is flagged, say little; a weak model first."""
        details = self.details
        if "notices" in details:
            return [Notice(**notice) for notice in details["notices"]]
        # Runs of gradsift 0.1 have sentences without a capital and a full stop.
        return [Notice("other", f"{words[:1].upper()}{words[1:]}.") for words in details.get("warnings", [])]

    @property
    def warnings(self) -> list[str]:
        """The same in words."""
        return [notice.words for notice in self.notices]

    @property
    def findings(self) -> list[Finding]:
        """What is wrong besides labels: near duplicates, overlap with the test set, outliers, broken inputs."""
        return findings_of(self.table, self.run.read_json("manifest.json").get("findings", []))

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, where they are known."""
        return self._meta.get("class_names")

    @cached_property
    def feature_names(self) -> list[str] | None:
        """Names of the features of a table, where they are known."""
        return self.run.config.get("source", {}).get("feature_names")

    @property
    def kind(self) -> Kind | None:
        """What labels are, a :data:`~gradsift.tasks.Kind`, or ``None`` where there are none."""
        if "kind" in self.details:
            return self.details["kind"]
        given = self.table.schema.field("given_label").type  # runs of gradsift 0.1 do not say
        if self.table["given_label"].null_count == len(self.table):
            return None
        if pa.types.is_integer(given):
            return "class"
        return "multilabel" if pa.types.is_list(given) and pa.types.is_integer(given.value_type) else "value"

    @property
    def detector(self) -> str:
        """Name of the detector that ranks the samples."""
        return str(self._meta["detector"])

    @property
    def rescored(self) -> bool:
        """Whether the samples are ranked and flagged by other scores than those of the run."""
        return "details" in self._meta

    @property
    def flagged_positions(self) -> np.ndarray:
        """Positions of the flagged samples, the most detrimental first."""
        positions = np.flatnonzero(self.table["flagged"].to_numpy())
        return positions[np.argsort(self.table["rank"].take(pa.array(positions)).to_numpy())]

    @property
    def kept(self) -> np.ndarray:
        """Positions of the samples that are not flagged, in order."""
        return np.flatnonzero(~self.table["flagged"].to_numpy())

    @cached_property
    def tokens(self) -> pa.Table | None:
        """A row a token (:data:`gradsift.table.tokens.TOKEN_COLUMNS`), of token classification; ``None`` elsewhere."""
        return self.run.read_table(TOKENS) if (self.run.path / TOKENS).is_file() else None

    @property
    def token_classes(self) -> int:
        """Number of classes of tokens: of their names, or of the labels that occur."""
        if self.tokens is None:
            return 0
        seen = [1 + int(pc.max(self.tokens[f"{name}_label"]).as_py() or 0) for name in ("given", "predicted")]
        return max(len(self.class_names or ()), *seen)

    @property
    def gradients(self) -> StoredMatrix:
        """The stored gradients: exact norms, and factors or projections where a detector needed them."""
        return stored_gradients(self.run)

    def worst(self, count: int = 10) -> pa.Table:
        """The most detrimental samples.

        Args:
            count: How many.

        Returns:
            Their rows of the table, the worst first.
        """
        rank = self.table["rank"].to_numpy()
        positions = np.flatnonzero(rank <= count)
        return self.table.take(positions[np.argsort(rank[positions])])

    def head(self, count: int = 5) -> pa.Table:
        """The first rows of the table, in the order of the data set.

        Args:
            count: How many.

        Returns:
            The rows.
        """
        return self.table.slice(0, count)

    def to_pandas(self) -> Any:
        """The table as a pandas data frame.

        Returns:
            One row a sample.

        Raises:
            SettingError: pandas is not installed.
        """
        try:
            return self.table.to_pandas()
        except ImportError as error:
            raise SettingError("a data frame needs pandas: pip install pandas") from error

    @property
    def headline(self) -> str:
        """How many samples are flagged."""
        flagged = len(self.flagged_positions)
        return f"{flagged:,} of {len(self):,} samples ({100 * flagged / len(self):.2f} %) are flagged."

    @property
    def cut(self) -> str:
        """How many samples are flagged, how that was decided, and how sure it is."""
        return f"{self.headline} {self.details.get('contamination', {}).get('words', '')}".strip()

    def summary(self) -> str:
        """How many samples are flagged, how that was decided, and what to beware of: a weak model before all else."""
        notices = self.notices
        before, after = ([notice.words for notice in notices if notice.first == first] for first in (True, False))
        heads = self.details.get("heads") or {}
        return " ".join([*before, self.cut, *([heads["words"]] if heads else []), *after])

    def samples_of(self, train_set: Any) -> Samples:
        """A data set read by position, once it is sure to be the one that was audited.

        Args:
            train_set: The data set.

        Returns:
            Its samples.

        Raises:
            DataError: It is another one.
        """
        samples = Samples(train_set)
        if len(samples) != len(self):
            raise DataError(
                f"the data set has {len(samples)} samples, the audit {len(self)}: pass the one that was audited"
            )
        known = self.details.get("data_fingerprint")
        if known is not None and not has_fingerprint(samples, known):
            raise DataError(
                "the data set is not the one that was audited (its fingerprint differs), so positions would point at "
                "other samples: pass the same data in the same order"
            )
        if known is None and self.details.get("task") == OF_PREDICTIONS:  # no data set was at hand
            refuse_other_data(samples, self.table["given_label"].to_numpy(), self.class_names, None)
        return samples

    def with_table(self, table: pa.Table) -> Self:
        """The same run with another table.

        Args:
            table: The table, ordered by its column ``position``.

        Returns:
            A new object; nothing is written.
        """
        return type(self)(table, self.run, self.train_set)

    def __repr__(self) -> str:
        """The headline."""
        return f"<{type(self).__name__}: {self.cut}>"

    @cached_property
    def _meta(self) -> dict[str, Any]:
        return about_table(self.table)


def by_position(table: pa.Table, path: str | Location) -> pa.Table:
    """Orders a table by the positions of its samples, however somebody has sorted it.

    Args:
        table: A table with the column ``position``.
        path: Where it lies, for the message.

    Returns:
        The table whose row number is the position.

    Raises:
        RunDirectoryError: Positions are missing or stand more than once.
    """
    if "position" not in table.column_names or not pa.types.is_integer(table.schema.field("position").type):
        raise RunDirectoryError(
            f"{path} has no column position of whole numbers: keep this column of the audit's table"
        )
    if table["position"].null_count:
        raise RunDirectoryError(
            f"{path}: {table['position'].null_count} rows have no position: keep those of the audit"
        )
    positions = table["position"].to_numpy()
    if np.array_equal(positions, np.arange(len(positions))):
        return table
    values, counts = np.unique(positions, return_counts=True)
    if (counts > 1).any():
        raise RunDirectoryError(
            f"{path} has several rows for the positions {_first(values[counts > 1])}: one row a sample is needed"
        )
    if values[0] < 0:
        raise RunDirectoryError(f"{path} has the positions {_first(values[values < 0])}: positions count from 0")
    missing = np.setdiff1d(np.arange(len(values)), values)
    if len(missing):
        raise RunDirectoryError(
            f"{path} has no row for the positions {_first(missing)}: a row for each sample is needed, so keep the rows "
            "and set their column flagged instead"
        )
    return table.take(np.argsort(positions))


def _with_all_columns(table: pa.Table) -> pa.Table:
    """The table with an empty column P(wrong), where a version of gradsift before this column has written it."""
    if "wrong_probability" in table.column_names or "suggested_label" not in table.column_names:
        return table
    place = table.column_names.index("suggested_label") + 1
    return table.add_column(place, pa.field("wrong_probability", pa.float64()), pa.nulls(len(table), pa.float64()))


def _first(positions: np.ndarray) -> str:
    more = f" and {len(positions) - 10:,} more" if len(positions) > 10 else ""
    return ", ".join(map(str, positions[:10])) + more


def evidence_of(audit: AuditedRun, *, trajectory: Trajectory | None = None) -> Evidence:
    """What the detectors of an audit have read, from its run directory.

    Args:
        audit: The audit.
        trajectory: What was recorded along training, which a run directory does not hold.

    Returns:
        The evidence, with the classes' names, and with predictions that come from where the audit says.
    """
    provenance = audit.details.get("provenance", {}).get("predictions", "in-sample")
    evidence = stored_evidence(audit.run, audit.kind, trajectory=trajectory, provenance=provenance)
    return evidence.with_(class_names=audit.class_names)
