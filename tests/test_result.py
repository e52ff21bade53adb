import numpy as np
import pytest

import gradsift
from gradsift import Audit
from gradsift.errors import DataError, OutputError
from gradsift.stages import rescore


@pytest.fixture
def audit(blobs):
    inputs, given, _ = blobs
    probabilities = 0.9 * np.eye(3)[np.arange(180) // 60] + 0.1 / 3
    names = ["ant", "<b>bee</b>", "c\x1b[31mat"]
    return gradsift.audit_predictions(given, probabilities, class_names=names, data=(inputs, given))


def test_a_notebook_shows_summary_and_worst_samples_with_names(audit):
    page = audit._repr_html_()
    assert audit.headline in page
    assert page.count("<tr><td>") == 10
    assert "&lt;b&gt;bee&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "\x1b" not in page


def test_it_opens_as_a_data_frame(audit):
    frame = audit.to_pandas()
    assert len(frame) == 180
    assert list(frame.columns) == audit.table.column_names
    assert audit.head(3)["position"].to_pylist() == [0, 1, 2]


def test_a_report_without_a_path_lies_in_the_run(audit):
    path = audit.report()
    assert path == audit.run.path / "report.html"
    assert path.exists()


def test_the_former_name_of_the_flagged_positions_still_works(audit):
    with pytest.warns(DeprecationWarning, match=r"Audit\.flagged_positions"):
        former = audit.flagged
    assert np.array_equal(former, audit.flagged_positions)
    assert np.array_equal(np.sort(former), np.flatnonzero(audit.table["flagged"].to_numpy()))


def test_the_worst_samples_have_a_preview_where_the_data_is_at_hand(audit, blobs):
    rows = audit.worst(3)
    inputs = blobs[0]
    assert rows["preview"].to_pylist() == [
        f"x0={inputs[position][0]:.4g}, x1={inputs[position][1]:.4g}" for position in rows["position"].to_pylist()
    ]
    without = Audit.open(audit.run.path)
    assert without.worst(3).equals(audit.worst(3, previews=False))
    assert "preview" not in without.worst(3).column_names
    assert "preview" not in audit.table.column_names


def test_previews_are_those_of_the_audited_data_alone(audit, blobs):
    other = Audit.open(audit.run.path, (blobs[0][::-1].copy(), blobs[1]))
    with pytest.raises(DataError, match="not the one that was audited"):
        other.worst(3)


def test_a_notebook_shows_the_samples_themselves(audit):
    page = audit._repr_html_()
    assert "<th>sample</th>" in page
    assert page.count('class="sample features"') == 10
    assert "<th>sample</th>" not in Audit.open(audit.run.path)._repr_html_()


def test_scores_and_cut_are_drawn(audit, tmp_path):
    plot = audit.plot()
    assert plot._repr_svg_().lstrip().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "<style>" in plot.svg
    assert 'class="bar flagged"' in plot.svg
    assert 'class="cut"' in plot.svg
    assert plot.save(tmp_path / "scores.svg").read_text() == plot.svg
    with pytest.raises(OutputError):
        plot.save(tmp_path / "scores.svg")


def test_a_rescored_audit_offers_the_same(audit):
    other = rescore(audit, np.arange(180.0), "order", contamination=0.1)
    assert isinstance(other, Audit)
    assert len(other.trim()[0]) == 180 - 18
    assert other.worst(1)["position"].to_pylist() == [179]
    assert repr(other).startswith("<Audit: 18 of 180 samples")
