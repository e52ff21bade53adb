"""Outliers: told by inputs that can be compared, only ranked elsewhere."""

import numpy as np
import pytest

from gradsift.data import Samples
from gradsift.detectors.neighbours import Neighbourhood
from gradsift.evidence import Evidence
from gradsift.findings.find import find
from gradsift.findings.inputs import read_inputs
from gradsift.findings.outliers import by_features, by_inputs, in_deviations, outliers
from gradsift.store import ArrayMatrix

SIZE, STRANGE = 300, (20, 140, 260)
LABELS = np.arange(SIZE) % 2


@pytest.fixture(scope="module")
def images():
    """Discs in two places, with noise; three strange ones of checks, and an empty one."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :24]
    centre = np.where(LABELS == 0, 9, 14)[:, None, None]
    discs = 150.0 * ((rows - centre) ** 2 + (columns - centre) ** 2 < 30) + generator.uniform(0, 80, (SIZE, 24, 24))
    for place in STRANGE:
        discs[place] = 220 * ((rows // 2 + columns // 2) % 2) * (rows < 4 + 4 * place // 100)
    discs[5] = 0
    return discs.astype(np.uint8)


def test_strange_pictures_are_told_and_broken_ones_are_not_scored(images):
    found = find(Evidence(labels=LABELS), samples=Samples((images, LABELS)))
    told = {finding.kind: finding.positions.tolist() for finding in found.findings}
    assert set(STRANGE) <= set(told["outlier"])
    assert len(told["outlier"]) < 10
    assert told["broken_input"] == [5]
    assert found.columns["outlier_score"].null_count == 1
    assert found.columns["outlier_score"][5].as_py() is None


def test_strange_texts_are_ranked_first():
    generator = np.random.default_rng(0)
    words = np.array(
        ["team", "won", "match", "late", "goal", "new", "captain", "home", "fans", "season", "cup", "by", "a"]
    )
    texts = [" ".join(generator.choice(words, 12)) for _ in range(SIZE)]
    for place in STRANGE:
        texts[place] = f"SELECT name{place} FROM users WHERE id = {place} ORDER BY date"
    rows = [{"text": text, "label": int(label)} for text, label in zip(texts, LABELS, strict=True)]
    score, told = outliers(Evidence(labels=LABELS), read_inputs(Samples(rows)), None)
    assert set(np.argsort(-score)[:3]) == set(STRANGE)
    assert told[list(STRANGE)].all()
    assert told.sum() < 10


def test_rows_of_numbers_are_ranked_by_features_and_none_is_told():
    rows = np.random.default_rng(0).standard_normal((SIZE, 8)).astype(np.float32) + 5
    rows[7] = -20
    neighbourhood = Neighbourhood(ArrayMatrix(rows))
    score, told = outliers(Evidence(labels=LABELS), read_inputs(Samples((rows, LABELS))), neighbourhood)
    assert score.argmax() == 7
    assert not told.any()


def test_nothing_is_known_without_inputs_and_features_or_of_few_samples(images):
    assert outliers(Evidence(labels=LABELS), None, None)[0] is None
    few = read_inputs(Samples((images[:50], LABELS[:50])))
    assert outliers(Evidence(labels=LABELS[:50]), few, None)[0] is None


def test_the_prediction_counts_beside_the_distance():
    generator = np.random.default_rng(0)
    features = generator.standard_normal((SIZE, 4)) + 3
    predictions = np.tile([0.99, 0.01], (SIZE, 1))
    predictions[3] = 0.5
    neighbourhood = Neighbourhood(ArrayMatrix(features))
    alone, both = by_features(neighbourhood), by_features(neighbourhood, ArrayMatrix(predictions))
    assert (alone > alone[3]).sum() > (both > both[3]).sum()


def test_copies_and_constant_scores_are_usual():
    assert not in_deviations(np.ones(5)).any()
    assert np.isfinite(by_inputs(np.ones((200, 6), np.float16))).all()
