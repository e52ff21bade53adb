"""Responses that are not what their prompt lets expect, from evidence alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score

from gradsift.cleaning.contamination import count_discoveries
from gradsift.detectors import ResponseSurprise, detrimental_scores
from gradsift.errors import DataError
from gradsift.evidence.responses import ResponseEvidence, end_losses

SIZE, TASKS, OWN = 200, 4, 15
FIELDS = ("losses", "alone", "ends", "prompts", "responses", "lengths")


def chats(seed=0, size=SIZE):
    """Chats of four tasks, each with its own words, losses and gain from the prompt; nothing is wrong with any."""
    generator = np.random.default_rng(seed)
    task = generator.integers(0, TASKS, size)
    losses = np.exp(generator.normal(np.log(0.5 + task), 0.2))
    prompts, responses = np.zeros((2, size, OWN * TASKS))
    for counts, length in ((prompts, 12), (responses, 8)):
        for row in range(size):
            np.add.at(counts[row], OWN * task[row] + generator.integers(0, OWN, length), 1)
    alone = losses * np.exp(generator.normal(0.5, 0.2, size))
    ends = np.exp(generator.normal(-2, 0.3, size))
    lengths = 20 + generator.integers(0, 10, size)
    return ResponseEvidence(losses, alone, ends, csr_matrix(prompts), csr_matrix(responses), lengths), task


def spoilt(chats, how, rows, task):
    losses, alone, ends = chats.losses.copy(), chats.alone.copy(), chats.ends.copy()
    responses, lengths = chats.responses.toarray(), chats.lengths.copy()
    if how == "loss":
        losses[rows], alone[rows] = 3 * losses[rows], 3 * alone[rows]
    elif how == "prompt":
        alone[rows] = losses[rows]
    elif how == "end":
        ends[rows] = 8.0
    elif how == "length":
        lengths[rows[::2]], lengths[rows[1::2]] = 2, 300
    else:
        responses[rows] = responses[[int(np.flatnonzero(task == (task[row] + 1) % TASKS)[0]) for row in rows]]
    return replace(chats, losses=losses, alone=alone, ends=ends, responses=csr_matrix(responses), lengths=lengths)


@pytest.mark.parametrize(("how", "view"), [("loss", 0), ("prompt", 1), ("end", 2), ("words", 3), ("length", 4)])
def test_each_way_of_being_unexpected_is_found_and_named(how, view):
    right, task = chats()
    rows = np.arange(8) * 11
    evidence = spoilt(right, how, rows, task)
    detector = ResponseSurprise()
    scores = detrimental_scores(detector, evidence, None)
    assert average_precision_score(np.isin(np.arange(SIZE), rows), scores) > 0.25  # of one way alone, by chance 0.04
    assert (detector.chances_[rows].argmin(axis=1) == view).mean() > 0.7
    assert (scores >= 0).all()


def test_a_loss_is_compared_with_similar_prompts_and_not_with_all():
    right, task = chats()
    easy = np.flatnonzero(task == 0)[:5]
    losses = right.losses.copy()
    losses[easy] = 2.2  # usual for the third task
    detector = ResponseSurprise().fit(replace(right, losses=losses, alone=losses * 1.6))
    assert (detector.chances_[easy, 0] < 0.03).all()
    assert (np.abs(detector.usual_[easy] - 0.5) < 0.3).all()


def test_few_right_chats_are_flagged_and_most_of_what_is_flagged_is_wrong():
    right, task = chats(seed=1, size=400)
    assert count_discoveries(ResponseSurprise().fit(right).chances_).count <= 8
    rows = np.arange(20) * 20
    bad = spoilt(spoilt(spoilt(right, "loss", rows, task), "end", rows, task), "words", rows, task)
    detector = ResponseSurprise()
    scores = detrimental_scores(detector, bad, None)
    decision = count_discoveries(detector.chances_)
    assert np.isin(np.argsort(-scores)[: decision.count], rows).mean() >= 0.5
    assert decision.count >= 15
    assert decision.low <= decision.fraction <= decision.high


def test_what_many_right_chats_do_is_no_discovery():
    right, task = chats(seed=2, size=400)
    ends = right.ends.copy()
    ends[np.arange(5, 400, 10)] = 8.0  # one in ten ends without a full stop, and nothing else is wrong with it
    rows = np.arange(10) * 40
    usual = replace(right, ends=ends)
    bad = spoilt(spoilt(spoilt(usual, "loss", rows, task), "end", rows, task), "words", rows, task)
    assert count_discoveries(ResponseSurprise().fit(usual).chances_).count <= 4
    detector = ResponseSurprise()
    scores, found = detrimental_scores(detector, bad, None), count_discoveries(detector.chances_).count
    assert found >= 5
    assert np.isin(np.argsort(-scores)[:found], rows).mean() >= 0.5


def test_in_a_small_set_a_few_alike_ones_do_not_hide_each_other():
    by_chance = np.random.default_rng(0).uniform(size=(120, 5))
    by_chance[:4, 1] = 1e-6  # four of 120 lie as far out, which is a share of 3 %
    assert count_discoveries(by_chance).count == 4
    assert count_discoveries(by_chance[4:]).count == 0


def test_scores_follow_their_chats():
    right, task = chats()
    order = np.random.default_rng(3).permutation(SIZE)
    evidence = spoilt(right, "loss", np.arange(5), task)
    shuffled = ResponseEvidence(**{name: getattr(evidence, name)[order] for name in FIELDS})
    scores = detrimental_scores(ResponseSurprise(), evidence, None)
    again = detrimental_scores(ResponseSurprise(), shuffled, None)
    assert np.corrcoef(scores[order], again)[0, 1] > 0.95  # of equally near neighbours any may count
    assert np.array_equal(scores, detrimental_scores(ResponseSurprise(), evidence, None))


def test_what_is_not_known_says_nothing():
    right, _ = chats()
    nothing = np.full(SIZE, np.nan)
    detector = ResponseSurprise().fit(replace(right, alone=nothing, ends=nothing))
    assert np.allclose(detector.chances_[:, 1:3], np.exp(-1))
    assert np.isfinite(detector.score_samples(replace(right, alone=nothing, ends=nothing))).all()
    bare = replace(right, prompts=csr_matrix(right.prompts.shape))
    assert np.isfinite(detrimental_scores(ResponseSurprise(), bare, None)).all()
    one = ResponseEvidence(*(getattr(right, name)[:1] for name in FIELDS))
    assert np.isfinite(detrimental_scores(ResponseSurprise(), one, None)).all()


def test_neighbours_are_searched_among_some_of_many():
    right, task = chats()
    evidence = spoilt(right, "words", np.arange(6), task)
    scores = detrimental_scores(ResponseSurprise(references=80), evidence, None)
    assert average_precision_score(np.arange(SIZE) < 6, scores) > 0.2


def test_other_evidence_is_refused():
    right, _ = chats()
    with pytest.raises(DataError, match="reads ResponseEvidence"):
        ResponseSurprise().fit(np.zeros((3, 2)))
    with pytest.raises(DataError, match="fitted on 200 chats, given 100"):
        ResponseSurprise().fit(right).score_samples(chats(size=100)[0])


def test_the_loss_of_the_end():
    tokens = np.array([[5, 2], [6, 2], [7, 2], [9, 8]])
    losses = np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 3.0], [1.0, 4.0]])
    assert np.array_equal(
        end_losses(tokens, losses), [0.1, 0.2, 3.0, np.nan], equal_nan=True
    )  # the last one is cut off
    assert np.isnan(end_losses(np.array([[1, 2], [1, 3], [1, 4]]), np.ones((3, 2)))).all()  # texts that do not end
    turns = np.array([[2, 3]] * 20)  # the end of the turn, then a line break that is certain
    assert end_losses(turns, np.tile([2.0, 0.0], (20, 1))).tolist() == [2.0] * 20
