"""Several processes of one training or audit, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

from typing import Any

from torch import distributed


def rank_and_count() -> tuple[int, int]:
    """Number of this process, and how many there are.

    Returns:
        (0, 1) where there is one.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gathered(value: Any) -> list[Any]:
    """What every process holds, in the order of their numbers; all processes call it.

    Args:
        value: This process's own.

    Returns:
        One value a process.
    """
    _, count = rank_and_count()
    if count == 1:
        return [value]
    everyone: list[Any] = [None] * count
    distributed.all_gather_object(everyone, value)
    return everyone


def wait() -> None:
    """Waits until every process has come here."""
    if rank_and_count()[1] > 1:
        distributed.barrier()
