"""Inputs that are almost the same are paired, and others are not."""

import numpy as np
import pytest

from gradsift.data import Samples
from gradsift.findings.aligned import aligned_correlation
from gradsift.findings.alike import alike_pairs, groups_of
from gradsift.findings.inputs import read_inputs
from gradsift.findings.leak import duplicates_and_leak
from gradsift.findings.near_duplicates import near_duplicates, near_features
from gradsift.store import ArrayMatrix

SIZE = 120
WORDS = [f"word{number}" for number in range(400)]


def pictures(seed=0):
    """Blobs of light on noise, 32 x 32 in 0 to 255."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    images = generator.normal(40, 3, (SIZE, 32, 32))
    for image in images:
        for _ in range(6):
            centre, width = generator.uniform(2, 30, 2), generator.uniform(2, 5)
            image += generator.uniform(30, 90) * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2)
    return images.clip(0, 255).astype(np.float32)


def sentences(seed=0, length=15):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, length)) for _ in range(SIZE)]


def pairs_of(inputs):
    found = near_duplicates(inputs)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_a_picture_is_found_brighter_and_cut():
    images = pictures()
    images[50] = images[3] * 0.8 + 20
    cut = np.kron(images[7][1:29, 2:30], np.ones((8, 8)))  # 28 of 32 pixels, enlarged
    images[60] = cut.reshape(32, 7, 32, 7).mean(axis=(1, 3))
    assert pairs_of(read_inputs(Samples((images, np.zeros(SIZE))))) == {(3, 50), (7, 60)}


def test_colours_and_channels_first_are_pictures_too():
    grey = pictures()
    grey[50] = grey[3]
    coloured = np.repeat(grey[:, None], 3, axis=1) / 255
    assert pairs_of(read_inputs(Samples((coloured.astype(np.float32), np.zeros(SIZE))))) == {(3, 50)}


@pytest.mark.parametrize("kind", ["text", "chat"])
def test_a_text_with_another_word_is_found(kind):
    texts = sentences()
    words = texts[3].split()
    texts[50] = " ".join([*words[:5], "other", *words[6:]])
    rows = [{"text": text, "label": place % 2} for place, text in enumerate(texts)]
    if kind == "chat":
        rows = [
            {"messages": [{"role": "user", "content": "Tell me"}, {"role": "assistant", "content": t}]} for t in texts
        ]
    assert pairs_of(read_inputs(Samples(rows))) == {(3, 50)}


def test_a_row_of_numbers_is_found_with_a_little_noise():
    rows = np.random.default_rng(0).standard_normal((SIZE, 5)).astype(np.float32) * (1, 10, 100, 1e6, 1e-3)
    rows[50] = rows[3] * 1.00001
    assert pairs_of(read_inputs(Samples((rows.astype(np.float32), np.zeros(SIZE))))) == {(3, 50)}


def test_rows_of_words_and_numbers_are_compared_whole():
    rows = [{"job": WORDS[place % 3], "age": place, "label": 0} for place in range(SIZE)]
    rows[50] |= {"job": rows[3]["job"], "age": rows[3]["age"]}
    inputs = read_inputs(Samples(rows))
    assert not len(inputs.compared)
    assert pairs_of(inputs) == {(3, 50)}


def test_a_test_set_is_looked_for_in_the_training_set():
    train, test = sentences(), sentences(seed=1)
    test[4], test[9] = train[7], train[8] + " more"
    as_rows = [Samples([{"text": text, "label": 0} for text in texts]) for texts in (train, test)]
    pairs, leak = duplicates_and_leak(*map(read_inputs, as_rows))
    assert not len(pairs.first)
    assert (leak.of_train.tolist(), leak.of_test.tolist(), leak.size) == ([7, 8], [4, 9], SIZE)


def test_features_tell_duplicates_where_inputs_are_not_at_hand():
    features = np.random.default_rng(0).standard_normal((SIZE, 16)) + 3
    features[50] = features[3] + 1e-3
    positions, pairs = near_features(ArrayMatrix(features))
    assert np.array_equal(positions, np.arange(SIZE))
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([3], [50])


def test_hashing_finds_what_comparing_all_finds(monkeypatch):
    from gradsift.findings import alike

    vectors = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)
    vectors[300:330] = vectors[:30] + 0.02 * np.random.default_rng(1).standard_normal((30, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = alike_pairs(vectors, 0.98)
    monkeypatch.setattr(alike, "WHOLE", 500)
    hashed = alike_pairs(vectors, 0.98)
    assert [places.tolist() for places in whole[:2]] == [list(range(30)), list(range(300, 330))]
    np.testing.assert_array_equal(whole[0], hashed[0])
    np.testing.assert_allclose(whole[2], hashed[2], rtol=1e-5)


def test_groups_hang_together_by_pairs():
    assert groups_of(6, np.array([1, 2]), np.array([2, 5])).tolist() == [-1, 1, 1, -1, -1, 1]
    assert groups_of(2, np.zeros(0, dtype=int), np.zeros(0, dtype=int)).tolist() == [-1, -1]


def test_a_shifted_thumbnail_agrees():
    images = pictures()[:20, 4:28, 4:28]
    itself, other = aligned_correlation(images, images), aligned_correlation(images, images[::-1])
    np.testing.assert_allclose(itself, 1, atol=1e-5)
    assert (other < 0.95).all()
    assert aligned_correlation(images[:0], images[:0]).shape == (0,)
