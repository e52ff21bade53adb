"""Rows of an array in shards are those of the array, however they are asked for."""

import numpy as np
import pytest

from gradsift.errors import RunDirectoryError
from gradsift.store.arrays import ShardedArray

WHOLE = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
CUTS = [0, 7, 7, 8, 20]  # one shard is empty


@pytest.fixture
def sharded(tmp_path):
    paths = [tmp_path / f"{place}.npy" for place in range(len(CUTS) - 1)]
    for path, start, stop in zip(paths, CUTS, CUTS[1:], strict=False):
        np.save(path, WHOLE[start:stop] if stop > start else np.empty((0, 3), np.float32))
    return ShardedArray(paths, np.diff(CUTS).tolist())


def test_any_piece_is_read(sharded):
    for start in range(20):
        for stop in range(start + 1, 21):
            np.testing.assert_array_equal(sharded.rows(np.arange(start, stop)), WHOLE[start:stop])


@pytest.mark.parametrize("rows", [[3, 19, 3], [5, 4], [0, 1, 3], [], [[0, 1], [8, 9]]])
def test_any_rows_are_read_in_their_order(sharded, rows):
    rows = np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(sharded.rows(rows), WHOLE[rows])


@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_is_cut_short_is_told(sharded, again):
    if again:
        sharded.rows(np.arange(20))  # the header is known by now
    path = sharded._paths[3]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunDirectoryError, match="corrupt"):
        sharded.rows(np.arange(20))
