"""Orders and filters of the queue, compared with a plain sort of the rows."""

import numpy as np
import pyarrow as pa
import pytest

from gradsift.errors import SettingError
from gradsift.review.queue import EVERY, Query, Queue

SIZE = 2000


def table(size=SIZE, flagged=400, seed=0):
    generator = np.random.default_rng(seed)
    score = generator.random(size)
    marked = np.zeros(size, dtype=bool)
    marked[generator.choice(size, flagged, replace=False)] = True
    kinds = np.where(marked, generator.choice(["wrong_label", "atypical"], size), "")
    return pa.table(
        {
            "id": [f"row-{place}" for place in range(size)],
            "given_label": generator.integers(0, 4, size),
            "suggested_label": pa.array(generator.integers(0, 4, size), mask=generator.random(size) < 0.3),
            "score": score,
            "flagged": marked,
            "reason_kind": kinds.astype(object),
            "reason": [f"because {place % 7}" for place in range(size)],
            "score_a": score,
            "score_b": generator.random(size),
        }
    )


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture
def queue(rows):
    return Queue(
        rows, rows["score"].to_numpy() ** 2, texts=lambda: pa.chunked_array([[f"text {n} Ünder" for n in range(SIZE)]])
    )


def column(rows, name):
    return rows[name].to_numpy(zero_copy_only=False)


def test_flagged_samples_come_by_worth_with_one_of_twenty_at_random(rows, queue):
    found = queue.positions(Query())
    flagged = column(rows, "flagged")[found]
    chosen = found[flagged]
    assert np.array_equal(
        chosen, sorted(np.flatnonzero(column(rows, "flagged")), key=lambda one: -column(rows, "score")[one])
    )
    mixed = np.flatnonzero(~flagged[: len(chosen) * EVERY // (EVERY - 1)])
    assert (mixed % EVERY == EVERY - 1).all()
    assert len(set(found.tolist())) == len(found)


def test_the_random_slice_is_the_same_each_time_and_none_of_it_is_flagged(rows, queue):
    drawn = queue.positions(Query("slice"))
    assert 60 <= len(drawn) <= 100  # 5 % of 2,000, less those that are flagged
    assert not column(rows, "flagged")[drawn].any()
    assert np.array_equal(drawn, Queue(rows, np.zeros(SIZE)).slice)
    assert not np.array_equal(drawn, Queue(rows, np.zeros(SIZE), seed=1).slice)
    other = rows.set_column(rows.schema.get_field_index("flagged"), "flagged", pa.array(~column(rows, "flagged")))
    assert not set(Queue(other, np.zeros(SIZE)).slice.tolist()) & set(drawn.tolist())


def test_scopes_and_the_order_of_scores(rows, queue):
    score, flagged = column(rows, "score"), column(rows, "flagged")
    everything = queue.positions(Query("all", "score"))
    assert sorted(everything.tolist()) == list(range(SIZE))
    assert flagged[everything[:400]].all()
    assert (np.diff(score[everything[:400]]) <= 0).all()
    assert (np.diff(score[everything[400:]]) <= 0).all()
    assert set(queue.positions(Query("flagged")).tolist()) == set(np.flatnonzero(flagged).tolist())


def test_class_pairs_stand_together_the_most_frequent_first(rows, queue):
    found = queue.positions(Query("flagged", "pair"))
    pairs = [(queue.given[one], queue.suggested[one]) for one in found.tolist()]
    runs = [pair for place, pair in enumerate(pairs) if place == 0 or pairs[place - 1] != pair]
    assert len(runs) == len(set(runs))
    counts = [pairs.count(pair) for pair in runs]
    assert counts == sorted(counts, reverse=True)


def test_disagreement_is_between_the_places_that_detectors_give(rows, queue):
    places = np.stack([column(rows, name).argsort().argsort() for name in ("score_a", "score_b")])
    found = queue.positions(Query("flagged", "disagreement"))
    assert (np.diff(np.abs(places[0] - places[1])[found]) <= 0).all()


def test_groups_stand_together(rows):
    users = np.random.default_rng(0).choice(["ann", "bob", "cy"], SIZE)
    queue = Queue(rows, np.zeros(SIZE), groups={"user": lambda: users})
    found = users[queue.positions(Query("flagged", "user"))]
    assert list(found) == sorted(found)
    assert "user" in queue.orders
    with pytest.raises(SettingError, match="3 groups for 2000 samples"):
        Queue(rows, np.zeros(SIZE), groups={"user": lambda: users[:3]}).positions(Query("flagged", "user"))


@pytest.mark.parametrize(
    ("query", "keeps"),
    [
        ({"given": 2}, lambda row: row["given_label"] == 2),
        ({"suggested": 1, "given": 0}, lambda row: row["suggested_label"] == 1 and row["given_label"] == 0),
        ({"reason": "atypical"}, lambda row: row["reason_kind"] == "atypical"),
        ({"low": 0.5, "high": 0.75}, lambda row: 0.5 <= row["score"] <= 0.75),
        ({"text": "ROW-19"}, lambda row: "row-19" in row["id"]),
        ({"text": "because 3"}, lambda row: row["reason"] == "because 3"),
        ({"text": "text 77 ünd"}, lambda row: row["id"] == "row-77"),
        ({"text": "no such thing"}, lambda row: False),
        ({"text": ".*"}, lambda row: False),
        ({"given": 9}, lambda row: False),
    ],
)
def test_filters_keep_the_order(rows, queue, query, keeps):
    wanted = {place for place, row in enumerate(rows.to_pylist()) if keeps(row)}
    everything = queue.positions(Query("all"))
    assert queue.positions(Query("all", **query)).tolist() == [one for one in everything.tolist() if one in wanted]


def test_a_pair_is_found_from_one_of_its_samples(rows, queue):
    position = int(queue.positions(Query("flagged"))[0])
    found = queue.positions(queue.pair_of(position))
    assert position in found
    assert {(queue.given[one], queue.suggested[one]) for one in found} == {
        (queue.given[position], queue.suggested[position])
    }


def test_what_was_learnt_re_orders_what_is_left(queue):
    before = queue.positions(Query("flagged"))
    queue.set_worth(-queue.worth)
    assert np.array_equal(queue.positions(Query("flagged")), before[::-1])


def test_an_order_that_is_not_there_says_which_are(rows, queue):
    with pytest.raises(SettingError, match="worth, score, pair, disagreement"):
        queue.positions(Query(order="colour"))
    with pytest.raises(SettingError, match="queue, flagged, slice, all"):
        queue.positions(Query(scope="some"))
    plain = rows.drop_columns(["score_b"]).set_column(1, "given_label", pa.nulls(SIZE, pa.int64()))
    assert set(Queue(plain, np.zeros(SIZE)).orders) == {"worth", "score"}
