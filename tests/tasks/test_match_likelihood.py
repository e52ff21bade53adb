"""The likelihood of a match among others: plain loops, how many random pairs it counts, copies, and what tells nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from gradsift.tasks.match_likelihood import ALONE, DAMPING, EMBEDDED, MatchLikelihood, Ridge, log_ratio


def pairs(size, *, wrong=0, width=12, noise=0.2, seed=0):
    """Matches are a map of their anchor with noise; of the first ones they go round."""
    torch.manual_seed(seed)
    anchors = torch.randn(size, width)
    matches = anchors @ (torch.eye(width) + 0.2 * torch.randn(width, width)) + noise * torch.randn(size, width)
    matches[:wrong] = matches[:wrong].roll(1, 0)
    return anchors, matches, F.normalize(torch.randn(size, 2, 5), dim=2)


def unit(vector):
    return vector / np.linalg.norm(vector)


def left_out(given, expected, row, apart):
    """What a ridge regression without some pairs expects of a row; middle and damping are those of all."""
    rest = [other for other in range(len(given)) if other not in apart]
    (x, y), width = (side - side.mean(axis=0) for side in (given, expected)), given.shape[1]
    damping = DAMPING * np.trace(x.T @ x) / width
    return unit(x[row] @ np.linalg.solve(x[rest].T @ x[rest] + damping * np.eye(width), x[rest].T @ y[rest]))


def by_loops(likelihood, anchors, matches, embeddings, row, weights):
    """``log r`` and s of one of the compared pairs, from their definition."""
    a, p = (np.stack([unit(vector) for vector in side.double().numpy()]) for side in (anchors, matches))
    size, e = len(a), embeddings.double().numpy()
    same = [[other for other in range(size) if side[other] @ side[row] > 1 - 1e-6] for side in (a, p)]
    apart = {
        place: {o for o in range(size) if a[o] @ a[place] > 1 - 1e-6 or p[o] @ p[place] > 1 - 1e-6}
        for place in range(size)
    }
    expected = {
        place: (left_out(a, p, place, apart[place]), left_out(p, a, place, apart[place])) for place in range(size)
    }
    own = [np.stack([unit(vector) for vector in side - side.mean(axis=0)]) for side in (a, p)]

    def total(first, second):
        mapped = expected[first][0] @ own[1][second] + own[0][first] @ expected[second][1]
        return weights[0] * a[first] @ p[second] + weights[1] * mapped + weights[2] * e[first, 0] @ e[second, 1]

    ratios = []
    for way in (0, 1):
        others = [other for other in range(size) if other not in same[1 - way]]
        logits = [total(row, row), *(total(row, o) if way == 0 else total(o, row) for o in others)]
        ratios.append(logits[0] - np.log(np.exp(logits).sum()) + np.log(len(logits)))
    return np.mean(ratios), total(row, row)


def test_it_equals_plain_loops():
    anchors, matches, embeddings = pairs(40, wrong=4)
    matches[9] = matches[20]  # a copy is left out with the pair
    likelihood = MatchLikelihood.of(anchors, matches, embeddings)
    unlikely, wrong = likelihood.rated(anchors, matches, embeddings)
    odds = np.log(likelihood.share / (1 - likelihood.share))
    for row in (0, 9, 20, 33):
        loops = [
            by_loops(likelihood, anchors, matches, embeddings, row, (*likelihood.temperatures, more))
            for more in (EMBEDDED, 0)
        ]
        assert unlikely[row].item() == pytest.approx(-loops[0][0] - ALONE * loops[0][1], abs=2e-4)
        assert wrong[row].item() == pytest.approx(1 / (1 + np.exp(loops[1][0] - odds)), abs=2e-4)
    some = likelihood.rated(anchors[30:34], matches[30:34], embeddings[30:34])
    torch.testing.assert_close(some[0], unlikely[30:34], rtol=1e-4, atol=1e-4)


def test_a_pair_that_is_not_compared_is_left_out_of_nothing():
    anchors, matches, _ = pairs(30)
    given, expected = (side.double() - side.double().mean(dim=0) for side in (anchors, matches))
    ridge = Ridge(given[:25], expected[:25])
    found = ridge.without(given[25:], torch.zeros(5, 25, dtype=torch.bool))
    damping = DAMPING * torch.trace(given[:25].T @ given[:25]) / 12
    weights = torch.linalg.solve(
        given[:25].T @ given[:25] + damping * torch.eye(12).double(), given[:25].T @ expected[:25]
    )
    torch.testing.assert_close(found, F.normalize(given[25:] @ weights, dim=1))


@pytest.mark.parametrize("wrong", [0, 30, 90])
def test_it_counts_random_pairs(wrong):
    anchors, matches, embeddings = pairs(300, wrong=wrong)
    likelihood = MatchLikelihood.of(anchors, matches, embeddings)
    unlikely, probabilities = likelihood.rated(anchors, matches, embeddings)
    truth = np.arange(300) < wrong
    assert abs(float(probabilities.sum()) - wrong) <= max(6, 0.2 * wrong)
    flagged = probabilities.numpy() > 0.5
    assert (flagged & ~truth).sum() <= 3
    assert (flagged & truth).sum() >= 0.7 * wrong
    if wrong:
        assert average_precision_score(truth, unlikely.numpy()) > 0.9


def test_where_inputs_tell_nothing_nothing_is_said_of_how_many():
    anchors, _, embeddings = pairs(120)
    unlikely, probabilities = MatchLikelihood.of(anchors, torch.randn(120, 12), embeddings).rated(
        anchors, torch.randn(120, 12), embeddings
    )
    assert probabilities is None
    assert unlikely.isfinite().all()


def test_matches_that_many_pairs_share_are_classes_of_them():
    torch.manual_seed(0)
    kinds = torch.arange(160) % 4
    anchors = torch.eye(8)[kinds] + 0.1 * torch.randn(160, 8)
    matches = torch.eye(8)[4 + kinds]
    matches[0] = matches[1]
    unlikely, _ = MatchLikelihood.of(anchors, matches, torch.ones(160, 2, 3) / 3**0.5).rated(
        anchors, matches, torch.ones(160, 2, 3) / 3**0.5
    )
    assert int(unlikely.argmax()) == 0


def test_wide_inputs_are_narrowed_and_the_same_every_time():
    anchors, matches, embeddings = pairs(300, wrong=20, width=600, noise=0.1)
    one, two = (
        MatchLikelihood.of(anchors, matches, embeddings).rated(anchors, matches, embeddings)[0] for _ in range(2)
    )
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert average_precision_score(np.arange(300) < 20, one.numpy()) > 0.9


def test_two_pairs_and_equal_inputs_are_enough():
    for anchors in (torch.eye(2, 3), torch.ones(2, 3), torch.zeros(2, 3)):
        likelihood = MatchLikelihood.of(anchors, anchors, torch.ones(2, 2, 3) / 3**0.5)
        assert likelihood.rated(anchors, anchors, torch.ones(2, 2, 3) / 3**0.5)[0].isfinite().all()
        assert repr(likelihood) == "MatchLikelihood(2 pairs)"


def test_the_ratio_is_that_to_a_random_choice():
    ratio = log_ratio(
        torch.tensor([0.0, 2.0]), torch.zeros(2, 4), torch.tensor([[False] * 4, [True, False, False, False]])
    )
    assert ratio[0].item() == pytest.approx(0)
    assert ratio[1].item() == pytest.approx(2 - np.log(np.exp(2) + 3) + np.log(4), abs=1e-6)
