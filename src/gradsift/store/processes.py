"""Several processes of one training or audit, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from torch import distributed

from gradsift.errors import GradsiftError, SettingError

T = TypeVar("T")


def rank_and_count() -> tuple[int, int]:
    """Number of this process, and how many there are.

    Returns:
        (0, 1) where there is one.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def refuse_unconnected() -> None:
    """Refuses to work beside other processes that the same launcher has started, and that would do the same again.

    Raises:
        SettingError: There are some, and they are not connected.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if distributed.is_available() and distributed.is_torchelastic_launched() and rank_and_count()[1] < count:
        raise SettingError(
            f"this is one of {count} processes that torchrun or accelerate launch has started, and they are not connected: "
            "make an accelerate.Accelerator(), or call torch.distributed.init_process_group, before the audit. Commands "
            "share the work by --part or --engine ray instead"
        )


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


def together(action: Callable[[], T]) -> T:
    """Runs an action on every process and waits for all; where it fails on one, it fails on all.

    Args:
        action: What each process does.

    Returns:
        This process's own result.

    Raises:
        GradsiftError: It failed on another process.
    """
    try:
        value, problem = action(), None
    except Exception as error:
        if rank_and_count()[1] == 1:
            raise
        value, problem = None, error
    problems = gathered(None if problem is None else f"{type(problem).__name__}: {problem}")
    if problem is not None:
        raise problem
    for rank, other in enumerate(problems):
        if other is not None:
            raise GradsiftError(f"process {rank} failed: {other}")
    return value  # type: ignore[return-value]  # there was no problem, so it is the action's


def leading(action: Callable[[], T]) -> T | None:
    """Runs an action on the first process while the others wait; where it fails, it fails on all.

    Args:
        action: What the first process does.

    Returns:
        Its result on the first process, ``None`` on the others.
    """
    return together(action if rank_and_count()[0] == 0 else lambda: None)  # type: ignore[arg-type,return-value]  # None on all processes but the first
