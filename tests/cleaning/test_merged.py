"""Decisions made apart come together by what their samples hold."""

from dataclasses import replace

import numpy as np
import pytest

import gradsift
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.merged import merge
from gradsift.cleaning.sample_content import SampleContent
from gradsift.errors import DataError
from tests.support.reviewed import audited, decided

EARLY, LATE = "2026-01-01T08:00:00.000+00:00", "2026-01-01T09:00:00.000+00:00"


@pytest.fixture
def audit(tmp_path):
    return audited(tmp_path / "run")[0]


def content_of(audit):
    return SampleContent(audit, audit.samples_of(audit.train_set))


def test_what_several_people_did_apart_comes_together_once(audit):
    ann = [decided(audit, 1, "drop", at=EARLY), decided(audit, 2, "keep", at=EARLY)]
    ben = [decided(audit, 2, "relabel", 1, reviewer="ben", at=LATE)]
    with Decisions.open(audit.run.path) as decisions:
        told = merge(decisions, ben + ann, content_of(audit))
        assert (len(told.added), told.known, told.moved, told.unmatched) == (3, 0, 0, [])
        assert {place: one.kind for place, one in decisions.current().items()} == {1: "drop", 2: "relabel"}
        assert decisions.conflicts() == [2]
        again = merge(decisions, ann + ben, content_of(audit))
        assert (again.added, again.known) == ([], 3)
        assert decisions.undo("ann") == [1, 2]


def test_of_one_reviewer_the_latest_word_stands_whichever_file_comes_first(audit):
    first, last = decided(audit, 1, "drop", at=EARLY), decided(audit, 1, "keep", at="2026-01-01T11:00:00+02:00")
    for brought in ([first, last], [last, first]):
        with Decisions.open(audit.run.path) as decisions:
            merge(decisions, brought, content_of(audit))
            merge(decisions, brought[::-1], content_of(audit))
            assert decisions.current()[1].kind == "keep"
            assert decisions.current()[1].at == LATE
            assert len(decisions.history(1)) == 1
        (audit.run.path / "decisions.sqlite").unlink()


def test_of_several_reviewers_the_latest_word_stands_whichever_comes_first(audit):
    with Decisions.open(audit.run.path) as decisions:
        decisions.add([decided(audit, 1, "drop", reviewer="ben", at=LATE)])
        merge(decisions, [decided(audit, 1, "keep", at=EARLY)], content_of(audit))
        assert decisions.current()[1].kind == "drop"


def test_samples_that_have_moved_take_their_decisions_along(audit, tmp_path):
    X, y = audit.train_set
    X, y = X[::-1].copy(), y[::-1].copy()  # the data set is another one: turned round, and one label was mended
    y[0] = (y[0] + 1) % 3
    other = gradsift.audit_predictions(y, features=X, data=(X, y), output=tmp_path / "other", show_progress=False)
    brought = [decided(audit, place, "drop", at=EARLY) for place in (0, 7, 59)]
    with Decisions.open(other.run.path) as decisions:
        told = merge(decisions, brought, content_of(other))
    assert sorted(one.position for one in told.added) == [52, 59]
    assert (told.moved, [one.position for one in told.unmatched]) == (2, [59])
    assert "match no sample of this run, whose content or label has changed, and were left out" in told.words()
    assert told.to_dict() == {"added": 2, "known": 0, "moved": 2, "unmatched": [59]}


def test_equal_samples_take_one_decision_each(tmp_path):
    X, y = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0), np.repeat([0, 1, 2], 4)
    audit = gradsift.audit_predictions(
        y, np.full((12, 3), 1 / 3), data=(X, y), output=tmp_path / "a", show_progress=False
    )
    brought = [replace(decided(audit, place, "drop", at=EARLY), position=place + 100) for place in (0, 1)]
    with Decisions.open(audit.run.path) as decisions:
        told = merge(decisions, brought, content_of(audit))
    assert [one.position for one in told.added] == [0, 1]


def test_a_decision_that_cannot_be_meant_leaves_all_out(audit):
    with Decisions.open(audit.run.path) as decisions:
        with pytest.raises(DataError, match="no class"):
            merge(
                decisions, [decided(audit, 1, at=EARLY), decided(audit, 2, "relabel", 9, at=EARLY)], content_of(audit)
            )
        assert len(decisions) == 0
