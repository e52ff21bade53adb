import numpy as np
import pytest

import gradsift


@pytest.fixture
def audit(blobs):
    inputs, given, _ = blobs
    probabilities = 0.9 * np.eye(3)[np.arange(180) // 60] + 0.1 / 3
    names = ["ant", "<b>bee</b>", "c\x1b[31mat"]
    return gradsift.audit_predictions(given, probabilities, class_names=names, data=(inputs, given))


def test_a_notebook_shows_summary_and_worst_samples_with_names(audit):
    page = audit._repr_html_()
    assert audit.headline in page
    assert page.count("<tr>") == 11
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
