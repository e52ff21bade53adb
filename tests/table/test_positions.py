"""A table goes by its column position, however somebody has sorted it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import gradsift
from gradsift import Audit
from gradsift.errors import RunDirectoryError
from gradsift.stages import rescore


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("positions")
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((40, 3), dtype=np.float32), np.arange(40) % 2
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).eval()
    audit = gradsift.audit(model, (x, y), contamination=0.1, output=folder / "run", show_progress=False)
    return rescore(audit, audit.table["loss"].to_numpy(), "own", contamination=0.1), folder


@pytest.mark.parametrize("order", ["by score", "reversed", "shuffled"])
def test_a_table_that_was_sorted_otherwise_says_the_same(audited, order):
    audit, folder = audited
    rows = {
        "by score": np.argsort(-audit.table["score"].to_numpy()),
        "reversed": np.arange(40)[::-1],
        "shuffled": np.random.default_rng(1).permutation(40),
    }[order]
    path = folder / f"{order}.parquet"
    pq.write_table(audit.table.take(rows), path)
    again = Audit.open(audit.run.path, audit.train_set, table=path)
    assert again.flagged_positions.tolist() == audit.flagged_positions.tolist()
    assert again.kept.tolist() == audit.kept.tolist()
    assert again.worst(5).equals(audit.worst(5))
    assert (again.trim()[1] == audit.trim()[1]).all()
    assert (again.trim()[0] == audit.trim()[0]).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*range(39), 5], r"several rows for the positions 5: one row a sample"),
        ([place for place in range(40) if place not in (3, 30)], r"no row for the positions 3, 30"),
        (range(30), r"has 30 rows, .* 40 samples: keep one row a sample"),
    ],
    ids=["repeated", "missing", "the end is missing"],
)
def test_rows_that_are_missing_or_repeated_are_refused(audited, rows, message):
    audit, folder = audited
    path = folder / "wrong.parquet"
    pq.write_table(audit.table.take(pa.array(rows)), path)
    with pytest.raises(RunDirectoryError, match=message):
        Audit.open(audit.run.path, table=path)


def test_a_table_without_positions_is_refused(audited):
    audit, folder = audited
    pq.write_table(audit.table.drop_columns("position"), folder / "none.parquet")
    with pytest.raises(RunDirectoryError, match="has no column position"):
        Audit.open(audit.run.path, table=folder / "none.parquet")
