"""Gradients of further families of transformers equal a loop over single samples, by whichever backend."""

import pytest
import torch

from gradsift.gradients import PerSampleGradients, Projection, Reductions
from tests.support.more_families import MORE
from tests.support.oracle import TransformersLoss, norms, oracle

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

EXACT = 1e-4
"""Largest error relative to the norm of a sample's gradient."""
KRONECKER = Projection(8)
IN_FAST = {"albert", "deberta-v2", "xlnet", "t5", "mamba", "mixtral", "swin", "convnext", "wav2vec2", "llava"}
"""One of each kind; the others run with the slow tests."""


@pytest.mark.parametrize(
    "family",
    [pytest.param(one, id=one.name, marks=() if one.name in IN_FAST else pytest.mark.slow) for one in MORE],
)
def test_a_further_family_equals_the_loop(family):
    model, batch = family.make(), family.batch(4)
    reductions = Reductions(l1=True, projection=KRONECKER)
    gradients = PerSampleGradients(model, family.task, family.batch(3), layers="all", reductions=reductions)
    truth = {name: g.double() for name, g in oracle(model, TransformersLoss(), batch, gradients.parameters).items()}
    l1, l2 = norms(truth)
    projected = sum(KRONECKER.sketch(name, tuple(g.shape[1:])).dense(g) for name, g in truth.items())
    found = gradients(batch).statistics
    assert (l2 > 0).all()
    for key, right, scale in (("l1", l1, l1), ("l2", l2, l2), ("projection", projected, 3 * l2)):
        error = (found[key].double() - right).reshape(len(scale), -1).abs().amax(dim=1) / scale
        assert (error <= EXACT).all(), (key, error.tolist())


def test_there_are_enough_families():
    assert len({family.name for family in MORE}) >= 24  # beside the eleven of test_families.py
    assert all(torch.is_tensor(value) for family in MORE for value in family.batch(2).values())
