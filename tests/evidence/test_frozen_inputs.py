"""Inputs that look like features of a frozen model."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits

from gradsift.data import Samples
from gradsift.evidence.frozen_inputs import frozen_features, frozen_inputs

EMBEDDED = np.random.default_rng(0).standard_normal((300, 80)).astype(np.float32)
LABELS = np.arange(300) % 3


@pytest.mark.parametrize(
    ("inputs", "taken"),
    [
        (EMBEDDED, True),
        (torch.from_numpy(EMBEDDED), True),
        (torch.from_numpy(EMBEDDED).requires_grad_(), True),
        (torch.from_numpy(EMBEDDED).to(torch.bfloat16), True),
        (np.where(EMBEDDED > 3, np.nan, EMBEDDED), False),  # a table with missing values
        (sparse.csr_matrix(EMBEDDED), False),
        (np.maximum(EMBEDDED, 0.5), True),  # a rectifier repeats its zero in two thirds of the values
        (np.maximum(EMBEDDED, 1.5), False),  # texts as weighted words
        (EMBEDDED[:, :63], False),
        (EMBEDDED.astype(int), False),
        ((EMBEDDED > 0).astype(np.float32), False),  # an encoded table
        (EMBEDDED.reshape(300, 8, 10), False),
        (np.tile(load_digits().data[:300], 2), False),  # pixels
        (EMBEDDED[:1], False),
    ],
)
def test_by_their_looks(inputs, taken):
    labels = LABELS[: inputs.shape[0]]
    found = frozen_inputs(Samples((inputs, torch.from_numpy(labels) if torch.is_tensor(inputs) else labels)))
    assert (found is not None) == taken
    if taken:
        np.testing.assert_array_equal(found, inputs.detach().float() if torch.is_tensor(inputs) else inputs)


def test_data_sets_of_other_kinds_have_none():
    frame = pd.DataFrame(EMBEDDED[:, :5]).assign(label=LABELS)
    for data in (frame, [{"x": EMBEDDED[0], "label": 0}, {"x": EMBEDDED[1], "label": 1}]):
        assert frozen_inputs(Samples(data)) is None


def test_what_the_user_says_stands_first():
    samples, told = Samples((EMBEDDED, LABELS)), []
    assert frozen_features(False, samples, told.append) is None
    assert frozen_features(EMBEDDED[:, :2], samples, told.append).shape == (300, 2)
    assert not told
    assert frozen_features(None, samples, told.append) is not None
    assert "features=False (--features none)" in told[0]
