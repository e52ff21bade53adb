"""Removing the flagged samples from a data set, whatever kind it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.cleaning.reviewed import Reviewed
from gradsift.data import Samples
from gradsift.errors import DataError
from gradsift.table import AuditedRun


def trim(train_set: Any, audit: AuditedRun) -> Any:
    """The data set without the flagged samples.

    What people have decided in a review stands above the flag: a sample that they keep stays; one that they drop, relabel
    or call ambiguous goes. ``correct(..., "drop")`` gives the relabelled ones their new label instead.

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
    samples = audit.samples_of(train_set)
    return samples.keep(kept_after_review(audit, samples))


def kept_after_review(audit: AuditedRun, samples: Samples) -> np.ndarray:
    """Samples that a trim leaves.

    Args:
        audit: The audit.
        samples: The data set that was audited.

    Returns:
        Positions in order.
    """
    return np.flatnonzero(Reviewed.of(audit, samples).leaves(audit.table["flagged"].to_numpy()))
