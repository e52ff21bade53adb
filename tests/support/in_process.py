"""The command line inside the process of the test, for tables of many calls."""

import sys
from dataclasses import dataclass

import pytest

from gradsift.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Both streams in one line."""
        return " ".join((self.out + self.err).split())


def call(capsys, monkeypatch, *arguments) -> Done:
    """Runs a command; what it leaves in ``sys.path`` and in the logging module is taken back by monkeypatch."""
    monkeypatch.setattr(sys, "argv", ["gradsift", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return Done(int(stopped.value.code or 0), out, err)
