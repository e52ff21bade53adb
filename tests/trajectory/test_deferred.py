import itertools

import numpy as np
import pytest
import torch

from gradsift.tasks import Classification
from gradsift.trajectory.checkpoints import first_places
from gradsift.trajectory.deferred import DeferredPasses


@pytest.fixture
def passes():
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.arange(5) + 5 * number,
            torch.randint(0, 3, (5,), generator=generator),
            torch.randn(5, 3, generator=generator),
            torch.randn(5, 4, generator=generator),
        )
        for number in range(4)
    ]


def test_statistics_are_those_of_the_last_layer_s_gradient(passes):
    step = itertools.count(0, 10)
    deferred = DeferredPasses(Classification(), lambda: next(step))
    for positions, labels, logits, features in passes:
        outputs, inputs = logits.clone(), features.clone()
        deferred.keep(positions, labels, outputs, inputs)
        outputs.zero_()  # as a training may change them
        inputs.zero_()
    steps, statistics = deferred.statistics()
    np.testing.assert_array_equal(steps, np.repeat([0, 10, 20, 30], 5))
    assert statistics["positions"].tolist() == list(range(20))
    labels, logits, features = (torch.cat(column) for column in list(zip(*passes, strict=True))[1:])
    residual = logits.softmax(dim=1) - torch.nn.functional.one_hot(labels, 3)
    gradients = residual[:, :, None] * features[:, None, :]
    torch.testing.assert_close(statistics["l1"], gradients.abs().sum(dim=(1, 2)))
    torch.testing.assert_close(statistics["l2"], gradients.square().sum(dim=(1, 2)).sqrt())
    torch.testing.assert_close(statistics["predictions"], logits.softmax(dim=1).half())
    assert deferred.statistics() is None


def test_half_precision_waits_as_it_is_and_is_reduced_in_single_precision(passes):
    found = []
    for kind in (torch.bfloat16, torch.float32):
        deferred = DeferredPasses(Classification(), int)
        for positions, labels, logits, features in passes:
            deferred.keep(positions, labels, logits.bfloat16().to(kind), features.bfloat16().to(kind))
        found.append(deferred.statistics()[1])
    for name, values in found[1].items():
        assert torch.equal(found[0][name], values), name


def test_a_pass_is_of_the_step_at_which_it_was_kept(passes):
    steps = [3, 7, 7]
    deferred = DeferredPasses(Classification(), steps.pop)
    for positions, labels, logits, features in passes[:3]:
        deferred.keep(positions, labels, logits, features)
    np.testing.assert_array_equal(deferred.statistics()[0], np.repeat([7, 7, 3], 5))


def test_a_sample_counts_where_it_stands_first():
    positions = np.array([4, 2, 4, 0, 2, 9])
    rows, places = first_places(positions, 10)
    np.testing.assert_array_equal(rows, [0, 1, 3, 5])
    np.testing.assert_array_equal(places, [4, 2, 0, 9])
    assert first_places(positions[:0], 10)[0].size == 0


def test_where_all_samples_are_there_they_are_put_in_order():
    positions = np.array([2, 0, 2, 1])
    rows, places = first_places(positions, 3)
    assert places == slice(None)
    np.testing.assert_array_equal(positions[rows], [0, 1, 2])
    np.testing.assert_array_equal(rows, [1, 3, 0])
