"""Removing the flagged samples from a data set, whatever kind it is."""

from __future__ import annotations

from typing import Any

from gradsift.errors import DataError
from gradsift.table import AuditedRun


def trim(train_set: Any, audit: AuditedRun) -> Any:
    """The data set without the flagged samples.

    Args:
        train_set: The data set that was audited.
        audit: The audit.

    Returns:
        The same kind of data set as came in, in the same order; the original is left as it is.

    Raises:
        DataError: There is no data set, or it is not the one that was audited.
    """
    if train_set is None:
        raise DataError("trim needs the data set that was audited: pass it as trim(train_set)")
    return audit.samples_of(train_set).keep(audit.kept)
