"""Boxes: DETR's own loss image by image, the worst box in words, and what is refused."""

import numpy as np
import pytest
import torch
import transformers as tf
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

import gradsift
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import Detection
from gradsift.tasks.structured import Classes
from tests.support.oracle import norms, oracle

CONFIG = tf.YolosConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=[16, 16], patch_size=8,
    num_detection_tokens=5, num_labels=3, hidden_dropout_prob=0.0,
)  # fmt: skip
TASK = Detection()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tf.YolosForObjectDetection(CONFIG).eval()


def images(size=4):
    generator = torch.Generator().manual_seed(1)
    return [
        {"pixel_values": torch.rand(3, 16, 16, generator=generator), "labels": {
            "class_labels": torch.randint(0, 3, (place % 3,), generator=generator),
            "boxes": 0.2 + 0.4 * torch.rand(place % 3, 4, generator=generator)}}
        for place in range(size)
    ]  # fmt: skip


def batch_of(samples):
    train_set = gradsift.BoxSet(samples)
    return train_set.collate([train_set[place] for place in range(len(train_set))])


def test_the_loss_of_an_image_is_that_of_transformers(model):
    samples = images()
    batch = batch_of(samples)
    outputs = TASK.outputs(model, batch)
    losses = TASK.losses(outputs, batch)
    for place, sample in enumerate(samples):
        own = {name: value[place : place + 1] for name, value in outputs.items()}
        truth = ForObjectDetectionLoss(own["logits"], [sample["labels"]], "cpu", own["boxes"], CONFIG)[0]
        torch.testing.assert_close(losses[place], truth, rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_an_image_alone(model):
    batch = batch_of(images())
    per_sample = PerSampleGradients(model, TASK, batch, layers="all", reductions=Reductions(l2=True))
    rows = [{"pixel_values": batch["pixel_values"][[i]], "labels": {k: v[[i]] for k, v in batch["labels"].items()}}
            for i in range(4)]  # fmt: skip
    truth = torch.cat([norms(oracle(model, TASK, row))[1] for row in rows])
    torch.testing.assert_close(per_sample(batch).statistics["l2"].double(), truth, rtol=2e-3, atol=1e-5)


GIVEN = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]])


@pytest.mark.parametrize(
    ("numbers", "boxes", "words"),
    [
        ([0, 1], GIVEN, None),
        ([0], GIVEN[:1], "no box for 'cat', seen with 9"),
        ([0, 0], GIVEN, "box 1 ('dog'): model 'cat' with 9"),
        ([0, 1], GIVEN + torch.tensor([[0, 0, 0, 0], [0.05, 0.0, 0, 0]]), "box 1 ('cat') shares 60 % with the model's"),
        ([0, 1, 0], torch.cat([GIVEN, torch.tensor([[0.1, 0.8, 0.1, 0.1]])]), "box 2 ('dog'): the model sees nothing"),
    ],
)
def test_the_worst_box_is_named(numbers, boxes, words):
    logits = torch.full((1, 3, 3), -2.0)
    logits[0, 0, 0], logits[0, 1, 1], logits[0, 2, 2] = 3.0, 3.0, 3.0
    outputs = {"logits": logits, "boxes": torch.cat([GIVEN, torch.tensor([[0.5, 0.5, 0.1, 0.1]])])[None]}
    batch = {"labels": {"class_labels": torch.tensor([numbers]), "boxes": boxes[None]}}
    (faults,) = TASK.worst_parts(outputs, batch, Classes(["dog", "cat"]))
    part = max(faults, key=lambda fault: fault.score)
    if words is None:
        assert part.score < 0.1
        return
    assert part.score > 0.3
    assert part.words.startswith(words)
    assert all(0 <= side <= 1 for side in part.box)


def test_an_audit_draws_boxes_and_trims(model, tmp_path):
    train_set = gradsift.BoxSet(images(12), classes=["dog", "cat", "cow"])
    audit = gradsift.audit(
        model, train_set, task="detection", show_progress=False, contamination=0.25, output=tmp_path / "run"
    )
    assert audit.detector == "worst_part"
    assert len(audit.worst(1, previews=False)["worst_box"][0]) == 4
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'class="sample overlay"' in page
    assert any(f">{name}</text>" in page for name in ("dog", "cat", "cow"))
    assert len(audit.trim(train_set)) == 9
    assert len(gradsift.correct(audit, train_set, how="drop")) == 9


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ({"class_labels": torch.tensor([3]), "boxes": GIVEN[:1]}, SampleError, r"outside 0 \.\.\. 2"),
        ({"class_labels": torch.tensor([0]), "boxes": 16 * GIVEN[:1]}, SampleError, "no shares of the image"),
        (
            {"class_labels": torch.tensor([0]), "boxes": GIVEN[:1] * torch.tensor([1, 1, 0, 1])},
            SampleError,
            "no shares",
        ),
        ({"class_labels": torch.zeros(6).long(), "boxes": GIVEN[:1].repeat(6, 1)}, SampleError, "5 queries"),
        ({"class_labels": torch.tensor([0, 1]), "boxes": GIVEN[:1]}, DataError, "one class a box"),
        (torch.tensor(1), DataError, "class_labels"),
    ],
)
def test_bad_boxes_are_refused(model, labels, error, words):
    sample = {"pixel_values": torch.rand(3, 16, 16), "labels": labels}
    with pytest.raises(error, match=words):
        TASK.losses(TASK.outputs(model, batch := batch_of([sample])), batch)
    with pytest.raises(ModelError, match="pred_boxes"):
        TASK.outputs(lambda pixel_values: pixel_values, batch_of(images()))
    with pytest.raises(DataError, match=r"gradsift\.BoxSet"):
        TASK.outputs(model, (torch.rand(2, 3, 16, 16), np.zeros(2)))
