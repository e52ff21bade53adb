import numpy as np
import pytest
import torch

from gradsift.detectors.largest import BLOCK, largest


@pytest.mark.parametrize(
    ("size", "count"), [(5, 5), (BLOCK * 20 - 1, 10), (BLOCK * 20, 10), (1000, 7), (1013, 50), (10_000, 50)]
)
def test_as_torch_finds_them(size, count):
    rows = torch.randn(9, size, generator=torch.Generator().manual_seed(size))
    rows[3, size // 2] = -torch.inf
    rows[4] = torch.arange(size)  # the largest stand together
    most, columns = largest(rows, count)
    expected = rows.topk(count, dim=1)
    np.testing.assert_array_equal(most, expected.values)
    np.testing.assert_array_equal(columns, expected.indices)
    assert (most.dtype, columns.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("size", [90, 2000])
def test_of_equal_numbers_the_first_are_taken(size):
    rows = torch.zeros(3, size)
    rows[1, size - 10 :] = 1
    rows[2] = torch.randint(-1, 2, (size,), generator=torch.Generator().manual_seed(0))
    expected = rows.sort(dim=1, descending=True, stable=True)
    most, columns = largest(rows, 20)
    np.testing.assert_array_equal(most, expected.values[:, :20])
    np.testing.assert_array_equal(columns, expected.indices[:, :20])


def test_rows_that_are_not_numbers_are_as_torch_has_them():
    rows = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    rows[2, 300:] = torch.nan
    np.testing.assert_array_equal(largest(rows, 5)[0], rows.topk(5, dim=1).values)


def test_no_rows():
    assert largest(torch.empty(0, 500), 3)[1].shape == (0, 3)
