import numpy as np

from gradsift.detectors import neighbours
from gradsift.detectors.neighbours import Nearest, drawn
from gradsift.store import ArrayMatrix


def test_the_nearest_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    features = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    features[5] = 0  # no direction: as far from all others
    references = np.arange(0, 60, 2)
    positions = np.array([0, 3, 8, 5, 59])
    found, cosines = Nearest(ArrayMatrix(features), references, 6).of(positions)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    likeness = unit[positions] @ unit[references].T
    likeness[positions[:, None] == references] = -np.inf
    np.testing.assert_allclose(cosines, -np.sort(-likeness, axis=1)[:, :6], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(likeness, found.astype(int), axis=1), cosines, atol=1e-6)
    assert not (references[found[:1]] == 0).any()  # a sample is no neighbour of its own


def test_references_are_drawn_once_and_in_order():
    assert drawn(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
    some = drawn(1000, 10, 3)
    assert some.tolist() == sorted(set(some.tolist())) == drawn(1000, 10, 3).tolist()
    assert some.tolist() != drawn(1000, 10, 4).tolist()
