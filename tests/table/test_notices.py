"""What a user must know before the scores are used, and that summary, manifest, page and terminal all say it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.cli.audit import tell
from gradsift.cli.console import console
from gradsift.geometry import Memorised
from gradsift.table import cut_notices, model_notices
from gradsift.table.notices import data_notices

LABELS = np.arange(1000) % 3
LOSSES = np.full(1000, 0.02)


def of_kind(notices, kind):
    return [notice.words for notice in notices if notice.kind == kind]


def fitting(labels, share, classes=3):
    wrong = round((1 - share) * len(labels))
    return np.concatenate([(labels[:wrong] + 1) % classes, labels[wrong:]])


@pytest.mark.parametrize(("share", "noticed"), [(1.0, True), (0.998, True), (0.99, False), (0.8, False)])
def test_a_model_that_has_memorised_its_labels_is_reported(share, noticed):
    words = of_kind(model_notices("class", LABELS, fitting(LABELS, share), LOSSES), "vanished_gradients")
    assert bool(words) == noticed
    if noticed:
        assert f"fits {100 * share:.2f} % of its given labels (median loss 0.02)" in words[0]
        assert "earlier checkpoint" in words[0]


def test_labels_fitted_against_the_features_are_reported_unless_other_samples_tell_them():
    predicted = fitting(LABELS, 0.9)
    found = [Memorised(0.9, 0.7, 0.75, decoded) for decoded in (None, 0.72, 0.85)]
    noticed = [bool(of_kind(model_notices("class", LABELS, predicted, LOSSES, seen), "memorised")) for seen in found]
    assert noticed == [True, True, False]


@pytest.mark.parametrize("kind", [None, "multilabel", "value"])
def test_tasks_without_classes_are_not_judged(kind):
    assert model_notices(kind, LABELS, LABELS, LOSSES) == []
    assert model_notices("class", None, None, LOSSES) == []


@pytest.mark.parametrize(
    ("classes", "majority", "share", "weak"),
    [
        (2, 0.55, 0.55, True),  # no better than always the same answer
        (2, 0.5, 0.45, True),
        (2, 0.5, 0.6, False),
        (2, 0.95, 0.951, True),
        (2, 0.95, 0.97, False),
        (100, 0.01, 0.45, False),  # half wrong, and 45 times better than chance
        (100, 0.01, 0.01, True),
        (4, 0.25, 0.0, True),
    ],
)
def test_a_model_is_weak_where_it_does_no_better_than_the_most_frequent_class(classes, majority, share, weak):
    frequent = round(1000 * majority)
    labels = np.concatenate([np.zeros(frequent, int), 1 + np.arange(1000 - frequent) % max(1, classes - 1)])
    labels = np.random.default_rng(0).permutation(labels)
    words = of_kind(model_notices("class", labels, fitting(labels, share, classes), LOSSES), "weak_model")
    assert bool(words) == weak
    if weak:
        assert f"only {100 * share:.1f} % of the given labels" in words[0]


@pytest.mark.parametrize("spread", [0.0, 1e-8])
def test_scores_that_are_all_the_same_are_reported(spread):
    scores = 3.0 + spread * np.arange(5)
    (notice,) = cut_notices(np.zeros(5, dtype=bool), scores)
    assert notice.kind == "same_scores"
    assert cut_notices(np.zeros(5, dtype=bool), np.arange(5.0)) == []


def test_a_class_that_loses_all_or_most_of_its_samples_is_named():
    classes = np.repeat([0, 1, 2], [258, 300, 400])
    flagged = np.zeros(958, dtype=bool)
    flagged[:258] = flagged[258:268] = True
    (notice,) = cut_notices(flagged, np.arange(958.0), classes=classes, class_names=["HUM", "LOC", "NUM"])
    assert notice.kind == "class_lost"
    assert notice.words.startswith(
        "One class loses all or most of the samples, by those that are flagged: 'HUM' (258 of"
    )
    assert "hold_classes" in notice.words
    flagged[:258] = np.arange(258) < 150  # 58 %
    assert "'0' (150 of 258)" in cut_notices(flagged, np.arange(958.0), classes=classes)[0].words
    flagged[:258] = np.arange(258) < 100
    assert cut_notices(flagged, np.arange(958.0), classes=classes) == []


def test_rare_classes_that_lose_most_by_chance_are_not_named_but_emptied_ones_are():
    generator = np.random.default_rng(0)
    classes = np.arange(500) % 100  # five of each
    named = 0
    for _ in range(20):
        flagged = generator.random(500) < 0.2
        notices = cut_notices(flagged, np.arange(500.0), classes=classes)
        emptied = {k for k in range(100) if flagged[classes == k].all()}
        named += len(notices) and not emptied
    assert named == 0
    flagged = classes < 7
    (notice,) = cut_notices(flagged, np.arange(500.0), classes=classes)
    assert notice.words.startswith("7 classes lose all or most")
    assert "'4' (5 of 5) and 2 more" in notice.words


def test_half_of_everything_and_emptied_groups_are_reported():
    flagged = np.arange(100) < 50
    assert of_kind(cut_notices(flagged, np.arange(100.0)), "half_flagged")
    groups = np.where(np.arange(100) == 3, "old", "young")
    (notice,) = cut_notices(np.arange(100) < 10, np.arange(100.0), groups=groups)
    assert notice.kind == "group_lost"
    assert "'old' (1 of 1)" in notice.words


@pytest.fixture(scope="module")
def renumbered():
    """A model that numbers two of four classes the other way round, or has learnt nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    inputs = 3 * torch.eye(4, 8)[labels] + torch.randn(400, 8, generator=generator)
    model = nn.Sequential(nn.Linear(8, 4, bias=False)).eval()
    with torch.no_grad():
        model[0].weight.copy_(2 * torch.eye(4, 8)[[1, 0, 2, 3]])
    return model, (inputs, labels)


