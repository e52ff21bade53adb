import numpy as np

from gradsift.table.parts import of_label_sets, of_values


def test_one_cut_for_all_labels_adds_some_and_removes_others():
    wrong = np.array([[0.9, 0.1, 0.8], [0.7, 0.2, 0.0], [0.6, 0.95, 0.1]])
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0]])
    found = of_label_sets(wrong, labels, np.array([True, False, True]), ["cat", "dog", "sea"])
    assert found.labels.to_pylist() == [[0, 0, 0], None, [1, 0, 0]]  # 0.8 is below the cut, which is 0.9
    assert found.words == {0: "remove 'cat'", 2: "remove 'dog'"}
    both = of_label_sets(wrong, labels, np.array([True, True, True]), ["cat", "dog", "sea"])
    assert both.labels.to_pylist() == [[0, 0, 1], [1, 0, 1], [1, 0, 0]]  # the cut is 0.7
    assert both.words[0] == "remove 'cat', add 'sea'"


def test_labels_without_names_and_unknown_ones():
    wrong = np.array([[np.nan, 0.9], [0.1, 0.1]])
    labels = np.array([[np.nan, 0.0], [1.0, 0.0]])
    found = of_label_sets(wrong, labels, np.array([True, False]), None)
    assert found.labels.to_pylist() == [[None, 1], None]
    assert found.words == {0: "add label 1"}
    assert of_label_sets(wrong, labels, np.zeros(2, dtype=bool), None).labels.null_count == 2


def test_values_get_an_interval_and_ordinal_ones_a_level():
    expected, ones = np.array([[1.4], [2.0], [0.2]]), np.ones((3, 1))
    flagged = np.array([True, False, True])
    plain = of_values(expected, expected - 1, expected + 1, 0.9 * ones, np.array([[3.5], [2.0], [5.0]]), flagged)
    assert plain.labels.to_pylist() == [1.4, None, 0.2]
    assert plain.columns["suggested_low"].to_pylist() == [0.3999999999999999, None, -0.8]
    assert plain.words[0] == "expected 1.4 (0.4 to 2.4)"

    ordinal = of_values(expected, expected - 1, expected + 1, 0.9 * ones, np.array([[3.0], [2.0], [1.0]]), flagged)
    assert ordinal.labels.to_pylist() == [1.0, None, 1.0]


def test_several_targets_are_suggested_together_and_the_worst_is_named():
    expected = np.array([[1.5, 2.5]])
    found = of_values(expected, expected, expected, np.array([[0.2, 0.9]]), np.array([[0.5, 9.5]]), np.array([True]))
    assert found.labels.to_pylist() == [[1.5, 2.5]]
    assert found.words[0].startswith("target 1 expected 2.5")
    assert found.columns == {}
