"""Measurements in processes of their own: what a process answers, its memory, and what an audit in it takes."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

import gradsift
from frame.memory import kilobytes, reset_peak


def answer_of(script: str | Path, arguments: list[str], *, threads: int = 1) -> Any:
    """Runs a script in a fresh process.

    Args:
        script: The script.
        arguments: Its arguments.
        threads: Threads of the process.

    Returns:
        What its last line of JSON says.

    Raises:
        SystemExit: It failed.
    """
    count = str(threads)
    own = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def settle() -> None:
    """Gives back what loading has left over; the high-water mark starts here."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        reset_peak()


class Spent:
    """Seconds of the clock, seconds of computing and peak memory since it was made, on one thread."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        settle()
        self._began = kilobytes("VmRSS"), time.perf_counter(), time.process_time()

    def seconds(self) -> dict[str, float]:
        """``seconds`` and ``computing``."""
        return {"seconds": time.perf_counter() - self._began[1], "computing": time.process_time() - self._began[2]}

    def peak(self) -> int:
        """Bytes beyond what the process held before."""
        return 1024 * (kilobytes("VmHWM") - self._began[0])


def audited(
    model: Any, data: Any, *, about: Callable[[gradsift.Audit], dict[str, Any]], **settings: Any
) -> dict[str, Any]:
    """An audit in this process, measured.

    Args:
        model: The model.
        data: Its data set.
        about: What else is told of the audit.
        **settings: Settings of the audit.

    Returns:
        Seconds, seconds of computing, the audit's own seconds by stage, the peak in bytes, bytes of shards and of other
        files, the number of files, and what ``about`` gives.
    """
    audit_of = gradsift.audit  # loads it
    spent = Spent()
    with tempfile.TemporaryDirectory() as folder:
        audit = audit_of(model, data, output=Path(folder) / "run", show_progress=False, **settings)
        found: dict[str, Any] = spent.seconds()
        sizes = {path: path.stat().st_size for path in audit.run.path.rglob("*") if path.is_file()}
        shards = sum(size for path, size in sizes.items() if path.suffix == ".npy")
        return found | {
            "stages": audit.run.read_json("timing.json")["seconds"],
            "peak_bytes": spent.peak(),
            "shard_bytes": shards,
            "other_bytes": sum(sizes.values()) - shards,
            "files": len(sizes),
            **about(audit),
        }