def test_summary_manifest_page_and_terminal_say_the_same(renumbered, tmp_path):
    model, data = renumbered
    audit = gradsift.audit(
        model, data, class_names=["ABC", "DEF", "GHI", "[INST]"], output=tmp_path / "run", show_progress=False
    )
    words = of_kind(audit.notices, "class_lost")[0]
    assert "'ABC'" in words
    assert "'DEF'" in words
    assert words in audit.summary()
    assert words in audit.warnings
    assert words in [one["words"] for one in json.loads((tmp_path / "run/manifest.json").read_text())["notices"]]
    page = (tmp_path / "run/report.html").read_text()
    assert page.count("&#39;ABC&#39; (") == 1
    with console.capture() as captured:
        tell(audit)
    assert "'ABC' (" in captured.get()


def test_a_weak_model_is_told_before_the_cut(renumbered, tmp_path):
    model, (inputs, labels) = renumbered
    audit = gradsift.audit(model, (inputs, (labels + 1) % 4), output=tmp_path / "run", show_progress=False)
    assert audit.summary().startswith("The model is too weak to judge labels: it agrees with only ")
    page = (tmp_path / "run/report.html").read_text()
    assert page.index("too weak to judge") < page.index("<h1>")
    with console.capture() as captured:
        tell(audit)
    assert captured.get().index("too weak") < captured.get().index("are flagged")


def test_identical_rows_are_ties(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    data = (torch.ones(1000, 6), torch.zeros(1000, dtype=torch.int64))
    data[1][500:] = 1  # of two labels; each label's rows are identical
    for detector in ("l2", "isolation_forest", "loss"):
        audit = gradsift.audit(model, data, detector=detector, contamination=0.05, show_progress=False)
        assert len(audit.flagged_positions) == 50
        # drawn from all that are tied, not the first fifty
        assert audit.flagged_positions.max() - audit.flagged_positions.min() > 200
        assert "samples share the score at the cut: 50 of them were drawn at random" in audit.summary()


def test_columns_that_were_not_read_are_named():
    assert data_notices([]) == []
    (notice,) = data_notices(["note", *(f"t{place}" for place in range(6))])
    assert notice.kind == "data"
    assert "no features: note, t0, t1, t2, t3 and 2 more. Write them as numbers" in notice.words
    assert notice.of_run
