"""Tables of many rows lie in a temporary file; they are read, and written, like those in memory."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradsift.store import tables
from gradsift.store.tables import joined, numbers_of, read_table, write_table

ROWS = 2_000


def pieces():
    for start in range(0, ROWS, 300):
        stop = min(start + 300, ROWS)
        numbers = np.arange(start, stop)
        words = [f"no. {number}" if number % 7 else None for number in range(start, stop)]
        yield pa.table({"position": numbers, "reason": pa.array(words, pa.string()), "flagged": numbers % 3 == 0})


@pytest.fixture
def in_a_file(monkeypatch):
    monkeypatch.setattr(tables, "IN_MEMORY", 1_000)


def test_a_mapped_table_equals_one_in_memory(in_a_file):
    before = pa.total_allocated_bytes()
    mapped = joined(pieces(), ROWS)
    assert pa.total_allocated_bytes() - before < mapped.nbytes / 4
    assert mapped.combine_chunks().equals(pa.concat_tables(pieces()).combine_chunks())
    assert mapped["flagged"].to_numpy().sum() == len(range(0, ROWS, 3))
    assert mapped.take([1999, 0])["position"].to_pylist() == [1999, 0]


def test_both_are_written_with_the_same_bytes_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 256)
    write_table(joined(pieces(), ROWS), tmp_path / "memory.parquet")
    monkeypatch.setattr(tables, "IN_MEMORY", 1_000)
    write_table(joined(pieces(), ROWS), tmp_path / "mapped.parquet")
    assert (tmp_path / "mapped.parquet").read_bytes() == (tmp_path / "memory.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "mapped.parquet").num_row_groups == -(-ROWS // 256)
    again = read_table(tmp_path / "mapped.parquet")
    assert again.combine_chunks().equals(pq.read_table(tmp_path / "memory.parquet").combine_chunks())
    assert again["position"].num_chunks > 1  # piece by piece


def test_a_column_in_pieces_is_that_in_one_piece(in_a_file):
    mapped = joined(pieces(), ROWS)
    assert mapped["position"].num_chunks > 1
    for name in ("position", "flagged"):
        assert np.array_equal(numbers_of(mapped[name]), mapped[name].to_numpy())
        assert numbers_of(mapped[name]).dtype == mapped[name].to_numpy().dtype
    missing = pa.chunked_array([pa.array([1, None]), pa.array([2])])
    assert np.array_equal(numbers_of(missing), [1, np.nan, 2], equal_nan=True)
