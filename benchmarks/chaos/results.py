"""The rows of the attacks, in one file for each of them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from frame.rows import RESULTS, add, machine
from frame.rows import read as read_rows

from chaos.stage import Row

ATTACKS = ("kills", "pairs", "flips", "damaged", "full_disk", "inputs", "conventions", "identity")
KEY = ("attack", "seed", "number")


def path_of(name: str, folder: Path | None = None) -> Path:
    """The file of an attack's rows.

    Args:
        name: The attack.
        folder: Where; ``benchmarks/results`` where left out.
    """
    return (folder or RESULTS) / f"chaos_{name}.parquet"


def read(name: str, folder: Path | None = None) -> list[Row]:
    """The rows of an attack; none where it has not run.

    Args:
        name: The attack.
        folder: Where.
    """
    return read_rows(path_of(name, folder))


def keep(name: str, seed: int, rows: list[Row], folder: Path | None = None) -> None:
    """Keeps the rows of an attack in the place of all older ones.

    Args:
        name: The attack.
        seed: Its seed.
        rows: The rows.
        folder: Where.
    """
    path_of(name, folder).unlink(missing_ok=True)
    about = {"attack": name, "seed": seed, "version": version("gradsift"), "machine": machine()}
    add(path_of(name, folder), [about | {"number": number} | row for number, row in enumerate(rows)], KEY)
