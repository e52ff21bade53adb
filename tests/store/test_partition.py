"""Which samples each shard holds."""

import pytest

from gradsift.store.partition import Partition


@pytest.mark.parametrize(("samples", "size"), [(1, 1), (1, 10), (10, 3), (12, 4), (101, 16)])
def test_every_position_is_in_one_shard(samples, size):
    partition = Partition(samples, size)
    assert [row for shard in range(len(partition)) for row in partition.rows(shard)] == list(range(samples))
    assert [len(partition.positions(shard)) for shard in range(len(partition))] == partition.lengths
    assert partition.count(range(len(partition))) == samples
