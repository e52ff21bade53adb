"""The walk over batches: order, errors that name samples, batches that shrink."""

import numpy as np
import pytest
import torch

from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.gradients import Batcher
from gradsift.gradients.batches import each_batch

POSITIONS = np.array([7, 1, 4, 8, 2])


def samples(broken=()):
    values = torch.arange(10.0)[:, None]
    values[list(broken)] = torch.nan
    return Samples((values, torch.zeros(10)))


def test_batches_come_in_the_order_of_the_positions():
    results = list(each_batch(lambda _, batch: batch[0][:, 0].tolist(), samples().batch, POSITIONS, 2))
    assert [values for _, values in results] == [[7, 1], [4, 8], [2]]
    assert [positions.tolist() for positions, _ in results] == [[7, 1], [4, 8], [2]]


def test_batches_go_to_the_models_precision():
    model = torch.nn.Linear(1, 1).double()
    ((_, dtype),) = each_batch(lambda _, batch: batch[0].dtype, samples().batch, POSITIONS, 5, model=model)
    assert dtype == torch.float64


def test_errors_about_rows_name_samples():
    def refuse(_positions, batch):
        raise SampleError("the label is wrong", [len(batch[0]) - 1], "mend it")

    with pytest.raises(DataError, match="at positions 1"):
        list(each_batch(refuse, samples().batch, POSITIONS, 2))


def test_inputs_that_are_not_finite_are_named_unless_they_may_be():
    with pytest.raises(DataError, match="positions 4 hold NaN"):
        list(each_batch(lambda _, batch: batch, samples([4]).batch, POSITIONS, 2))
    assert len(list(each_batch(lambda _, batch: batch, samples([4]).batch, POSITIONS, 2, finite=False))) == 3


def test_a_batcher_halves_batches_when_memory_runs_out():
    def scarce(_positions, batch):
        if len(batch[0]) > 1:
            raise MemoryError
        return len(batch[0])

    assert [size for _, size in each_batch(scarce, samples().batch, POSITIONS, Batcher(4))] == [1] * 5
    with pytest.raises(MemoryError):
        list(each_batch(scarce, samples().batch, POSITIONS, 4))


def test_memory_that_runs_out_with_one_sample_says_what_to_do():
    def impossible(_positions, _batch):
        raise MemoryError

    with pytest.raises(ModelError, match="a batch of one sample"):
        list(each_batch(impossible, samples().batch, POSITIONS, Batcher(2)))
