"""An audit ranked by other scores."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import gradsift
from gradsift import Audit
from gradsift.errors import DataError, RunDirectoryError
from gradsift.stages import rescore


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    data = (torch.randn(40, 5, generator=generator), torch.randint(0, 3, (40,), generator=generator))
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "x"
    return data, gradsift.audit(nn.Sequential(nn.Linear(5, 3)).eval(), data, output=path, show_progress=False)


def test_the_new_scores_rank_flag_and_trim(audited):
    data, audit = audited
    scores = np.arange(40.0)
    before = audit.table
    other = rescore(audit, scores, "influence_x", contamination=0.1)
    assert other.detector == "influence_x"
    assert other.flagged_positions.tolist() == [39, 38, 37, 36]
    assert other.table["rank"].to_pylist() == list(range(40, 0, -1))
    assert other.table["score_l2"].equals(before["score_l2"])
    for unchanged in ("given_label", "predicted_label", "suggested_label", "wrong_probability", "loss", "id"):
        assert other.table[unchanged].equals(before[unchanged])
    assert len(other.trim(data)[0]) == 36
    assert "The share was given" in other.summary()
    assert audit.table is before
    assert "The share was given" not in audit.summary()


def test_the_automatic_cut_is_that_of_the_audit(audited):
    _, audit = audited
    assert len(rescore(audit, np.arange(40.0), "x").flagged_positions) == len(audit.flagged_positions)


def test_a_written_table_opens_with_its_run(audited, tmp_path):
    data, audit = audited
    other = rescore(audit, np.arange(40.0), "x", contamination=0.1)
    pq.write_table(other.table, tmp_path / "table.parquet")
    again = Audit.open(audit.run.path, data, table=tmp_path / "table.parquet")
    assert again.flagged_positions.tolist() == other.flagged_positions.tolist()
    assert again.summary() == other.summary()


def test_a_table_of_other_samples_is_refused(audited, tmp_path):
    _, audit = audited
    pq.write_table(audit.table.replace_schema_metadata({"gradsift": "{}"}), tmp_path / "table.parquet")
    with pytest.raises(RunDirectoryError, match="it is of other samples"):
        Audit.open(audit.run.path, table=tmp_path / "table.parquet")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        Audit.open(audit.run.path, table=tmp_path / "none.parquet")


@pytest.mark.parametrize("scores", [np.arange(39.0), np.full(40, np.nan), np.zeros((40, 2))])
def test_scores_that_are_not_one_finite_number_a_sample_are_refused(audited, scores):
    with pytest.raises(DataError, match="one finite number for each of 40"):
        rescore(audited[1], scores, "x")


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("regression", torch.randn(40)),
        ("multilabel", torch.randint(0, 2, (40, 3)).float()),
        ("binary", torch.randint(0, 2, (40,)).float()),
    ],
)
def test_other_tasks_keep_their_columns(task, labels, tmp_path):
    torch.manual_seed(0)
    data = (torch.randn(40, 5), labels)
    model = nn.Sequential(nn.Linear(5, 3 if task == "multilabel" else 1)).eval()
    audit = gradsift.audit(model, data, task=task, output=tmp_path / "x", show_progress=False)
    other = rescore(audit, audit.table["score"].to_numpy(), "same")
    for name in ("given_label", "predicted_label", "suggested_label", "flagged", "rank"):
        assert other.table[name].equals(audit.table[name]), name


def test_its_former_place_still_serves():
    from gradsift import cleaning

    with pytest.warns(DeprecationWarning, match=r"gradsift.rescore now"):
        assert cleaning.rescore is rescore
