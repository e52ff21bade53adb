import numpy as np
from sklearn.metrics import average_precision_score

from gradsift.detectors import WrongTokenPosterior, detrimental_scores
from gradsift.evidence import Evidence
from gradsift.evidence.tokens import TokenEvidence
from tests.detectors.test_word_windows import windows


def memorised(words=True):
    """Tokens whose class is told by their number, of a model that repeats half of the wrong labels."""
    generator = np.random.default_rng(0)
    sentences = generator.integers(0, 8, (150, 6))
    true = (sentences % 2).ravel()
    wrong = np.zeros(len(true), dtype=bool)
    wrong[generator.choice(len(true), 40, replace=False)] = True
    labels = np.where(wrong, 1 - true, true)
    shown = np.where(wrong & (generator.random(len(true)) < 0.5), labels, true)
    probabilities = np.where(np.arange(2) == shown[:, None], 0.9, 0.1)
    probabilities[:, 0] += generator.uniform(-0.05, 0.05, len(true))
    probabilities[:, 1] = 1 - probabilities[:, 0]
    evidence = Evidence(probabilities, labels=labels, kind="class", provenance={"predictions": "in-sample"})
    samples, places = np.divmod(np.arange(len(true)), 6)
    tokens = TokenEvidence(evidence, samples, places, 150, windows(sentences) if words else None)
    return tokens, wrong


def test_words_tell_wrong_labels_that_the_model_has_memorised():
    tokens, wrong = memorised()
    bad = tokens.worst(wrong.astype(float)) > 0
    scores = detrimental_scores(WrongTokenPosterior(), tokens)
    assert average_precision_score(bad, scores) > 0.95
    alone = detrimental_scores(WrongTokenPosterior(), memorised(words=False)[0])
    assert average_precision_score(bad, alone) < 0.8


def test_a_wrong_token_is_suggested_its_class():
    tokens, wrong = memorised()
    fitted = WrongTokenPosterior().fit(tokens)
    assert average_precision_score(wrong, fitted.wrong_) > 0.95
    shown = tokens.evidence.predictions.rows(np.arange(900)).argmax(axis=1)
    told = np.flatnonzero(wrong & (shown != tokens.evidence.labels))
    suggested = fitted.posterior_.true_class_probabilities(told).argmax(axis=1)
    assert np.array_equal(suggested, 1 - tokens.evidence.labels[told])
