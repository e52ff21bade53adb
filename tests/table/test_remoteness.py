import numpy as np
import pytest

from gradsift.store import ArrayMatrix
from gradsift.table.remoteness import remoteness


@pytest.fixture
def features():
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((400, 6)) * 0.1 + np.eye(6)[np.arange(400) % 3]
    directions[7] = [0, 0, 0, 0, 0, 5]
    return ArrayMatrix((directions * generator.uniform(1, 9, (400, 1))).astype(np.float32))


def test_far_inputs_are_told(features):
    positions = np.arange(400)
    nearer = remoteness(features, positions)
    assert nearer.shape == (400,)
    assert nearer[7] == nearer.max() > 0.99
    assert nearer.mean() == pytest.approx(0.5, abs=0.01)


def test_distances_are_compared_with_a_part_where_there_are_many(features, monkeypatch):
    whole = remoteness(features, np.arange(50))
    for name, value in {"REFERENCES": 300, "COMPARED": 100}.items():
        monkeypatch.setattr(f"gradsift.table.remoteness.{name}", value)
    monkeypatch.setattr("gradsift.detectors.neighbours.CHUNK", 7)
    part = remoteness(features, np.arange(50))
    assert np.corrcoef(whole, part)[0, 1] > 0.9
    assert (remoteness(features, np.arange(50)) == part).all()


def test_a_single_sample_is_near():
    assert remoteness(ArrayMatrix(np.ones((1, 3))), np.array([0])).tolist() == [0.0]
