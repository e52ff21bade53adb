"""Arrays with a number for each sample: in memory or in a temporary file, which makes no difference to their numbers."""

import errno

import numpy as np
import pytest

from gradsift import scratch
from gradsift.errors import OutputError
from gradsift.scratch import empty


@pytest.fixture(params=["in memory", "in a file"])
def place(request, monkeypatch):
    if request.param == "in a file":
        monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    return request.param


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def test_an_array_is_filled_and_sorted_like_any_other(place):
    array = empty(5)
    array[:] = [3.0, 1.0, 2.0, -1.0, 0.0]
    array.sort()
    assert array.tolist() == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert type(array) is np.ndarray
    assert is_mapped(array) == (place == "in a file")


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool, "<U3"])
def test_it_holds_numbers_of_any_type_and_shape(place, dtype):
    values = np.arange(6).reshape(3, 2).astype(dtype)
    found = empty(values.shape, values.dtype)
    found[...] = values
    assert np.array_equal(found, values)


def test_no_sample_needs_no_file(place):
    assert empty((0, 3), np.float32).shape == (0, 3)


def test_a_full_disk_is_an_error_that_says_so(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    monkeypatch.setattr(scratch.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OutputError, match="disk"):
        empty(10)
