"""Small audited runs, and decisions about their samples."""

import numpy as np

import gradsift
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.sample_content import SampleContent

CLASSES = ["cat", "dog", "fox"]


def data_with_flips(size=60, *, seed=0, flipped=8):
    """Three separate classes, of which some labels are wrong: X, given labels, true labels."""
    generator = np.random.default_rng(seed)
    true = np.arange(size) % 3
    inputs = (np.eye(3)[true] * 4 + generator.normal(size=(size, 3))).astype(np.float32)
    given = true.copy()
    wrong = generator.choice(size, flipped, replace=False)
    given[wrong] = (true[wrong] + 1) % 3
    return inputs, given, true


def audited(output, *, size=60, seed=0, flipped=8, data=True, overwrite=False):
    """An audit of predictions in a run directory, with its data set and true labels."""
    inputs, given, true = data_with_flips(size, seed=seed, flipped=flipped)
    probabilities = np.exp(inputs) / np.exp(inputs).sum(axis=1, keepdims=True)
    audit = gradsift.audit_predictions(
        given, probabilities, features=inputs, class_names=CLASSES, data=(inputs, given) if data else None,
        output=output, overwrite=overwrite, show_progress=False,
    )  # fmt: skip
    return audit, (inputs, given), true


def decided(audit, position, kind="keep", label=None, *, reviewer="ann", **fields):
    """A decision about a sample of an audit."""
    samples = None if audit.train_set is None else audit.samples_of(audit.train_set)
    content = SampleContent(audit, samples).hash(position)
    return Decision(position, str(position), content, reviewer, kind, label, **fields)
