"""Masks from the audit to the trimmed set: the worst region ranks, is named in words, and is drawn on the page."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift
from gradsift.data import Samples
from gradsift.errors import SettingError
from gradsift.gradients import Batcher
from gradsift.report import render_sample
from gradsift.stages.part_evidence import part_evidence
from gradsift.tasks import Segmentation

NAMES = ["sky", "dog"]


class Threshold(nn.Module):
    """Dogs are bright in the first channel."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 2, 1)
        self.head.weight.data = torch.tensor([[-6.0, 0, 0], [6.0, 0, 0]])[:, :, None, None]
        self.head.bias.data = torch.tensor([3.0, -3.0])

    def forward(self, x):
        return self.head(x)


@pytest.fixture(scope="module")
def masked():
    """Images, masks of which the first four lack a dog, and which these are."""
    generator = np.random.default_rng(0)
    images, masks = 0.4 * generator.random((40, 3, 24, 24)), np.zeros((40, 24, 24), dtype=np.int64)
    for place in range(40):
        top, left = generator.integers(0, 18, 2)
        images[place, 0, top : top + 5, left : left + 5] += 0.6
        masks[place, top : top + 5, left : left + 5] = place >= 4
    return Threshold().eval(), torch.from_numpy(images).float(), torch.from_numpy(masks), np.arange(40) < 4


@pytest.fixture(scope="module")
def audit(masked, tmp_path_factory):
    model, images, masks, _ = masked
    return gradsift.audit(
        model, (images, masks), task="segmentation", class_names=NAMES, show_progress=False,
        output=tmp_path_factory.mktemp("runs") / "x",
    )  # fmt: skip


def test_forgotten_objects_are_found_and_named(audit, masked):
    wrong = masked[3]
    assert audit.detector == "worst_part"
    assert audit.kind == "structured"
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) == 1
    assert set(audit.flagged_positions[:4]) == set(np.flatnonzero(wrong))
    row = audit.worst(1, previews=False).to_pylist()[0]
    assert row["reason"].startswith("mask says 'sky', model 'dog', in 100 % of a region (rows ")
    left, top, right, bottom = row["worst_box"]
    region = masked[1][row["position"], 0, round(24 * top) : round(24 * bottom), round(24 * left) : round(24 * right)]
    assert region.mean() > 0.6
    assert {"score_loss", "score_l2", "score_isolation_forest"} <= set(audit.table.column_names)


def test_masks_are_drawn_with_the_region(audit, masked):
    page = (audit.run.path / "report.html").read_text()
    assert page.count('class="sample overlay"') >= 4
    assert "stroke-dasharray" in page
    opened = gradsift.Audit.open(audit.run.path)
    assert opened.table.equals(audit.table)
    assert 'class="sample overlay"' in render_sample((masked[1][5], masked[2][5]))


def test_samples_are_trimmed_and_no_mask_is_suggested(audit, masked):
    _, images, masks, _ = masked
    left = 40 - len(audit.flagged_positions)
    assert 30 < left <= 36
    assert len(audit.trim((images, masks))[0]) == left
    assert len(gradsift.correct(audit, (images, masks), how="drop")[1]) == left
    with pytest.raises(SettingError, match="masks, boxes or transcripts: use 'drop'"):
        gradsift.correct(audit, (images, masks), how="relabel")


def test_parts_do_not_depend_on_the_batch_size(masked):
    model, images, masks, _ = masked
    samples = Samples((images, masks))
    one, many = (
        part_evidence(model, Segmentation(), samples, np.arange(40), Batcher(size), show_progress=False)
        for size in (1, 16)
    )
    assert np.allclose(one.scores, many.scores, atol=1e-5)
    assert one.words == many.words
