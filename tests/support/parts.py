"""Evidence of several labels, or of values, a sample, with known errors."""

import numpy as np

from gradsift.evidence import Evidence


def label_sets(size=300, classes=4, seed=0, *, features=True):
    """Evidence whose first tenth has one label turned, and which cells are wrong."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(size, 5))
    true = (inputs @ generator.normal(size=(5, classes)) > 0).astype(np.int64)
    predictions = 1 / (1 + np.exp(-(4 * (true - 0.5) + generator.normal(size=true.shape))))
    wrong = np.zeros(true.shape, dtype=bool)
    wrong[np.arange(size // 10), generator.integers(0, classes, size // 10)] = True
    known = {"features": inputs} if features else {}
    return Evidence(predictions, labels=np.where(wrong, 1 - true, true), kind="multilabel", **known), wrong


def values(size=300, targets=1, seed=0):
    """Evidence of noise that grows along the second input, whose first tenth is swapped, and which samples are wrong."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-1, 1, (size, 3))
    right = np.stack([3 * inputs[:, 0] + target for target in range(targets)], axis=1)
    labels = right + (0.05 + 0.5 * (inputs[:, 1:2] > 0.5)) * generator.normal(size=right.shape)
    wrong = np.arange(size) < size // 10
    labels[wrong] = labels[wrong][generator.permutation(wrong.sum())]
    predictions = right + 0.1 * generator.normal(size=right.shape)
    given = labels[:, 0] if targets == 1 else labels
    return Evidence(predictions, labels=given, inputs=inputs, kind="value"), wrong
