import numpy as np

from gradsift.detectors.word_windows import by_words


def windows(sentences):
    """Words around every word of sentences of one length."""
    padded = np.pad(sentences, ((0, 0), (2, 2)), constant_values=-1)
    return np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1).reshape(-1, 5)


def test_a_word_is_told_by_itself_and_by_the_one_before_it():
    sentences = np.random.default_rng(0).integers(0, 6, (200, 8))
    labels = sentences % 2
    labels[:, 1:] |= sentences[:, :-1] == 5  # behind word 5 every word is of class 1
    labels, samples = labels.ravel(), np.repeat(np.arange(200), 8)
    probabilities = by_words(windows(sentences), labels, samples, 3, seed=0)
    assert probabilities.shape == (1600, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.95
    assert np.array_equal(probabilities, by_words(windows(sentences), labels, samples, 3, seed=0))


def test_a_label_does_not_speak_for_itself():
    sentences = np.random.default_rng(0).integers(0, 6, (200, 8))
    samples, right = np.repeat(np.arange(200), 8), (sentences % 2).ravel()
    turned = right.copy()
    turned[80:88] = 1 - right[80:88]  # all words of sample 10
    before, after = (by_words(windows(sentences), labels, samples, 2, seed=0) for labels in (right, turned))
    assert (after[80:88].argmax(axis=1) == right[80:88]).all()
    assert np.allclose(before[80:88], after[80:88], atol=0.05)  # the temperature alone has seen it


def test_nothing_is_said_of_few_tokens_of_few_samples_or_of_many_classes():
    words, labels = windows(np.zeros((100, 4), dtype=np.int64)), np.tile([0, 1, 0, 1], 100)
    samples = np.repeat(np.arange(100), 4)
    assert by_words(words, labels, samples, 2, seed=0) is not None
    assert by_words(words, labels, samples, 101, seed=0) is None
    assert by_words(words, labels, samples // 20, 2, seed=0) is None
    assert by_words(words[:100], labels[:100], samples[:100], 2, seed=0) is None
