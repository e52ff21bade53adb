from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.tasks import LabelledTask, Task, get_task
from gradsift.tasks.base import sample_losses
from gradsift.tasks.classification import BinaryClassification, Classification, MultiLabel
from gradsift.tasks.regression import Regression

torch.manual_seed(0)
Z, Y = torch.randn(7, 4), torch.arange(7) % 4
MANY = (torch.randn(7, 4) > 0).long()
VALUES, TARGETS = torch.randn(7), torch.randn(7, 4)
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0])
BITS = Y % 2


def batch(labels):
    return torch.zeros(len(labels), 2), labels


LOSSES = {
    "softmax": (Classification(), Z, Y, lambda: F.cross_entropy(Z, Y, reduction="none")),
    "softmax, labels as a column": (Classification(), Z, Y[:, None], lambda: F.cross_entropy(Z, Y, reduction="none")),
    "softmax, labels as whole floats": (
        Classification(),
        Z,
        Y.float(),
        lambda: F.cross_entropy(Z, Y, reduction="none"),
    ),
    "softmax, uint8 labels": (Classification(), Z, Y.byte(), lambda: F.cross_entropy(Z, Y, reduction="none")),
    "smoothed": (
        Classification(label_smoothing=0.1),
        Z,
        Y,
        lambda: F.cross_entropy(Z, Y, label_smoothing=0.1, reduction="none"),
    ),
    "weighted": (
        Classification(class_weights=WEIGHTS),
        Z,
        Y,
        lambda: F.cross_entropy(Z, Y, weight=WEIGHTS, reduction="none"),
    ),
    "binary": (
        BinaryClassification(),
        Z[:, 0],
        BITS,
        lambda: F.binary_cross_entropy_with_logits(Z[:, 0], BITS.float(), reduction="none"),
    ),
    "binary, columns": (
        BinaryClassification(),
        Z[:, :1],
        BITS[:, None].float(),
        lambda: F.binary_cross_entropy_with_logits(Z[:, 0], BITS.float(), reduction="none"),
    ),
    "binary, weighted": (
        BinaryClassification(positive_weight=3.0),
        Z[:, 0],
        BITS.bool(),
        lambda: F.binary_cross_entropy_with_logits(
            Z[:, 0], BITS.float(), pos_weight=torch.tensor(3.0), reduction="none"
        ),
    ),
    "multi-label": (
        MultiLabel(),
        Z,
        MANY,
        lambda: F.binary_cross_entropy_with_logits(Z, MANY.float(), reduction="none").sum(1),
    ),
    "squared": (Regression(), Z[:, 0], VALUES, lambda: F.mse_loss(Z[:, 0], VALUES, reduction="none")),
    "squared, column": (Regression(), Z[:, :1], VALUES[:, None], lambda: F.mse_loss(Z[:, 0], VALUES, reduction="none")),
    "squared, whole numbers": (Regression(), Z[:, 0], Y, lambda: F.mse_loss(Z[:, 0], Y.float(), reduction="none")),
    "absolute": (Regression(loss="absolute"), Z[:, :1], VALUES, lambda: F.l1_loss(Z[:, 0], VALUES, reduction="none")),
    "huber": (Regression(loss="huber"), Z[:, 0], VALUES, lambda: F.huber_loss(Z[:, 0], VALUES, reduction="none")),
    "several targets": (Regression(), Z, TARGETS, lambda: F.mse_loss(Z, TARGETS, reduction="none").sum(1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_those_of_torch(name):
    task, outputs, labels, expected = LOSSES[name]
    losses = sample_losses(task, outputs, batch(labels))
    assert losses.shape == (7,)
    torch.testing.assert_close(losses, expected())
    doubled = task.losses(outputs.double(), batch(labels))
    assert doubled.dtype == torch.float64


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_a_sample_depends_on_that_sample_alone(name):
    task, outputs, labels, _ = LOSSES[name]
    alone = torch.cat([task.losses(outputs[i : i + 1], batch(labels[i : i + 1])) for i in range(7)])
    torch.testing.assert_close(alone, task.losses(outputs, batch(labels)))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_can_be_vectorised_by_torch_func(name):
    task, outputs, labels, expected = LOSSES[name]

    def loss_of_one(output, label):
        return task.losses(output[None], (output[None], label[None]))[0]

    gradients = torch.func.vmap(torch.func.grad(loss_of_one))(outputs, labels)
    leaf = outputs.clone().requires_grad_()
    (truth,) = torch.autograd.grad(task.losses(leaf, batch(labels)).sum(), leaf)
    torch.testing.assert_close(gradients, truth)
    torch.testing.assert_close(torch.func.vmap(loss_of_one)(outputs, labels), expected())


def test_labels_have_one_form_for_each_task():
    for given in (Y, Y.float(), Y[:, None], Y.byte(), Y.numpy()):
        found = Classification().labels((Z, given))
        assert found.dtype == torch.int64
        assert found.tolist() == Y.tolist()
    assert BinaryClassification().labels((Z, BITS[:, None].bool())).tolist() == BITS.tolist()
    assert MultiLabel().labels((Z, MANY.float())).dtype == torch.int64
    assert Regression().labels((Z, Y)).dtype == torch.float32
    assert Regression().labels((Z, TARGETS.double())).dtype == torch.float64
    assert Regression().labels({"x": Z, "label": VALUES[:, None]}).shape == (7,)


def test_predictions_are_probabilities_or_values():
    torch.testing.assert_close(Classification().predictions(Z), Z.softmax(1))
    for logits in (Z[:, 0], Z[:, :1]):
        found = BinaryClassification().predictions(logits)
        torch.testing.assert_close(found, torch.stack([1 - Z[:, 0].sigmoid(), Z[:, 0].sigmoid()], 1))
    torch.testing.assert_close(MultiLabel().predictions(Z), Z.sigmoid())
    assert Regression().predictions(Z[:, 0]).shape == (7, 1)
    assert Regression().predictions(Z).shape == (7, 4)


BAD_LABELS = {
    "too large": ("classification", Z, torch.tensor([0, 1, 4, 0, 9, 1, 2]), [2, 4], r"0 \.\.\. 3"),
    "negative": ("classification", Z, torch.tensor([0, -1, 0, 0, 0, 0, -100]), [1, 6], r"0 \.\.\. 3"),
    "NaN": ("classification", Z, torch.tensor([0, 1, torch.nan, 1, 1, 1, 1]), [2], "no whole numbers"),
    "infinite": ("classification", Z, torch.tensor([torch.inf, 1, 0, 1, 1, 1, 1]), [0], "no whole numbers"),
    "halves": ("classification", Z, torch.tensor([0, 1, 1, 0.5, 0, 0, 0]), [3], "no whole numbers"),
    "binary two": ("binary", Z[:, 0], torch.tensor([0, 1, 2, 0, 0, 0, 1]), [2], "other than 0 and 1"),
    "binary -1": ("binary", Z[:, 0], torch.tensor([-1, 1, 1, 1, 1, 1, -1]), [0, 6], r"\(y \+ 1\) / 2"),
    "binary NaN": ("binary", Z[:, 0], torch.tensor([0, 1, 1, torch.nan, 0, 0, 0]), [3], "other than 0 and 1"),
    "multi-label two": ("multilabel", Z, MANY + 2 * (torch.arange(7) == 5)[:, None], [5], "other than 0 and 1"),
    "multi-label NaN": ("multilabel", Z, MANY.float() / (torch.arange(7) != 1)[:, None], [1], "other than 0 and 1"),
    "regression NaN": (
        "regression",
        Z[:, 0],
        torch.tensor([0, 1, torch.nan, 0, torch.inf, 0, 0]),
        [2, 4],
        "NaN or inf",
    ),
    "targets NaN": ("regression", Z, TARGETS / (torch.arange(7) != 6)[:, None], [6], "NaN or inf"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused_with_their_rows(name):
    task, outputs, labels, rows, telling = BAD_LABELS[name]
    with pytest.raises(SampleError, match=telling) as caught:
        get_task(task).losses(outputs, batch(labels))
    assert caught.value.rows == rows


@pytest.mark.parametrize(
    ("task", "outputs", "labels"),
    [
        ("classification", Z, MANY),
        ("classification", Z, torch.tensor(1)),
        ("binary", Z[:, 0], MANY[:, :2]),
        ("multilabel", Z, Y),
        ("multilabel", Z, MANY[:, :, None]),
    ],
    ids=["one-hot", "scalar", "binary, two columns", "multi-label, one number", "multi-label, three axes"],
)
def test_labels_of_wrong_shape_are_refused(task, outputs, labels):
    with pytest.raises(DataError, match="shape"):
        get_task(task).losses(outputs, (torch.zeros(7, 2), labels))


@pytest.mark.parametrize("task", ["classification", "binary", "multilabel", "regression"])
def test_labels_that_are_words_are_refused(task):
    with pytest.raises(DataError, match=r"words|text|strings|numbers"):
        get_task(task).labels((Z[:2], ("cat", "dog")))


@pytest.mark.parametrize(
    ("task", "outputs", "labels", "telling"),
    [
        ("classification", Z[:, 0], Y, 'task="binary"'),
        ("classification", Z[:, :1], BITS, 'task="binary"'),
        ("classification", Z[:, None], Y, r"\(7, 1, 4\)"),
        ("binary", Z[:, :2], BITS, 'task="classification"'),
        ("binary", Z[0, 0], BITS, r"\(n,\)"),
        ("multilabel", Z[:, :3], MANY, r"\(7, 3\).*\(7, 4\)"),
        ("multilabel", Z[:, 0], MANY, "one column a label"),
        ("regression", Z, VALUES, r"\(7, 4\).*\(7,\)"),
        ("regression", Z[:, 0], TARGETS, "one column a target"),
    ],
)
def test_outputs_of_wrong_shape_are_refused(task, outputs, labels, telling):
    with pytest.raises(ModelError, match=telling):
        get_task(task).losses(outputs, batch(labels))


def test_outputs_takes_tensors_or_logits_and_at_least_float32():
    task = Classification()
    model = nn.Linear(2, 4)
    assert task.outputs(model, batch(Y)).shape == (7, 4)
    assert task.outputs(lambda x: SimpleNamespace(logits=x.half()), batch(Y)).dtype == torch.float32
    assert task.outputs(lambda x: x.bfloat16(), batch(Y)).dtype == torch.float32
    assert task.outputs(lambda x: x.double(), batch(Y)).dtype == torch.float64
    assert task.outputs(lambda a, b: a + b, {"a": Z, "b": Z, "label": Y}).shape == (7, 4)
    with pytest.raises(ModelError, match="returns a tuple"):
        task.outputs(lambda x: (x, x), batch(Y))


class Mine:
    def __init__(self, give):
        self.give = give

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return self.give(F.cross_entropy(outputs, batch[1], reduction="none"))


@pytest.mark.parametrize(
    ("give", "telling"),
    [
        (lambda losses: losses.mean(), r"shape \(\)"),
        (lambda losses: losses.sum(0, keepdim=True), r"shape \(1,\)"),
        (lambda losses: losses[:, None], r"shape \(7, 1\)"),
        (lambda losses: losses.tolist(), "list"),
        (lambda losses: None, "NoneType"),
    ],
    ids=["mean", "sum", "column", "list", "nothing"],
)
def test_a_loss_that_is_not_one_value_a_sample_is_refused(give, telling):
    with pytest.raises(ModelError, match=rf'{telling} for 7 samples.*reduction="none"'):
        sample_losses(Mine(give), Z, batch(Y))


def test_tasks_are_found_by_name_and_objects_pass():
    kinds = {"classification": "class", "binary": "class", "multilabel": "multilabel", "regression": "value"}
    for name, kind in kinds.items():
        task = get_task(name)
        assert isinstance(task, LabelledTask)
        assert task.kind == kind
    mine = Mine(lambda losses: losses)
    assert get_task(mine) is mine
    assert isinstance(mine, Task)
    assert not isinstance(mine, LabelledTask)


@pytest.mark.parametrize(
    ("task", "telling"),
    [
        ("clasification", "unknown task 'clasification': choose one of classification, binary, multilabel, regression"),
        (Classification, "not a class"),
        (Mine, "not a class"),
        (nn.CrossEntropyLoss(), "losses"),
        (F.cross_entropy, "object"),
        (None, "None"),
    ],
    ids=["unknown name", "ready class", "own class", "loss module", "function", "none"],
)
def test_what_is_no_task_is_refused(task, telling):
    with pytest.raises(SettingError, match=telling):
        get_task(task)


def test_an_unknown_regression_loss_is_refused():
    with pytest.raises(SettingError, match="squared, absolute, huber"):
        Regression(loss="cubic")


def test_sample_errors_name_positions_once_they_are_known():
    error = SampleError("labels are odd", [0, 2], "Mend them")
    assert str(error) == "labels are odd (rows 0, 2 of the batch). Mend them"
    assert isinstance(error, DataError)
    placed = error.at(np.array([40, 41, 77]))
    assert type(placed) is DataError
    assert str(placed) == "labels are odd, at positions 40, 77. Mend them"
    many = SampleError("labels are odd", range(25), "Mend them").at(range(100, 125))
    assert "100, 101" in str(many)
    assert "109 and 15 more" in str(many)
