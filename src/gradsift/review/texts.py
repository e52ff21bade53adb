"""The texts of a data set, for the search."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from gradsift.data import Samples
from gradsift.report.content import content_of

READ = 200_000
"""A data set without columns of its own is searched where it has at most so many samples."""


def texts_of(samples: Samples | None) -> pa.ChunkedArray | None:
    """The text of every sample.

    Args:
        samples: The data set, where it is at hand.

    Returns:
        One string a sample; ``None`` where samples are no texts, or are too many to be read one by one.
    """
    if samples is None or len(samples) > READ:
        return None
    raw = samples.raw
    if content_of(raw.sample(0)).form not in ("text", "chat"):
        return None
    return pa.chunked_array([pa.array([_text(raw.sample(position)) for position in range(len(raw))], pa.string())])


def _text(sample: Any) -> str:
    content = content_of(sample)
    if content.form == "text":
        return str(content.value)
    return "\n".join(words for _, words in content.value) if content.form == "chat" else ""
