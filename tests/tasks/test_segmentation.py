"""A class for every pixel: losses, what is refused, and the region that fits worst."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.errors import DataError, ModelError, SampleError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import Segmentation
from gradsift.tasks.base import sample_losses
from gradsift.tasks.structured import Classes, StructuredTask
from tests.support.oracle import norms, oracle

torch.manual_seed(0)
IMAGES, MASKS = torch.randn(4, 3, 10, 10), torch.randint(0, 3, (4, 10, 10))
LOGITS = torch.randn(4, 3, 10, 10)
TASK = Segmentation()


def test_losses_are_means_over_labelled_pixels():
    masks = MASKS.clone()
    masks[0, :5], masks[1, 0] = 255, -100
    expected = [
        F.cross_entropy(LOGITS[i : i + 1], masks[i : i + 1].masked_fill(masks[i : i + 1] == 255, -100))
        for i in range(4)
    ]
    torch.testing.assert_close(sample_losses(TASK, LOGITS, (IMAGES, masks)), torch.stack(expected))
    torch.testing.assert_close(
        TASK.losses(LOGITS, (IMAGES, masks[:, None])), TASK.losses(LOGITS, {"pixel_values": IMAGES, "labels": masks})
    )
    assert isinstance(TASK, StructuredTask)


def test_coarser_logits_are_interpolated_as_transformers_does():
    coarse = torch.randn(4, 3, 5, 5)
    fine = F.interpolate(coarse, size=(10, 10), mode="bilinear", align_corners=False)
    torch.testing.assert_close(TASK.losses(coarse, (IMAGES, MASKS)), TASK.losses(fine, (IMAGES, MASKS)))


@pytest.mark.parametrize("wrap", [lambda z: z, lambda z: {"out": z, "aux": z}, lambda z: SimpleNamespace(logits=z)])
def test_what_a_model_gives(wrap):
    network = nn.Conv2d(3, 3, 1)
    model = nn.Module()
    model.forward = lambda x: wrap(network(x))
    assert torch.equal(TASK.outputs(model, (IMAGES, MASKS)), network(IMAGES))


def test_gradients_equal_those_of_a_sample_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()
    per_sample = PerSampleGradients(model, TASK, (IMAGES, MASKS), layers="all", reductions=Reductions(l2=True))
    truth = norms(oracle(model, TASK, (IMAGES, MASKS)))[1]
    torch.testing.assert_close(per_sample((IMAGES, MASKS)).statistics["l2"].double(), truth.double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("masks", "error", "words"),
    [
        (MASKS[:, :8], DataError, "images of 10 x 10"),
        (MASKS[:, :, :5], DataError, "one class number for each pixel"),
        (MASKS + 2, SampleError, r"masks hold 3, 4, outside 0 \.\.\. 2"),
        (torch.full_like(MASKS, 255), SampleError, "no pixel of the mask has a label"),
        (MASKS[:, 0, 0], DataError, "one class number for each pixel"),
    ],
)
def test_bad_masks_are_refused(masks, error, words):
    with pytest.raises(error, match=words):
        TASK.losses(LOGITS, (IMAGES, masks))
    with pytest.raises(ModelError, match="logits of shape"):
        TASK.losses(LOGITS[:, :, 0], (IMAGES, masks))


def test_the_worst_region_is_where_the_mask_is_wrong():
    masks = torch.zeros(2, 20, 20, dtype=torch.int64)
    masks[0, 4:10, 12:18] = 1
    logits = 5 * F.one_hot(masks, 3).permute(0, 3, 1, 2).float()
    given = masks.clone()
    given[0, 4:10, 12:18], given[1, 0:4, 0:4] = 2, 255
    counts = TASK.class_counts(logits, (torch.zeros(2, 3, 20, 20), given))
    assert counts.tolist() == [800 - 36 - 16, 0, 36]
    wrong, right = TASK.worst_parts(logits, (torch.zeros(2, 3, 20, 20), given), Classes(["sky", "dog", "cat"]))
    assert wrong.score > 4 > 0.1 > right.score
    assert wrong.words.startswith("mask says 'cat', model 'dog', in 100 % of a region (rows ")
    left, top, end, bottom = wrong.box
    assert 0.6 <= left < end <= 0.9
    assert 0.2 <= top < bottom <= 0.5
