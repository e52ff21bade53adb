"""Samples that are read together are those that are read alone."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch

from gradsift.data import Samples

ROWS, LABELS, WORDS = np.arange(24, dtype=np.float32).reshape(8, 3), np.arange(8) % 2, list("abcdefgh")
FRAME = pd.DataFrame({"a": ROWS[:, 0], "b": WORDS, "label": LABELS})
TABLE = pa.table({"a": ROWS[:, 0], "text": WORDS, "label": LABELS})
KINDS = {
    "arrays": (ROWS, LABELS),
    "tensors": (torch.from_numpy(ROWS), torch.from_numpy(LABELS)),
    "dict of columns": {"x": ROWS, "name": np.array(WORDS), "y": LABELS},
    "sparse matrix": (scipy.sparse.csc_matrix(ROWS), LABELS),
    "frame": FRAME,
    "frame and series": (FRAME[["a"]], FRAME["label"]),
    "table": TABLE,
    "table in chunks": pa.concat_tables([TABLE.slice(start, 3) for start in range(0, 8, 3)]),
    "tensor data set": torch.utils.data.TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS)),
    "data set of the hub": datasets.Dataset(TABLE),
}


@pytest.mark.parametrize("positions", [[0], [2, 5, 3], list(range(8))])
@pytest.mark.parametrize("kind", KINDS)
def test_together_and_alone(kind, positions):
    samples = Samples(KINDS[kind])
    several = samples.several(positions)
    assert [repr(one) for one in several] == [repr(samples.sample(position)) for position in positions]


def test_others_are_read_one_by_one():
    assert Samples(list(zip(ROWS, LABELS, strict=True))).several([0, 1]) is None
    assert Samples(datasets.Dataset(TABLE).with_format("torch")).several([0, 1]) is None


def test_a_tensor_data_set_that_reads_in_its_own_way_is_read_so():
    class Own(torch.utils.data.TensorDataset):
        def __getitem__(self, position):
            return tuple(column[position] * 0 for column in self.tensors)

    samples = Samples(Own(torch.ones(4, 2), torch.arange(4)))
    assert samples.several([0, 1]) is None
    assert samples.sample(1)[0].sum() == 0
