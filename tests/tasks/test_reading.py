"""Models that give probabilities: read as such, with the numbers of the same model without its last softmax."""

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import gradsift
from gradsift.errors import SettingError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import (
    BinaryClassification,
    CausalLM,
    Classification,
    MultiLabel,
    Regression,
    TokenClassification,
    read_outputs,
)
from gradsift.tasks.reading import LastSquash
from tests.support.cases import Net

N, D, K = 80, 6, 4
QUIET = {"show_progress": False}


def inputs(seed=0, n=N):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def labels(*shape, high, seed=1):
    return torch.randint(high, (N, *shape), generator=torch.Generator().manual_seed(seed))


def body(width):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, width)).eval()


def ended(width, end):
    """The same net with an operation on its output."""
    return Net(lambda net, x: end(net.body(x)), body=body(width)).eval()


ENDS = {
    "Softmax layer": ("classification", K, K, lambda z: nn.Softmax(dim=1)(z)),
    "softmax function": ("classification", K, K, lambda z: F.softmax(z, dim=-1)),
    "softmax method of a squeezed output": ("classification", K, K, lambda z: z[:, None].softmax(2).squeeze(1)),
    "softmax by hand": ("classification", K, K, lambda z: z.exp() / z.exp().sum(1, keepdim=True)),
    "log softmax": ("classification", K, K, lambda z: z.log_softmax(1)),
    "Sigmoid layer": ("binary", 1, 2, lambda z: nn.Sigmoid()(z)),
    "squeezed sigmoid": ("binary", 1, 2, lambda z: torch.sigmoid(z).squeeze(1)),
    "picked sigmoid": ("binary", 1, 2, lambda z: z.sigmoid()[:, 0]),
    "labels' sigmoids": ("multilabel", K, 2, lambda z: z.sigmoid()),
    "labels' special sigmoids": ("multilabel", K, 2, lambda z: torch.special.expit(z)),
}


def case(name):
    task, width, high, end = ENDS[name]
    y = labels(*((K,) if task == "multilabel" else ()), high=high)
    return task, body(width), ended(width, end), (inputs(), y)


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("name", ENDS)
def test_numbers_are_those_of_the_model_without_its_last_operation(name, layers, caplog):
    task, plain, squashed, data = case(name)
    wanted = Reductions(l1=True, l2=True)
    expected = PerSampleGradients(plain, task, data, layers=layers, reductions=wanted)(data)
    assert "probabilities" not in caplog.text
    found = PerSampleGradients(squashed, task, data, layers=layers, reductions=wanted)(data)
    assert ("outputs are probabilities" in caplog.text) == (name != "log softmax")
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-4, atol=1e-6)
    for norm in ("l1", "l2"):
        torch.testing.assert_close(found.statistics[norm], expected.statistics[norm], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("end", [lambda z: (400 * z).softmax(1), lambda z: nn.Softmax(1)(400 * z)])
def test_saturated_probabilities_keep_their_logits(end):
    data = (inputs(), labels(high=K))
    plain, squashed = ended(K, lambda z: 400 * z), ended(K, end)
    assert (squashed(data[0]) == 0).any()
    expected, found = (PerSampleGradients(model, "classification", data)(data) for model in (plain, squashed))
    torch.testing.assert_close(found.losses, expected.losses)
    torch.testing.assert_close(found.statistics["l2"], expected.statistics["l2"])


@pytest.mark.parametrize("end", [lambda z: (60 * z).sigmoid(), lambda z: nn.Sigmoid()(60 * z).squeeze(1)])
def test_saturated_sigmoids_keep_their_logits(end):
    data = (inputs(), labels(high=2))
    expected, found = (
        PerSampleGradients(model, "binary", data)(data) for model in (ended(1, lambda z: 60 * z), ended(1, end))
    )
    torch.testing.assert_close(found.losses, expected.losses)
    torch.testing.assert_close(found.statistics["l2"], expected.statistics["l2"])


LOGITS = {
    "logits": ("classification", K, lambda z: z),
    "logits in [0, 1]": ("classification", K, lambda z: z.sigmoid()),
    "attention inside": ("classification", K, lambda z: z * z.softmax(1)),
    "normalised": ("classification", K, lambda z: F.normalize(z)),
    "a single logit": ("binary", 1, lambda z: z),
    "a logit from a sigmoid": ("binary", 1, lambda z: 8 * z.sigmoid() - 4),
    "one half": ("binary", 1, lambda z: 0.5 + 0 * z),
    "labels' logits": ("multilabel", K, lambda z: z),
}


@pytest.mark.parametrize("name", LOGITS)
def test_real_logits_are_left_alone(name):
    task, width, end = LOGITS[name]
    model = ended(width, end)
    task = {"classification": Classification, "binary": BinaryClassification, "multilabel": MultiLabel}[task]()
    read = read_outputs(task, model, [(inputs(seed), labels(high=2)) for seed in range(2)])
    assert read.outputs_are == "logits"
    assert task.outputs_are == "auto"


def test_what_is_unsure_is_said_and_left(caplog):
    batch = inputs(), labels(high=2)
    assert read_outputs(BinaryClassification(), ended(1, lambda z: z.clamp(0, 1)), [batch]).outputs_are == "logits"
    assert "all outputs of 80 samples lie between 0 and 1; they are read as logits" in caplog.text
    caplog.clear()
    read_outputs(Classification(), ended(K, lambda z: z.sigmoid()), [batch])
    assert "last operation is sigmoid" in caplog.text
    caplog.clear()
    read_outputs(BinaryClassification(), ended(1, F.logsigmoid), [batch])
    assert "last operation is logsigmoid" in caplog.text


def test_the_user_s_word_decides(caplog):
    _task, plain, squashed, data = case("Softmax layer")
    found = PerSampleGradients(squashed, Classification(outputs="logits"), data)(data)
    torch.testing.assert_close(found.losses, F.cross_entropy(squashed(data[0]), data[1], reduction="none"))
    found = PerSampleGradients(squashed, Classification(outputs="probabilities"), data)(data)
    torch.testing.assert_close(found.losses, F.cross_entropy(plain(data[0]), data[1], reduction="none"))
    assert not caplog.text
    for kind in (Classification, BinaryClassification, MultiLabel, CausalLM):
        with pytest.raises(SettingError, match="'auto', 'logits' or 'probabilities', given 'softmax'"):
            kind(outputs="softmax")


def test_a_task_without_classes_is_not_asked(caplog):
    model = ended(1, lambda z: z.sigmoid())
    assert read_outputs(Regression(), model, [(inputs(), torch.rand(N))]).outputs_are == "logits"
    assert not caplog.text


def test_tokens_are_read_alike():
    model, plain = ended(K, lambda z: z.softmax(-1)), ended(K, lambda z: z)
    data = torch.randn(10, 5, D, generator=torch.Generator().manual_seed(0)), torch.randint(K, (10, 5))
    expected, found = (PerSampleGradients(one, TokenClassification(), data)(data) for one in (plain, model))
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.statistics["l2"], expected.statistics["l2"], rtol=1e-4, atol=1e-6)


