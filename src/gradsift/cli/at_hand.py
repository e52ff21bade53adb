"""The data set of a run, where its ``config.yaml`` names it and it can still be read."""

from __future__ import annotations

from gradsift.cli.console import warn
from gradsift.cli.source import Source
from gradsift.cli.trust import Trust
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.result import Audit


def data_at_hand(audit: Audit, trust: Trust, without: str = "Without previews of samples") -> Samples | None:
    """Loads the data set of a run, or says why not.

    Args:
        audit: The audit.
        trust: Which code of its ``config.yaml`` may run.
        without: What a user misses where it cannot be loaded.

    Returns:
        Its samples, which are those that were audited; ``None`` where they are not at hand.
    """
    try:
        data = Source.from_config(audit.run.config.get("source", {}), trust).load_data().dataset
        return audit.samples_of(data)
    except (SettingError, DataError) as error:
        warn(f"{without}: {error}")
        return None
