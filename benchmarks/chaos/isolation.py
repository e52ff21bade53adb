"""Runs an action in a forked child: killed where an attack says so, watched by a clock, with all that it printed.

The parent has imported everything and done nothing else, so a child starts in milliseconds and knows nothing of the others.
Two deaths are exact: before the k-th operation on a file system, and in the middle of the write that makes a file larger
than so many bytes (the system's limit of file sizes, which C++ code cannot escape either). The third one is a clock's.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsift.errors import GradsiftError

EVENTS = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "fcntl.flock",
)
"""What Python tells of before it happens (docs.python.org/3/library/audit_events.html); ``os.fsync`` is added."""
NEED_ROOM = ("open", "os.fsync", "os.link", "os.mkdir", "os.symlink")
"""What fails on a full disk."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CRASHED = 70
"""Exit code of a child that ended in an error which gradsift does not raise on purpose."""


@dataclass(frozen=True)
class Death:
    """Where a child dies.

    Attributes:
        operation: Before which operation on the folder it attacks.
        size: In the write that makes a file larger than so many bytes.
        seconds: After so many seconds.
        full: It does not die, but from this operation on the disk is full: what needs room fails with ``ENOSPC``.
    """

    operation: int | None = None
    size: int | None = None
    seconds: float | None = None
    full: int | None = None

    def __str__(self) -> str:
        """For a row."""
        if self.operation is not None:
            return f"before operation {self.operation}"
        if self.full is not None:
            return f"disk full from operation {self.full} on"
        return f"at {self.size} bytes" if self.size is not None else f"after {self.seconds:.3f} s"


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: Its exit code, or minus the signal that ended it; ``None`` where it did not end in time.
        value: What the action returned, from plain values.
        words: What it printed.
        operations: How many operations on the folder there were.
    """

    code: int | None
    value: Any
    words: str
    operations: int

    @property
    def kind(self) -> str:
        """``"done"``, ``"refused"``, ``"hang"``, ``"traceback"`` or ``"killed"``."""
        if self.code is None:
            return "hang"
        if self.code < 0:
            return "killed"
        if self.code == CRASHED or "Traceback (most recent call last)" in self.words:
            return "traceback"
        return "done" if self.code == 0 else "refused"

    @property
    def tail(self) -> str:
        """The last words, for a row."""
        return " ".join(self.words.split())[-300:]


class Child:
    """An action in a forked process.

    Args:
        action: What it does; plain values come back.
        folder: Its working directory.
        death: Where it dies, if it does.
        gate: A pipe's end that it reads before it begins, so that several begin together.
    """

    def __init__(self, action: Callable[[], Any], folder: Path, *, death: Death | None = None, gate: int | None = None):
        self._death = death or Death()
        words, value = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(words[0])
            os.close(value[0])
            os.dup2(words[1], 1)
            os.dup2(words[1], 2)
            _live(action, folder, self._death, gate, value[1])
        os.close(words[1])
        os.close(value[1])
        self._words, self._value = words[0], value[0]

    def wait(self, timeout: float = 60.0) -> Ended:
        """Waits until it ends; ends it when time is up.

        Args:
            timeout: In seconds.
        """
        deadline = time.monotonic() + (self._death.seconds if self._death.seconds is not None else timeout)
        texts: dict[int, bytes] = {self._words: b"", self._value: b""}
        still_open, late = set(texts), False
        while still_open:
            ready = select.select(list(still_open), [], [], max(0.0, deadline - time.monotonic()))[0]
            if not ready and not late:
                late = True
                deadline += 5.0
                os.kill(self.pid, signal.SIGKILL)
            elif not ready:
                break  # a process that it left behind holds its output open
            for handle in ready:
                piece = os.read(handle, 1 << 16)
                texts[handle] += piece
                if not piece:
                    still_open.discard(handle)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._words)
        os.close(self._value)
        code: int | None = os.waitstatus_to_exitcode(status)
        if late and self._death.seconds is None and code == -signal.SIGKILL:
            code = None
        found = json.loads(texts[self._value] or b"{}")
        words = texts[self._words].decode(errors="replace")
        return Ended(code, found.get("value"), words, found.get("operations", 0))


def forked(action: Callable[[], Any], folder: Path, *, death: Death | None = None, timeout: float = 60.0) -> Ended:
    """Runs an action in a child and waits.

    Args:
        action: What it does.
        folder: Its working directory.
        death: Where it dies, if it does.
        timeout: In seconds.
    """
    return Child(action, folder, death=death).wait(timeout)


def _live(action: Callable[[], Any], folder: Path, death: Death, gate: int | None, answer: int) -> None:
    """The child's life; does not return."""
    code, found = CRASHED, b"{}"
    try:
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        os.chdir(folder)
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(folder))
        counter = _Counter(str(folder.resolve()), death)
        if death.size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, which would make it an error
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (death.size, death.size))
        if gate is not None:
            os.read(gate, 1)
        code, value = _tried(action)
        found = json.dumps({"value": value, "operations": counter.count}, default=str).encode()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.write(answer, found)
        os._exit(code)


def _tried(action: Callable[[], Any]) -> tuple[int, Any]:
    try:
        return 0, action()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None), None
    except GradsiftError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}")
        return 1, None
    except BaseException:  # noqa: BLE001  # whatever it is, the row tells of it
        traceback.print_exc()
        return CRASHED, None


class _Counter:
    """Counts operations on a folder; dies before one of them, or says from one of them on that the disk is full."""

    def __init__(self, folder: str, death: Death) -> None:
        self.count, self._folder, self._death = 0, folder, death
        flush = os.fsync

        def counted(handle: Any) -> None:
            self._step("os.fsync")
            flush(handle)

        os.fsync = counted
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS:
            return
        if event != "fcntl.flock":
            path = arguments[0]
            if isinstance(path, int) or not str(Path(os.fsdecode(path)).absolute()).startswith(self._folder):
                return
            if event == "open" and not arguments[2] & WRITES:
                return
        self._step(event)

    def _step(self, event: str) -> None:
        if self.count == self._death.operation:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        if self._death.full is not None and self.count > self._death.full and event in NEED_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
