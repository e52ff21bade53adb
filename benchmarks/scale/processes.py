"""Starts audits in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent


def start(*arguments: object, threads: int = 1) -> subprocess.Popen[str]:
    """Starts ``scale.child``.

    Args:
        *arguments: Its arguments.
        threads: Threads that it computes with.
    """
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "scale.child", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(*arguments: object, threads: int = 1) -> dict[str, Any]:
    """What an audit says at its end.

    Args:
        *arguments: As for :func:`start`.
        threads: As there.
    """
    child = start(*arguments, threads=threads)
    out, err = child.communicate()
    if child.returncode:
        raise SystemExit(f"{arguments}: {err[-2000:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found
