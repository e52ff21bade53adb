"""Forward-INF against inner products: is it right, what does it find, and what does it cost?

    python benchmarks/forward_influence --data DIR                          # every part, five seeds
    python benchmarks/forward_influence --data DIR --part mislabel --seeds 0
    python benchmarks/forward_influence --write                             # docs/results-forward.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``fashion_mnist/``, ``mnist/``, ``cifar10/`` and ``models/``. Parts: ``mislabel``
(flipped labels, a clean validation set), ``retraining`` (linear datamodeling score and memorisation against retrained
models), ``leakage`` (training samples copied into the test set), ``facts`` (which sentence taught a language model a fact),
``diffusion`` (what a denoiser learnt from), ``cost`` (seconds against the number of targets).
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as forward_influence.<module>

from frame.command import parser_of, run_seeds  # noqa: E402
from frame.rows import machine  # noqa: E402

from forward_influence import page  # noqa: E402
from forward_influence.classifiers import part_leakage, part_mislabel, part_retraining  # noqa: E402
from forward_influence.cost import part_cost  # noqa: E402
from forward_influence.diffusion import part_diffusion  # noqa: E402
from forward_influence.facts import part_facts  # noqa: E402
from forward_influence.methods import ROWS, SEEDS  # noqa: E402

PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "mislabel": part_mislabel,
    "retraining": part_retraining,
    "leakage": part_leakage,
    "facts": part_facts,
    "diffusion": part_diffusion,
    "cost": part_cost,
}


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    """Every part that is missing of a seed."""
    for part in asked.part.split(","):
        if ROWS.have(part=part, seed=seed):
            continue
        started = time.perf_counter()
        found = PARTS[part](asked.data, seed)
        about = {"spent": time.perf_counter() - started, "machine": machine()}
        ROWS.add(*({"part": part, "seed": seed, "setting": setting, **one, **about} for setting, one in found.items()))
        print(f"{part}, seed {seed}: {about['spent']:.0f} s", flush=True)
        for setting, one in found.items():
            print(f"  {setting}: {one['about']}")
            for name, values in one["measures"].items():
                print(f"    {name:40s}", "  ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)


if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=SEEDS)
    parser.add_argument("--part", default=",".join(PARTS), help="which parts, with commas")
    logging.getLogger("gradsift").setLevel(logging.ERROR)
    run_seeds(parser, run_seed, page.write)
