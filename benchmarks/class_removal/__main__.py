"""Does a generalized influence function remove a class from a model better than other influence functions?

    python benchmarks/class_removal --data DIR                          # MNIST: ten seeds, minutes
    python benchmarks/class_removal --data DIR --solver conjugate-gradients
    python benchmarks/class_removal --data DIR --model cifar10          # the supplied ResNet-20: hours on one core
    python benchmarks/class_removal --data DIR --model backdoor         # poisoned samples of MNIST: minutes
    python benchmarks/class_removal --data DIR --model fashion_mnist    # unlearning of flagged samples: minutes
    python benchmarks/class_removal --write                             # docs/results-unlearning.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``mnist/``, ``fashion_mnist/``, ``cifar10/`` and ``models/``. Rows that are
there are not made again.

Seed s removes class s from a model. A method gives a direction in the weights, from the gradient of some of the class's
training samples and the Hessian of some training samples of other classes. The direction is made as long as a share of the
weights and added; the share is chosen on validation samples, never on test samples. The score is the paper's
F1 = 2 (1 - s) a / ((1 - s) + a) with s the accuracy on the removed class and a that on the others.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as class_removal.<module>

from frame.command import parser_of, run_seeds  # noqa: E402

from class_removal import page  # noqa: E402
from class_removal.page import SEEDS  # noqa: E402
from class_removal.removal import SELECTORS, run_removal  # noqa: E402
from class_removal.unlearning import run_unlearning  # noqa: E402


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    (run_unlearning if asked.model == "fashion_mnist" else run_removal)(asked, seed)


if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--model", choices=("mnist", "cifar10", "backdoor", "fashion_mnist"), default="mnist")
    parser.add_argument("--selector", choices=tuple(SELECTORS), default="gradients")
    parser.add_argument("--solver", choices=("fixed-point", "conjugate-gradients"), default="fixed-point")
    run_seeds(parser, run_seed, page.write)
