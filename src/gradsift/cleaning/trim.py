"""Removing the flagged samples from a data set, whatever kind it is."""

from __future__ import annotations

from typing import Any

from gradsift.data import Samples, fingerprint_samples
from gradsift.errors import DataError
from gradsift.table import Audit


def trim(train_set: Any, audit: Audit) -> Any:
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
    samples = Samples(train_set)
    if len(samples) != len(audit):
        raise DataError(
            f"the data set has {len(samples)} samples, the audit {len(audit)}: trim the one that was audited"
        )
    known = audit.details.get("data_fingerprint")
    if known is not None and fingerprint_samples(samples)[0] != known:
        raise DataError(
            "the data set is not the one that was audited (its fingerprint differs), so positions would point at other "
            "samples: pass the same data in the same order"
        )
    return samples.keep(audit.kept)
