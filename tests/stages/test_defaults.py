import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.detectors import DETECTORS, get_detector
from gradsift.errors import SettingError
from gradsift.settings import AuditSettings
from gradsift.stages import Expected, choose_detectors, usual_detector
from gradsift.stages.defaults import DEFAULTS
from tests.support.parts import label_sets, values

ALL = frozenset({"predictions", "features", "inputs", "labels", "losses", "gradients"})


class Fixed(nn.Module):
    """Gives the last columns of its input, through a linear layer."""

    def __init__(self, evidence):
        super().__init__()
        self.head = nn.Linear(evidence.predictions.shape[1], evidence.predictions.shape[1], bias=False)
        self.head.weight.data = torch.eye(len(self.head.weight))

    def forward(self, x):
        return self.head(x[:, -len(self.head.weight) :])


def audited(evidence, task, **settings):
    rows = np.arange(len(evidence))
    outputs, inputs = evidence.predictions.rows(rows), (evidence.inputs or evidence.features).rows(rows)
    outputs = np.log(outputs / (1 - outputs)) if task == "multilabel" else outputs
    x = torch.from_numpy(np.concatenate([inputs, outputs], axis=1)).float()
    model = Fixed(evidence).eval()
    return gradsift.audit(model, (x, torch.from_numpy(evidence.labels)), task=task, show_progress=False, **settings)


@pytest.mark.parametrize(
    ("kind", "missing", "detector"),
    [
        ("class", (), "posterior"), ("class", ("gradients",), "posterior"), ("multilabel", (), "multilabel_posterior"),
        ("multilabel", ("labels",), "loss"), ("value", (), "value_posterior"), ("value", ("inputs",), "loss"),
        ("structured", (), "loss"),
        ("pair", (), "pair_posterior"), ("pair", ("gradients",), "loss"), (None, (), "l2"), (None, ("gradients",), "loss"),
    ],
)  # fmt: skip
def test_the_first_default_of_a_kind_whose_evidence_is_there(kind, missing, detector):
    assert usual_detector(Expected(ALL - set(missing), kind, last_layer=True)) == detector


@pytest.mark.parametrize(("more", "detector"), [({"features"}, "posterior"), ({"conditions"}, "posterior"), ((), "l2")])
def test_gradients_of_other_layers_rank_only_where_nothing_tells_more(more, detector):
    fields = (ALL - {"features"}) | set(more)
    assert usual_detector(Expected(fields, "class", last_layer=False)) == detector


def test_every_default_is_a_detector_that_fits_its_kind_and_ends_with_one_that_needs_little():
    for kind, defaults in DEFAULTS.items():
        for one in defaults:
            assert {one.detector, *one.columns} <= set(DETECTORS)
            assert all(get_detector(name).of_kind in (None, kind) for name in (one.detector, *one.columns))
        assert defaults[-1].needs <= {"gradients"}


def test_a_detector_of_another_kind_is_refused():
    with pytest.raises(SettingError, match="needs values to predict"):
        choose_detectors(AuditSettings(detector="value_posterior"), Expected(ALL, "class", last_layer=True))


def test_several_labels_are_ranked_flagged_and_suggested():
    evidence, wrong = label_sets(size=400)
    audit = audited(evidence, "multilabel")
    assert audit.detector == "multilabel_posterior"
    chosen = audit.flagged_positions
    assert wrong.any(axis=1)[chosen].mean() > 0.5
    right = np.where(wrong, 1 - evidence.labels, evidence.labels)
    suggested = audit.table["suggested_label"].to_pylist()
    hits = [suggested[position] == right[position].tolist() for position in chosen if wrong[position].any()]
    assert np.mean(hits) > 0.8
    assert suggested[next(p for p in range(400) if p not in chosen)] is None
    assert any(word in audit.worst(1)["reason"][0].as_py() for word in ("add label", "remove label"))
    assert len(audit.trim()[0]) == 400 - len(chosen)
    better = audit.correct(how="relabel")[1].numpy()
    assert (better != right).sum() < (evidence.labels != right).sum()
    assert np.array_equal(
        better[~audit.table["flagged"].to_numpy()], evidence.labels[~audit.table["flagged"].to_numpy()]
    )
    with pytest.raises(SettingError, match="several yes-or-no labels"):
        audit.correct(how="soft")


def test_values_are_ranked_flagged_and_expected_in_an_interval(tmp_path):
    evidence, wrong = values(size=400)
    audit = audited(evidence, "regression", output=tmp_path / "run")
    assert audit.detector == "value_posterior"
    chosen = audit.flagged_positions
    assert wrong[chosen].mean() > 0.8
    assert 0.5 * wrong.sum() < len(chosen) < 1.3 * wrong.sum()
    row = audit.worst(1).to_pylist()[0]
    assert row["suggested_low"] < row["suggested_label"] < row["suggested_high"]
    better = audit.correct(how="relabel")[1].numpy()
    assert better[row["position"]] == pytest.approx(row["suggested_label"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "expected" in page
    assert gradsift.Audit.open(tmp_path / "run").details["contamination"]["count"] == len(chosen)


def test_values_that_are_all_equal_are_refused():
    evidence, _ = values(size=60)
    with pytest.raises(gradsift.errors.DataError, match="all 60 values"):
        audited(evidence.with_(labels=np.ones(60)), "regression")


def test_images_have_no_table_of_inputs_and_plain_loss_is_their_default():
    x, y = torch.rand(40, 1, 4, 4), torch.rand(40)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).eval()
    audit = gradsift.audit(model, (x, y), task="regression", show_progress=False)
    assert audit.detector == "loss"
