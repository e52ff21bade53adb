"""The batch size is found from shapes alone, and halved when memory runs out."""

import gc
import logging

import pytest
import torch
from torch import nn

from gradsift.errors import ModelError
from gradsift.gradients import Batcher, PerSampleGradients, activation_bytes
from gradsift.gradients.batching import is_out_of_memory
from gradsift.tasks import Classification, get_task
from tests.support.cases import CASES

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:Using padding=.same.")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_fitting_size_is_a_power_of_two_and_always_the_same(case):
    task = get_task(case.task)
    sizes = {Batcher.fitting(case.make_model(), task, case.batch(n, seed=n)).size for n in (2, 4, 4)}
    (size,) = sizes
    assert 1 <= size <= 2048
    assert size & (size - 1) == 0


def wide(megabytes):
    return nn.Sequential(nn.Flatten(), nn.Linear(1, megabytes * 2**18), nn.AdaptiveAvgPool1d(3))


def test_heavier_activations_give_smaller_batches():
    batch = torch.randn(2, 1), torch.tensor([0, 1])
    sizes = [Batcher.fitting(wide(megabytes), Classification(), batch).size for megabytes in (1, 3, 20)]
    assert sizes == [32, 16, 2]


def test_a_sample_over_the_budget_gives_batches_of_one(monkeypatch):
    monkeypatch.setattr("gradsift.gradients.batching.CPU_BUDGET", 10)
    batch = torch.randn(2, 1), torch.tensor([0, 1])
    assert Batcher.fitting(wide(1), Classification(), batch).size == 1


def test_activation_bytes_are_those_of_one_sample():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    for n in (1, 4):
        batch = torch.randn(n, 5), torch.zeros(n, dtype=torch.long)
        assert activation_bytes(model, Classification(), batch) == 4 * (8 + 8 + 3)
    assert not any(module._forward_hooks for module in model.modules())


def test_shrinking_halves_down_to_one_and_then_gives_up(caplog):
    batcher, error = Batcher(8), MemoryError("full")
    seen = []
    with caplog.at_level(logging.WARNING):
        while batcher.size > 1:
            batcher.shrink(error)
            seen.append(batcher.size)
    assert seen == [4, 2, 1]
    assert "2 samples" in caplog.text
    with pytest.raises(ModelError, match=r'batch of one sample.*layers="last"') as caught:
        batcher.shrink(error)
    assert caught.value.__cause__ is error
    assert batcher.size == 1


@pytest.mark.parametrize("size", [3, 7, 100])
def test_sizes_that_are_no_power_of_two_shrink_to_whole_numbers(size):
    batcher = Batcher(size)
    batcher.shrink(MemoryError())
    assert batcher.size == size // 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=["cuda", "python", "cpu of Windows", "cpu of Linux", "shapes", "value", "interrupt"],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_out_of_memory():
    with pytest.raises(Exception, match="allocate") as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_batch_leaves_no_tensor_behind():
    def alive():
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    batch = torch.randn(4, 5), torch.arange(4) % 3
    backend = PerSampleGradients(model, "classification", batch, layers="all")
    backend(batch)
    before = alive()
    for _ in range(3):
        backend(batch)
    assert alive() == before
