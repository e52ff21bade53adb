"""What a regime is: a kind of data with a kind of errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Regime:
    """A kind of data with a kind of errors.

    Attributes:
        kind: A key of :data:`kinds.page.KINDS`.
        words: What it is, for the page.
        load: From data folder and seed to a draw; of pairs from data folder, cache folder and seed; of series from the
            cache folder and seed.
        chosen_on: Whether it was in view when constants were chosen.
        ahead: Whether it is one of those in which the default has to be ahead of the best fixed baseline.
    """

    kind: str
    words: str
    load: Callable[..., Any]
    chosen_on: bool = False
    ahead: bool = True
