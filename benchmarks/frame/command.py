"""The command line of a benchmark: which data, which seeds, or only the page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch


def parser_of(doc: str | None, *, seeds: int | None = None, threads: int | None = 1) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take: ``--data``, ``--seeds``, ``--threads``, ``--write``.

    Args:
        doc: The benchmark's docstring.
        seeds: How many seeds are run where none are named; without ``--seeds`` where ``None``.
        threads: Threads of PyTorch; its own number where ``None``.

    Returns:
        The parser, to which a benchmark adds its own options.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("GRADSIFT_DATA")
    parser.add_argument("--data", type=Path, default=data and Path(data), help="folder of the data sets")
    if seeds is not None:
        parser.add_argument("--seeds", type=_numbers, default=list(range(seeds)), help="which seeds, with commas")
    parser.add_argument("--threads", type=int, default=threads, help="threads of PyTorch")
    parser.add_argument("--write", action="store_true", help="only write the page from the rows")
    return parser


def run_seeds(
    parser: argparse.ArgumentParser,
    run_seed: Callable[[argparse.Namespace, int], object],
    write: Callable[[], object],
    *,
    needs: Sequence[str] = ("data",),
) -> None:
    """Runs the seeds that are asked for, unless only the page is, and writes the page.

    Args:
        parser: From :func:`parser_of`.
        run_seed: Runs what is missing of a seed.
        write: Writes the page.
        needs: Options that rows cannot be made without.
    """

    def measure(asked: argparse.Namespace) -> None:
        for seed in asked.seeds:
            run_seed(asked, seed)

    run_once(parser, measure, write, needs=needs)


def run_once(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], object],
    write: Callable[[], object],
    *,
    needs: Sequence[str] = (),
) -> None:
    """The same for a benchmark without seeds.

    Args:
        parser: From :func:`parser_of`.
        measure: Runs what is missing.
        write: Writes the page.
        needs: Options that rows cannot be made without.
    """
    asked = parser.parse_args()
    if not asked.write:
        missing = [f"--{name}" for name in needs if getattr(asked, name) is None]
        if missing:
            parser.error(f"{' and '.join(missing)} needed")
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        measure(asked)
    write()


def quiet() -> None:
    """Neither progress bars nor advice from transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
