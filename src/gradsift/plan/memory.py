"""How much memory a stretch of work takes at most."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch


class HostMemory:
    """Most memory that this process takes beyond what it holds when this is made.

    On Linux the process's high-water mark (``VmHWM``, ``ru_maxrss``) starts anew; elsewhere it cannot, and what was taken
    before hides as much of what is taken later.
    """

    def __init__(self) -> None:
        self._base = _status("VmRSS")
        self.restart()

    def restart(self) -> None:
        """Forgets the peak so far, where the system allows it."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most so far, in bytes.

        Returns:
            Bytes; 0 where the system does not tell.
        """
        return max(0, _status("VmHWM") - self._base)


class DeviceMemory:
    """The same of a GPU, as its allocator counts.

    Args:
        device: Where the model lies.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._base = torch.cuda.memory_allocated(device)

    def peak(self) -> int | None:
        """The most so far, in bytes.

        Returns:
            Bytes; ``None`` on the CPU.
        """
        return torch.cuda.max_memory_allocated(self._device) - self._base if self._device.type == "cuda" else None


def _status(field: str) -> int:
    """A line of ``/proc/self/status`` in bytes; elsewhere the peak so far, or 0 where there is not even that."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0
