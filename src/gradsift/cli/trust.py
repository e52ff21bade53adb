"""Which code of a configuration may run that the user has not written: law 7 of the design."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from gradsift.errors import UntrustedCodeError
from gradsift.locations import Location

TrustRunOption = Annotated[
    bool,
    typer.Option("--trust-run", help="Run the code that config.yaml names: its model, task, transform and detectors."),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust", help="An import path of config.yaml, typed again, whose code may run. May be given several times."
    ),
]


@dataclass(frozen=True)
class Trust:
    """Decides whether an import path that stands in a configuration may be imported.

    Attributes:
        file: The configuration.
        everything: Whether all its code may run.
        paths: Import paths that the user has typed in this call.
    """

    file: Location
    everything: bool = False
    paths: frozenset[str] = frozenset()

    @classmethod
    def given(cls, file: Location, trust_run: bool, paths: Sequence[str] | None) -> Trust:
        """What the two options say.

        Args:
            file: The configuration.
            trust_run: ``--trust-run``.
            paths: ``--trust``.

        Returns:
            The decision.
        """
        return cls(file, trust_run, frozenset(paths or ()))

    def check(self, path: str, what: str) -> None:
        """Lets an import path pass, or not.

        Args:
            path: The import path in the configuration.
            what: What it is for.

        Raises:
            UntrustedCodeError: The user has allowed neither this path nor all of the file.
        """
        if not self.everything and path not in self.paths:
            raise UntrustedCodeError(
                f"{self.file} names code to run, {path!r} as its {what}, and whoever wrote that file can make it do "
                f"anything. If you trust it, give --trust {shlex.quote(path)}, or --trust-run for all code of that file"
            )