def test_the_last_squash_is_the_model_s_output_or_none():
    z = torch.randn(3, K)
    with LastSquash() as squash:
        inner, p = z.softmax(1), z.sigmoid()
        shaped = p.reshape(K, 3)
    assert squash.kind_of(shaped) == "sigmoid"
    assert squash.kind_of(inner) is None
    assert squash.kind_of(p) is None
    assert torch.equal(squash.logits_of(shaped, "sigmoid"), z.reshape(K, 3))


def noisy(n=1500, classes=4, seed=0):
    """Blobs with one label in ten wrong, and which."""
    generator = np.random.default_rng(seed)
    true = generator.integers(classes, size=n)
    x = 3 * np.eye(classes, D)[true] + generator.normal(size=(n, D))
    wrong = generator.random(n) < 0.1
    given = np.where(wrong, (true + generator.integers(1, classes, n)) % classes, true)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(given), wrong


LOSSES = {
    "nll of logarithms": lambda p, y: F.nll_loss(p.clamp(min=1e-7).log(), y),
    "cross-entropy on probabilities": F.cross_entropy,
    "squared error": lambda p, y: F.mse_loss(p, F.one_hot(y, K).float()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_wrong_labels_are_found_whatever_the_model_was_trained_with(name, caplog):
    x, y, wrong = noisy()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, K), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        LOSSES[name](model(x), y).backward()
        optimizer.step()
    audit = gradsift.audit(model.eval(), (x, y), detectors=("l2", "loss"), **QUIET)
    read = average_precision_score(wrong, audit.table["score_l2"].to_numpy())
    assert read > 0.9
    assert "'outputs_are': 'probabilities'" in audit.run.read_json("manifest.json")["task"]
    assert 'pass task=Classification(outputs="logits")' in caplog.text
    without = gradsift.audit(model[:-1], (x, y), detectors=("l2", "loss"), **QUIET)
    assert np.allclose(audit.table["score_l2"], without.table["score_l2"], rtol=1e-4)
    assert audit.table["predicted_label"].equals(without.table["predicted_label"])


def recorded(model, data, loss, passes, layers="last"):
    model = copy.deepcopy(model).train()
    recorder = gradsift.Recorder(model, data, passes=passes, layers=layers, **QUIET)
    wrapped = gradsift.indexed(data)
    loader = DataLoader(wrapped, batch_size=16, collate_fn=wrapped.collate)
    for batch in loader:
        x, y = recorder.see(batch)
        loss(model(x), y).backward()
        recorder.end_step()
    recorder.end_epoch()
    assert recorder.failure is None
    return recorder


@pytest.mark.parametrize("passes", ["eval", "train"])
def test_a_recorder_reads_probabilities_alike(passes):
    data = inputs(), labels(high=K)
    plain, squashed = nn.Sequential(*body(K)), nn.Sequential(*body(K), nn.Softmax(dim=1))
    expected = recorded(plain, data, F.cross_entropy, passes).trajectory
    found = recorded(squashed, data, lambda p, y: F.nll_loss(p.log(), y), passes).trajectory
    assert found.statistics.keys() == expected.statistics.keys() >= {"loss", "l1", "l2", "margin", "residual_l2"}
    for name in expected.statistics:
        assert np.allclose(found.mean(name), expected.mean(name), rtol=1e-3, atol=1e-5), name
    assert np.allclose(found.predictions, expected.predictions, atol=2e-3)


def test_norms_of_other_layers_are_left_to_eval_passes(caplog):
    data, model = (inputs(), labels(high=K)), nn.Sequential(*body(K), nn.Softmax(dim=1))
    found = recorded(model, data, lambda p, y: F.nll_loss(p.log(), y), "train", layers="all").trajectory
    assert "l2" not in found.statistics
    assert "loss" in found.statistics
    assert caplog.text.count("gives probabilities") == 1
