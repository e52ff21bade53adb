"""What decisions teach about samples that nobody has looked at."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, logit

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.learned import Learner, prior_probabilities
from tests.support.reviewed import audited


def decisions(positions, wrong):
    return {
        int(place): Decision(int(place), "", "", "ann", "relabel" if bad else "keep", None)
        for place, bad in zip(positions, wrong, strict=True)
    }


def world(size=4000, *, seed=0):
    """Ten classes; the audit doubts all labels alike, but cats (3) that look like dogs (5) are right after all."""
    generator = np.random.default_rng(seed)
    given, other = generator.integers(0, 10, size), generator.integers(0, 10, size)
    prior = generator.uniform(0.05, 0.95, size)
    truth = np.where((given == 3) & (other == 5), 0.02, prior)
    return prior, given, other, generator.uniform(size=size) < truth


def loss(wrong, probabilities):
    return -np.mean(np.log(np.where(wrong, probabilities, 1 - probabilities)))


def test_without_decisions_nothing_changes():
    prior, given, other, _ = world()
    learned = Learner.of_classes(prior, given, other).learn({3: Decision(3, "", "", "ann", "skip")})
    np.testing.assert_array_equal(learned.wrong, prior)
    assert learned.decisions == 0


def test_what_people_find_of_a_pair_of_classes_holds_for_the_rest_of_it():
    prior, given, other, wrong = world(20_000)
    seen, rest = np.arange(8000), np.arange(8000, 20_000)
    learned = Learner.of_classes(prior, given, other).learn(decisions(seen, wrong[seen]))
    np.testing.assert_array_equal(learned.wrong[seen], wrong[seen])
    pair = rest[(given[rest] == 3) & (other[rest] == 5)]
    assert learned.wrong[pair].mean() < 0.2 < prior[pair].mean()
    others = np.setdiff1d(rest, pair)
    assert np.abs(learned.wrong[others] - prior[others]).max() < 0.25
    assert loss(wrong[rest], learned.wrong[rest]) < loss(wrong[rest], prior[rest])


def test_a_posterior_that_is_too_sure_is_calibrated():
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.1, 0.9, 10_000)
    wrong = generator.uniform(size=10_000) < truth
    prior = expit(3 * logit(truth) + 1)
    seen, rest = np.arange(1000), np.arange(1000, 10_000)
    learned = Learner.of_classes(prior, np.zeros(10_000, int), np.ones(10_000, int)).learn(decisions(seen, wrong[seen]))
    assert np.abs(learned.wrong[rest] - truth[rest]).mean() < 0.05 < np.abs(prior[rest] - truth[rest]).mean()
    assert np.all(np.diff(learned.wrong[rest][np.argsort(truth[rest])]) > -1e-9)  # the order stays that of the audit


def test_few_decisions_change_little():
    prior, given, other, _ = world()
    learned = Learner.of_classes(prior, given, other).learn(decisions([0, 1], [True, False]))
    assert np.abs(learned.wrong[2:] - prior[2:]).max() < 0.25


@pytest.mark.parametrize("kind", ["relabel", "drop", "ambiguous"])
def test_an_audit_is_learnt_from_what_its_run_has_stored(tmp_path, kind):
    audit, _, _ = audited(tmp_path / "run", size=90)
    learner = Learner(audit)
    np.testing.assert_array_equal(learner.prior, prior_probabilities(audit))
    assert 0 <= learner.prior.min() <= learner.prior.max() <= 1
    learned = learner.learn({4: Decision(4, "4", "", "ann", kind, None), 5: Decision(5, "5", "", "ann", "keep")})
    assert learned.wrong[[4, 5]].tolist() == [1.0, 0.0]
    assert np.isfinite(learned.wrong).all()


def test_an_audit_without_a_posterior_begins_with_its_ranks(tmp_path):
    audit, _, _ = audited(tmp_path / "run", size=90)
    names = [name for name in audit.table.column_names if not name.startswith("score_")]
    bare = audit.with_table(audit.table.select(names))
    column = bare.table.schema.get_field_index("wrong_probability")
    empty = pa.nulls(len(bare), pa.float64())
    bare = bare.with_table(bare.table.set_column(column, "wrong_probability", empty))
    prior = prior_probabilities(bare)
    assert prior.mean() == pytest.approx(bare.table["flagged"].to_numpy().mean(), rel=0.02)
    assert np.array_equal(np.argsort(-prior, kind="stable"), np.argsort(bare.table["rank"].to_numpy()))
