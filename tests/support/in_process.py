"""The command line inside the process of the test, which has torch loaded already."""

import contextlib
import io
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gradsift.cli import main


def gradsift(*arguments, cwd=None, check=True) -> CompletedProcess:
    """Runs a command as if in a process of its own.

    Modules that it has imported from ``cwd``, and what it has added to ``sys.path``, are taken back.

    Args:
        *arguments: The command and its arguments.
        cwd: Folder in which it runs; the present one where left out.
        check: Whether it must succeed.

    Returns:
        Exit code and both streams, as ``subprocess.run`` gives them.
    """
    here, loaded, streams = Path(cwd or Path.cwd()).resolve(), set(sys.modules), (io.StringIO(), io.StringIO())
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        patch.setattr(sys, "argv", ["gradsift", *map(str, arguments)])
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("COLUMNS", "200")
        patch.setenv("NO_COLOR", "1")
        before = Path.cwd()
        os.chdir(here)
        try:
            with pytest.raises(SystemExit) as stopped:
                main()
        finally:
            os.chdir(before)
            for name in set(sys.modules) - loaded:
                if here in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
                    del sys.modules[name]
    done = CompletedProcess(arguments, int(stopped.value.code or 0), streams[0].getvalue(), streams[1].getvalue())
    assert done.returncode == 0 or not check, done.stderr
    return done


def words(done: CompletedProcess) -> str:
    """Both streams in one line."""
    return " ".join((done.stdout + done.stderr).split())
