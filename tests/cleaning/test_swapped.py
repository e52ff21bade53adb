"""Pairs that are turned around: which columns change places, and which stay."""

import numpy as np
import pyarrow as pa
import pytest

from gradsift.cleaning.cure import Cure
from gradsift.cleaning.swapped import SWAPPED, swapped
from gradsift.errors import DataError


def turning(*which, pairs=None):
    given = np.zeros(len(which), dtype=np.int64)
    return Cure("relabel", given, np.arange(len(which)), labels=np.array(which, dtype=np.int64), pairs=pairs)


def test_all_that_belongs_to_an_answer_moves_with_it():
    table = pa.table({"chosen": ["a", "b"], "rejected": ["c", "d"], "ref_chosen_logps": [1.0, 2.0],
                      "ref_rejected_logps": [3.0, 4.0], "prompt": ["p", "q"]})  # fmt: skip
    new = swapped(table, turning(0, 1)).to_pydict()
    assert (new["chosen"], new["rejected"]) == (["a", "d"], ["c", "b"])
    assert (new["ref_chosen_logps"], new["ref_rejected_logps"]) == ([1.0, 4.0], [3.0, 2.0])
    assert (new["prompt"], new[SWAPPED]) == (["p", "q"], [False, True])


def test_columns_whose_names_only_contain_those_of_the_answers_stay():
    rows = [{"w": "good", "l": "bad", "low": 1, "lol": 2, "w_score": 0.5, "l_score": 0.1}]
    assert swapped(rows, turning(1, pairs=("w", "l"))) == [
        {"w": "bad", "l": "good", "low": 1, "lol": 2, "w_score": 0.1, "l_score": 0.5, SWAPPED: True}
    ]


def test_data_without_these_columns_are_refused():
    with pytest.raises(DataError, match="no columns 'chosen' and 'rejected': the columns are text"):
        swapped([{"text": "a"}], turning(1))
