"""The random generators that all code of a process shares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leaves the shared generators of torch (CPU), numpy and Python as they were: draws inside go unseen."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  # the one that data sets use
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])
