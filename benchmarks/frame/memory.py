"""Memory of this process, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path


def kilobytes(field: str) -> int:
    """One line of ``/proc/self/status``.

    Args:
        field: ``VmRSS``, what is resident now, or ``VmHWM``, the high-water mark.

    Returns:
        Kilobytes.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Sets the high-water mark to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
