"""The page's section on geometry, its plots, the command and collapse along training."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.errors import DataError
from gradsift.geometry import CollapseAlongTraining, collapse, examine
from gradsift.report.geometry import geometry_plots

QUIET = {"show_progress": False}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)).eval()


def data(count=90):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    return torch.randn(count, 5, generator=generator) + 2 * torch.eye(3, 5)[labels], labels


def trained(recorder_of=None, epochs=6):
    model, samples = network().train(), data()
    recorder = recorder_of(model, samples) if recorder_of else None
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(samples[0]), samples[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder is not None:
            recorder.end_step()
            recorder.end_epoch()
    return model.eval(), samples, recorder


@pytest.fixture(scope="module")
def examined():
    model, samples, _ = trained()
    return examine(model, samples, curvature_of=["last", "all"], max_samples=60, **QUIET)


def test_everything_is_measured_and_plain(examined):
    content = json.loads(json.dumps(examined.to_dict()))
    assert [layer["name"] for layer in content["collapse"]["layers"]] == ["0", "2", "4"]
    assert [layer["name"] for layer in content["weights"]] == ["0", "2", "4"]
    assert [one["spectrum"]["size"] for one in content["curvature"]] == [21, 48 + 63 + 24]
    for one in content["curvature"]:
        assert 0 < one["alignment"]["top_classes"] <= one["alignment"]["top_squared"] <= 1 + 1e-9
    assert examined.sentences


def test_the_mean_gradient_is_that_of_the_whole_set():
    model, samples, _ = trained()
    found = examine(model, samples, curvature_of=["last"], **QUIET).curvature[0]
    loss = nn.functional.cross_entropy(model(samples[0]), samples[1])
    (gradient,) = torch.autograd.grad(loss, model[4].weight)
    from gradsift.geometry import alignment
    from gradsift.geometry.spectra import spectrum

    vectors = spectrum(model, samples, num_classes=3, layers="last", **QUIET).vectors
    expected = alignment(gradient.flatten().numpy(), vectors, 3)
    assert found.alignment.top_classes == pytest.approx(expected.top_classes, rel=1e-3)


def test_plots_lie_in_their_box(examined):
    content = json.loads(json.dumps(examined.to_dict()))
    content["along_training"] = {
        "steps": [1, 2, 3],
        "accuracy": [0.5, 0.6, 0.7],
        "layers": {"0": {"variability": [3.0, 2.0, 1e-9]}, "2": {"variability": [1.0, 0.5, 0.0]}},
    }
    plots = geometry_plots(content)
    assert [plot.name for plot in plots] == ["collapse", "figures", "spectrum-0", "spectrum-1", "alignment", "along"]
    for plot in plots:
        dots = [dot for one in plot.series for dot in one.dots]
        assert dots
        assert all(0 <= x <= 640 and 0 <= y <= 240 for x, y, _, _ in dots)
        assert all(0 <= x <= 640 for x, _ in [*plot.across, *plot.rules])
    marked = [dot for dot in plots[2].series[0].dots if dot[3]]
    assert len(marked) == content["curvature"][0]["spectrum"]["outliers"]


def test_the_page_holds_the_section(examined, tmp_path):
    model, samples, _ = trained()
    audit = gradsift.audit(model, samples, output=tmp_path / "run", **QUIET)
    assert "Can gradients tell?" not in (tmp_path / "run" / "report.html").read_text()
    audit.run.write_json("geometry.json", json.loads(json.dumps(examined.to_dict())))
    page = audit.report(tmp_path / "page.html").read_text()
    assert "Can gradients tell?" in page
    assert page.count('id="plot-') == 5
    for plot in page.split("<svg ")[1:]:
        ElementTree.fromstring("<svg " + plot.partition("</svg>")[0] + "</svg>")


def test_collapse_along_training_through_the_recorder():
    seen = {}

    def recorder_of(model, samples):
        recorder = gradsift.Recorder(model, samples, every=2, **QUIET)
        seen["along"] = CollapseAlongTraining(recorder, max_samples=60)
        return recorder

    model, samples, recorder = trained(recorder_of)
    along = seen["along"]
    assert recorder.failure is None
    assert along.steps == [2, 4, 6]
    part = np.sort(np.random.default_rng(0).choice(90, 60, replace=False))
    expected = collapse(model, (samples[0][part], samples[1][part]), **QUIET)
    assert along.found[-1].layers[1].variability == pytest.approx(expected.layers[1].variability, rel=1e-5)
    content = along.to_dict()
    assert list(content["layers"]) == ["0", "2", "4"]
    assert len(content["layers"]["0"]["frame"]) == 3
    assert not recorder.model.training


def test_a_failure_in_a_listener_does_not_end_training():
    def recorder_of(model, samples):
        recorder = gradsift.Recorder(model, samples, **QUIET)
        CollapseAlongTraining(recorder, layers="nothing.*")
        return recorder

    *_, recorder = trained(recorder_of, epochs=2)
    assert "no module that runs matches" in recorder.failure


def test_one_class_cannot_be_examined():
    model, samples, _ = trained()
    with pytest.raises(DataError, match="one class"):
        examine(model, (samples[0], torch.zeros(90, dtype=torch.long)), **QUIET)
