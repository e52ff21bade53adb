"""Leave-one-out, subset retraining, removal and precision curves."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from gradsift.errors import DataError, SettingError
from gradsift.evaluation import (
    leave_one_out,
    linear_datamodeling_score,
    precision_curve,
    removal_curve,
    retrain_subsets,
)
from gradsift.influence import ExactInfluence

QUIET = {"show_progress": False}


class Mean(nn.Module):
    """A model that is the mean of its training labels, and so has exact answers to every question."""

    def __init__(self, labels, shift=0.0):
        super().__init__()
        self.mean = nn.Parameter(torch.as_tensor(labels).double().mean() + shift)


def train(dataset, *, seed):
    return Mean(dataset[1], shift=1e-3 * seed)


def ridge(dataset, *, seed):  # the optimum is one for all seeds
    x, y = dataset
    matrix = x.T @ x / len(y) + 0.1 * torch.eye(x.shape[1]).double()
    model = nn.Linear(x.shape[1], 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.linalg.solve(matrix, x.T @ y / len(y))[None])
    return model.eval()


def toy(count=12):
    return torch.zeros(count, 1), torch.arange(count).double() ** 2


def test_leave_one_out_is_the_rise_of_the_value():
    _, labels = toy()
    found = leave_one_out(train, toy(), lambda model: float(model.mean.detach()), seeds=3, **QUIET)
    expected = [float(np.delete(labels.numpy(), place).mean() - labels.mean()) for place in range(12)]
    assert np.allclose(found, expected)
    some = leave_one_out(train, toy(), lambda model: [float(model.mean.detach())] * 2, positions=[3, 1], **QUIET)
    assert np.allclose(some, np.array(expected)[[3, 1], None].repeat(2, axis=1))


def test_influence_predicts_leave_one_out_and_subsets_of_a_ridge_regression():
    """``v^T H^-1 g`` of the penalised loss, through an extra sample's worth of weight decay in the damping."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=generator).double()
    y = x @ torch.tensor([1.0, -2, 0.5, 0]).double() + torch.randn(60, generator=generator)
    held = (torch.randn(15, 4, generator=generator).double(), torch.randn(15, generator=generator).double())

    def losses(model):
        return (0.5 * (model(held[0])[:, 0] - held[1]) ** 2).detach().numpy()

    model = ridge((x, y), seed=0)
    method = ExactInfluence(task="regression", damping=0.2, **QUIET).fit(model, (x, y[:, None]))
    influence = method.influence((held[0], held[1][:, None]), each=True)
    truth = leave_one_out(ridge, (x, y), losses, **QUIET)
    assert np.corrcoef(influence.ravel(), truth.ravel())[0, 1] > 0.98
    score = linear_datamodeling_score(influence, retrain_subsets(ridge, (x, y), losses, subsets=30, **QUIET))
    assert score.mean > 0.8
    chance = np.random.default_rng(0).normal(size=influence.shape)
    assert linear_datamodeling_score(chance, retrain_subsets(ridge, (x, y), losses, subsets=30, **QUIET)).mean < 0.3


def test_the_score_is_the_mean_rank_correlation():
    subsets = retrain_subsets(train, toy(), lambda model: [float(model.mean.detach()), 1.0], subsets=8, **QUIET)
    assert subsets.kept.sum(axis=1).tolist() == [6] * 8
    influence = np.random.default_rng(0).normal(size=(12, 2))
    expected = spearmanr(-(subsets.kept @ influence[:, 0]), subsets.values[:, 0]).statistic
    found = linear_datamodeling_score(influence, subsets)
    assert found.mean == pytest.approx(expected / 2)  # a target that never changes counts as zero
    again = retrain_subsets(train, toy(), lambda model: [float(model.mean.detach()), 1.0], subsets=8, **QUIET)
    assert np.array_equal(again.kept, subsets.kept)


def test_the_removal_curve_removes_the_highest_scores_beside_random_ones():
    _, labels = toy(20)
    metric = lambda model, _test: float(model.mean.detach())  # noqa: E731
    curve = removal_curve(train, toy(20), labels.numpy(), None, metric, shares=(0.1, 0.5), seeds=4, **QUIET)
    assert curve.shares == (0, 0.1, 0.5)
    for place, count in ((1, 2), (2, 10)):
        expected = float(labels[: 20 - count].mean()) + 1e-3 * np.arange(4)
        assert np.allclose(curve.by_score[place], expected)
    assert np.allclose(curve.by_score[0], curve.at_random[0])
    assert (curve.at_random[1] > curve.by_score[1]).all()
    assert len(set(np.round(curve.at_random[2] - 1e-3 * np.arange(4), 6))) > 1
    assert curve.against_random()[2].sign == -1
    assert curve.against_nothing()[0].mean == 0
    assert [row["removed"] for row in curve.rows()] == ["0 %", "10 %", "50 %"]


def test_the_precision_curve():
    wrong = np.arange(100) >= 90
    found = precision_curve(np.arange(100.0), wrong, shares=(0.05, 0.1, 0.2))
    assert found == [
        {"share": 0.05, "precision": 1.0, "recall": 0.5, "best": 1.0},
        {"share": 0.1, "precision": 1.0, "recall": 1.0, "best": 1.0},
        {"share": 0.2, "precision": 0.5, "recall": 1.0, "best": 0.5},
    ]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: leave_one_out(train, toy(), float, seeds=0), SettingError, "at least one seed"),
        (lambda: leave_one_out(train, toy(), float, positions=[12]), SettingError, "from 0 to 11"),
        (lambda: removal_curve(train, toy(), np.zeros(12), None, float, seeds=0), SettingError, "at least one seed"),
        (lambda: retrain_subsets(train, toy(), float, share=1.0), SettingError, "between 0 and 1"),
        (lambda: retrain_subsets(train, toy(), float, subsets=2), SettingError, "at least 3"),
        (lambda: removal_curve(train, toy(), np.zeros(5), None, float), DataError, "for 12 samples"),
        (
            lambda: removal_curve(train, toy(), np.zeros(12), None, float, shares=(0.2, 0.1)),
            SettingError,
            "shares rise",
        ),
        (lambda: precision_curve(np.zeros(4), np.zeros(4, bool)), DataError, "some samples are wrong and some are not"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_influence_of_other_data_is_refused():
    subsets = retrain_subsets(train, toy(), lambda model: float(model.mean.detach()), subsets=3, **QUIET)
    with pytest.raises(DataError, match="belong to other data"):
        linear_datamodeling_score(np.zeros((12, 3)), subsets)
