import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradsift.cleaning.hold import crossed, flag
from gradsift.errors import SettingError


@st.composite
def cases(draw, distinct=False):
    size = draw(st.integers(0, 40))
    whole = st.integers(0, 10_000 if distinct else 5)
    scores = draw(st.lists(whole, min_size=size, max_size=size, unique=distinct))
    groups = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    return np.array(scores, dtype=np.float64), draw(st.integers(0, size)), np.array(groups, dtype=np.int64)


@given(cases())
def test_as_many_are_flagged_as_were_asked_for(case):
    scores, count, groups = case
    for found in (flag(scores, count), flag(scores, count, groups)):
        assert found.dtype == bool
        assert found.shape == scores.shape
        assert found.sum() == count


@given(cases())
def test_none_that_is_kept_scores_higher(case):
    scores, count, groups = case
    for group in (np.zeros_like(groups), groups):
        found = flag(scores, count, group)
        for one in np.unique(group):
            kept, gone = (scores[(group == one) & which] for which in (~found, found))
            assert not len(kept) or not len(gone) or kept.max() <= gone.min()


@given(cases())
def test_each_group_loses_its_share_to_within_a_sample(case):
    scores, count, groups = case
    found = flag(scores, count, groups)
    for one in np.unique(groups):
        due = count * (groups == one).sum() / len(groups)
        assert abs(found[groups == one].sum() - due) < 1


@given(cases())
def test_remainders_that_are_rounded_up_are_the_largest(case):
    scores, count, groups = case
    found, sizes = flag(scores, count, groups), np.bincount(groups, minlength=7)
    own, whole = np.bincount(groups[found], minlength=7), count * sizes // max(1, len(scores))
    remainders = count * sizes - whole * len(scores)
    up = own > whole
    assert not up.any() or up.all() or remainders[up].min() >= remainders[~up].max()


@given(cases(distinct=True), st.randoms())
def test_the_order_of_the_samples_does_not_matter(case, random):
    scores, count, groups = case
    order = np.array(random.sample(range(len(scores)), len(scores)), dtype=int)
    for group in (None, groups):
        shuffled = flag(scores[order], count, None if group is None else group[order])
        assert shuffled.tolist() == flag(scores, count, group)[order].tolist()


@given(cases(distinct=True), st.permutations(range(7)))
def test_names_of_groups_do_not_matter(case, names):
    scores, count, groups = case
    renamed = np.array([f"group {name}" for name in names])[groups]
    assert flag(scores, count, renamed).tolist() == flag(scores, count, groups).tolist()


@given(cases())
def test_one_group_is_no_group(case):
    scores, count, groups = case
    assert flag(scores, count, np.full_like(groups, 3)).tolist() == flag(scores, count).tolist()


@given(cases(), st.integers(0, 3))
def test_more_flagged_without_groups_holds_those_flagged_before(case, fewer):
    scores, count, _ = case
    assert (flag(scores, count) >= flag(scores, max(0, count - fewer))).all()


def test_among_equal_scores_those_to_flag_are_drawn_wherever_they_stand():
    drawn = np.mean([flag(np.ones(20), 5, seed=seed) for seed in range(200)], axis=0)
    assert (np.abs(drawn - 0.25) < 0.12).all()
    groups = np.repeat([1, 0], 10)
    held = np.mean([flag(np.ones(20), 6, groups, seed=seed) for seed in range(200)], axis=0)
    assert (np.abs(held - 0.3) < 0.12).all()
    assert (flag(np.ones(20), 5, seed=3) == flag(np.ones(20), 5, seed=3)).all()
    scores = np.concatenate([np.ones(10), [2.0]])
    assert all(flag(scores, 4, seed=seed)[10] for seed in range(20))


def test_of_equal_remainders_the_higher_score_is_rounded_up():
    scores = np.array([0.1, 0.2, 0.9, 0.3])
    assert np.flatnonzero(flag(scores, 2, np.arange(4))).tolist() == [2, 3]  # not groups 0 and 1, as they are named
    assert np.flatnonzero(flag(scores, 1, np.array(["a", "a", "b", "b"]))).tolist() == [2]


def test_a_group_pays_what_another_would_have_lost():
    scores, groups = np.array([9, 8, 7, 6, 1, 2, 3, 4.0]), np.repeat(["many", "few"], 4)
    assert np.flatnonzero(flag(scores, 4)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(flag(scores, 4, groups)).tolist() == [0, 1, 6, 7]


def test_nan_is_flagged_last():
    scores = np.array([np.nan, 1.0, 2.0])
    assert np.flatnonzero(flag(scores, 2)).tolist() == [1, 2]
    assert np.flatnonzero(flag(scores, 2, np.zeros(3))).tolist() == [1, 2]


@pytest.mark.parametrize("groups", [["a", None, "a", None], [1, "x", 1, "x"], [np.nan, 0.0, np.nan, 0.0]])
def test_missing_and_mixed_groups_are_groups(groups):
    found = flag(np.arange(4.0), 2, np.array(groups, dtype=object))
    assert np.flatnonzero(found).tolist() == [2, 3]
    assert np.flatnonzero(flag(np.array([3.0, 0, 2, 1]), 2, np.array(groups, dtype=object))).tolist() == [0, 3]


@pytest.mark.parametrize("count", [-1, 4])
def test_a_count_beyond_the_samples_is_refused(count):
    with pytest.raises(SettingError, match=f"of 3 samples from 0 to 3 can be flagged; given {count}"):
        flag(np.arange(3.0), count)


def test_groups_of_another_length_are_refused():
    with pytest.raises(SettingError, match=r"each of 3 samples, given shape \(2,\)"):
        flag(np.arange(3.0), 1, np.zeros(2))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", None]), st.booleans()), max_size=30))
def test_crossed_groups_tell_combinations_apart(rows):
    columns = [np.array([row[place] for row in rows], dtype=kind) for place, kind in enumerate((int, object, bool))]
    found = crossed(columns, len(rows))
    assert found.shape == (len(rows),)
    assert len(set(rows)) == len(set(found.tolist())) == len(set(zip(rows, found.tolist(), strict=True)))


def test_many_columns_of_many_values_do_not_overflow():
    values = np.arange(3000)
    assert crossed([values] * 10, 3000).tolist() == values.tolist()


def test_nothing_crossed_is_no_group():
    assert crossed([], 3) is None
    with pytest.raises(SettingError, match=r"each of 3 samples, given shape \(2,\)"):
        crossed([np.zeros(3), np.zeros(2)], 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("values", [3, 40, None], ids=["many ties", "some ties", "no ties"])
def test_the_highest_are_those_of_a_whole_sort(values, seed):
    generator = np.random.default_rng(seed)
    scores = generator.random(50) if values is None else generator.integers(0, values, 50).astype(float)
    if seed == 2:
        scores[[3, 17]] = np.nan
    order = np.lexsort((np.random.default_rng(seed).permutation(50), -scores))
    for count in (0, 1, 7, 25, 49, 50):
        assert np.flatnonzero(flag(scores, count, seed=seed)).tolist() == sorted(order[:count].tolist())
