"""What is wrong with samples besides their labels, as the table, the summary and the pages say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FINDINGS, OUTLIER_SCORE, DUPLICATE_GROUP = "findings", "outlier_score", "duplicate_group"
FINDING_COLUMNS = {
    FINDINGS: "what is wrong with the sample besides its label, with commas: near_duplicate, in_test_set, outlier, "
    "broken_input; empty where nothing is",
    OUTLIER_SCORE: "how far outside the other samples its input lies (of rows of numbers and without inputs: its features "
    "and prediction), in robust deviations above the median; empty where nothing is known",
    DUPLICATE_GROUP: "position of the first of the samples with almost the same input; empty where there is no other",
}
"""Column to its meaning; they stand behind the scores, where findings were looked for."""
NEAR_DUPLICATE, IN_TEST_SET, OUTLIER, BROKEN = OF_SAMPLES = ("near_duplicate", "in_test_set", "outlier", "broken_input")
"""Codes of findings about single samples."""
RARE_CLASS, WEAK_CLASS, ORDER = OF_SET = ("rare_class", "weak_class", "order")
"""Codes of findings about the data set as a whole."""
TITLES = {
    NEAR_DUPLICATE: "near duplicates",
    IN_TEST_SET: "also in the test set",
    OUTLIER: "outside of the distribution",
    BROKEN: "empty or broken inputs",
    RARE_CLASS: "rare classes",
    WEAK_CLASS: "classes that the model fits badly",
    ORDER: "order of the samples",
}
"""Code to its name in headings."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing that is wrong besides labels.

    Attributes:
        kind: One of :data:`OF_SAMPLES` or :data:`OF_SET`.
        words: Whole sentences, with what to do.
        positions: The samples, rising; empty of a finding about the whole set.
        details: What more is known, as plain values.
    """

    kind: str
    words: str
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name in headings."""
        return TITLES[self.kind]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.positions)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest; the positions stand in the table."""
        return {"kind": self.kind, "words": self.words, "details": dict(self.details)}


def with_findings(table: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """A table with the columns of findings behind its others.

    Args:
        table: The table.
        columns: Some of :data:`FINDING_COLUMNS`.

    Returns:
        The table; its metadata stay.
    """
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def findings_of(table: pa.Table, told: list[dict[str, Any]]) -> list[Finding]:
    """The findings of a run.

    Args:
        table: Its table.
        told: What the manifest tells of them.

    Returns:
        The findings, those about samples with their positions.
    """
    return [Finding(one["kind"], one["words"], _positions(table, one["kind"]), one["details"]) for one in told]


def has_finding(table: pa.Table, kind: str) -> np.ndarray:
    """Which samples have a finding.

    Args:
        table: A table.
        kind: One of :data:`OF_SAMPLES`.

    Returns:
        Shape (n,), boolean; all false in a table without findings.
    """
    if FINDINGS not in table.column_names:
        return np.zeros(len(table), dtype=bool)
    found: np.ndarray = pc.match_substring(table[FINDINGS], kind).to_numpy()
    return found


def _positions(table: pa.Table, kind: str) -> np.ndarray:
    if kind not in OF_SAMPLES:
        return np.zeros(0, dtype=np.int64)
    return np.sort(table["position"].to_numpy()[has_finding(table, kind)])
