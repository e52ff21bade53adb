"""How well heads that are cross-fitted on frozen features find wrong labels, after one round and after two.

    python benchmarks/heads.py FEATURES.npz [--labels KEY] [--flips symmetric|pair] [--seeds 2]

The file holds ``f`` (n, D) and ``label`` (n,), the true labels; ``--labels`` names the given ones in it, such as the human
labels of CIFAR-10N, and ``--flips`` plants 20 % wrong labels instead. One line a round: average precision of the default
posterior, its mean P(wrong) beside the true share, and how often heads (teachers) and the posterior's likeliest class are
right. The first round is the control of the second. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongLabelPosterior
from gradsift.evaluation import flip_labels
from gradsift.evidence import Evidence, cross_fit_heads
from gradsift.stages.cross_fit_heads import FOLDS, heads_in_rounds


def line_of(name: str, predictions: np.ndarray, features: np.ndarray, given: np.ndarray, true: np.ndarray) -> str:
    """Figures of one round in words."""
    evidence = Evidence(predictions, features, provenance={"predictions": "out-of-fold"})
    posterior = WrongLabelPosterior().fit(evidence, given)
    likely = posterior.true_class_probabilities(np.arange(len(given)))
    wrong = 1 - likely[np.arange(len(given)), given]
    return (
        f"{name}: AP {average_precision_score(given != true, wrong):.3f}, mean P(wrong) {wrong.mean():.3f} of "
        f"{(given != true).mean():.3f}, heads right {(predictions.argmax(axis=1) == true).mean():.3f}, "
        f"likeliest class right {(likely.argmax(axis=1) == true).mean():.3f}"
    )


def main() -> None:
    """Prints the figures of each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features")
    parser.add_argument("--labels")
    parser.add_argument("--flips", choices=("symmetric", "pair"), default="symmetric")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    data = np.load(options.features)
    features, true = data["f"], data["label"].astype(np.int64)
    for seed in range(options.seeds):
        given = flip_labels(true, 0.2, kind=options.flips, seed=seed)
        given = given if options.labels is None else data[options.labels].astype(np.int64)
        started = time.perf_counter()
        first = cross_fit_heads(features, given, folds=FOLDS, seed=seed, show_progress=False)
        middle = time.perf_counter()
        second = heads_in_rounds(features, given, seed=seed, show_progress=False)
        spent = (middle - started, time.perf_counter() - middle)
        for name, heads, seconds in zip(("one round", "two rounds"), (first, second), spent, strict=True):
            figures = line_of(name, heads.predictions, features, given, true)
            sys.stdout.write(f"seed {seed}, {figures}, {seconds:.1f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
