"""Draws of wrong labels on features of a pretrained network, with what the audit says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gain import features
from gain.regimes import pair
from quality import sources
from quality.regimes import instance, planted

from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.evidence import evidence_of_arrays

SAMPLES, COMPONENTS = 3_000, 48
"""Images and principal components of their features: what one thread scores in a minute."""
HUMAN = ("n_aggre_label", "n_worse_label", "n_random_label1")
REGIMES: dict[str, tuple[str, str | Callable]] = {
    "aggregate": ("CIFAR-10N, aggregate of three people", "n_aggre_label"),
    "random1": ("CIFAR-10N, first annotator", "n_random_label1"),
    "worst": ("CIFAR-10N, worst annotator", "n_worse_label"),
    "symmetric-20": ("CIFAR-10, symmetric 20 %", planted(0.2)),
    "pair-20": ("CIFAR-10, pairs 20 %", pair(0.2)),
    "instance-40": ("CIFAR-10, instance-dependent 40 %", instance(0.4)),
}
"""Name to words and where wrong labels come from. The list was committed before the first run; none is taken out."""


@dataclass(frozen=True)
class Draw:
    """Some images with labels of which some are wrong.

    Attributes:
        inputs: Features, shape (n, D).
        given: Given labels, shape (n,).
        true: True labels, shape (n,).
        ambiguous: Images whose first annotator differs from the aggregate of three in CIFAR-10N, shape (n,), boolean.
        votes: What they said, shape (3, n).
        test: Features and labels of other images.
        prior: Probability that each given label is wrong, shape (n,).
        other: The class that is likeliest where the given label is wrong, shape (n,).
        predictions: Probabilities by heads that have not seen the sample, shape (n, K).
    """

    inputs: np.ndarray
    given: np.ndarray
    true: np.ndarray
    ambiguous: np.ndarray
    votes: np.ndarray
    test: tuple[np.ndarray, np.ndarray]
    prior: np.ndarray
    other: np.ndarray
    predictions: np.ndarray


def draw(data: Path, cache: Path, name: str, seed: int) -> Draw:
    """A draw of a regime: which images, which labels are wrong where they are planted, and the heads' seed."""
    found, rows = features.of_images(data, cache), features.image_rows()
    chosen = np.sort(np.random.default_rng([seed, 18]).choice(len(rows), SAMPLES, replace=False))
    mean = found["train"].mean(axis=0)
    axes = np.linalg.eigh(np.cov(found["train"], rowvar=False))[1][:, -COMPONENTS:]
    inputs, tested = (((found[part] - mean) @ axes).astype(np.float32) for part in ("train", "test"))
    inputs = inputs[chosen]
    true = sources.cifar10_labels(data, "train", "label")[rows][chosen]
    votes = np.stack([sources.cifar10_labels(data, "train", column)[rows][chosen] for column in HUMAN])
    source = REGIMES[name][1]
    if callable(source):
        import torch

        given = source(torch.from_numpy(inputs / inputs.std(axis=0)), true, seed)
    else:
        given = votes[HUMAN.index(source)]
    known = evidence_of_arrays(given, features=inputs)
    evidence = evidence_of_features(known, seed=seed, show_progress=False)
    posterior = WrongLabelPosterior(random_state=seed).fit(evidence, given)
    everything = np.arange(SAMPLES)
    believed = posterior.true_class_probabilities(everything)
    other = believed.copy()
    other[everything, given] = -1.0
    return Draw(
        inputs, given, true, votes[0] != votes[2], votes,
        (tested, sources.cifar10_labels(data, "test", "label")[: features.IMAGES["test"]]),
        1.0 - believed[everything, given], other.argmax(axis=1), evidence.predictions.rows(everything),
    )  # fmt: skip
