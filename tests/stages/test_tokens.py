"""Token classification from the audit to the table of tokens and corrected labels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift
from gradsift.cleaning.part_labels import PartLabels, suggested_parts
from gradsift.data import Samples
from gradsift.errors import DataError
from gradsift.gradients import Batcher
from gradsift.stages.token_evidence import token_evidence
from gradsift.store.tables import TOKENS
from gradsift.table.tokens import TOKEN_COLUMNS, follows

NAMES = ["O", "B-PER", "I-PER"]


class Tagger(nn.Module):
    """Tags by a token's number modulo 3, through a linear layer on each token."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 3)
        self.embedding.weight.data = torch.eye(3)[torch.arange(30) % 3] + 0.05 * torch.randn(30, 3)
        self.head = nn.Linear(3, 3)
        self.head.weight.data, self.head.bias.data = 4 * torch.eye(3), torch.zeros(3)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


@pytest.fixture(scope="module")
def tagged():
    """Token numbers, given labels with padding, and which of them are wrong."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 30, (200, 8))
    labels = tokens % 3
    wrong = np.zeros(labels.shape, dtype=bool)
    wrong[np.arange(20), generator.integers(0, 6, 20)] = True
    labels = np.where(wrong, (labels + 1) % 3, labels)
    labels[:, 6:] = -100
    return Tagger().eval(), torch.from_numpy(tokens), torch.from_numpy(labels), wrong


@pytest.fixture(scope="module")
def audit(tagged, tmp_path_factory):
    model, tokens, labels, _ = tagged
    return gradsift.audit(
        model, (tokens, labels), task="token-classification", class_names=NAMES, show_progress=False,
        output=tmp_path_factory.mktemp("runs") / "x", batch_size=64,
    )  # fmt: skip


def test_wrong_tokens_and_their_sentences_are_found(audit, tagged):
    wrong = tagged[3]
    assert audit.detector == "token_posterior"
    assert average_precision_score(wrong.any(axis=1), audit.table["score"].to_numpy()) > 0.95
    assert set(audit.flagged_positions) == set(np.flatnonzero(wrong.any(axis=1)))
    assert "score_worst_token" in audit.table.column_names
    reason = audit.worst(1, previews=False)["reason"][0].as_py()
    assert reason.startswith("token ")
    assert "probably 'B-PER'" in reason or "probably 'O'" in reason or "probably 'I-PER'" in reason
    assert "labels of tokens that are more probably wrong than right" in audit.cut


def test_the_table_of_tokens(audit, tagged):
    labels, wrong = tagged[2].numpy(), tagged[3]
    table = audit.tokens
    assert table.column_names == list(TOKEN_COLUMNS)
    assert table.num_rows == 200 * 6
    rows, places = table["position"].to_numpy(), table["token"].to_numpy()
    assert np.array_equal(table["given_label"].to_numpy(), labels[rows, places])
    flagged = table["flagged"].to_numpy()
    assert np.array_equal(flagged, wrong[rows, places])
    assert table["suggested_label"].null_count == (~flagged).sum()
    opened = gradsift.Audit.open(audit.run.path)
    assert opened.tokens.equals(table)
    (audit.run.path / TOKENS).stat()


def test_tokens_are_corrected_and_samples_trimmed(audit, tagged):
    _, tokens, labels, wrong = tagged
    right = np.where(labels.numpy() == -100, -100, tokens.numpy() % 3)
    better = audit.correct((tokens, labels), "relabel")
    assert np.array_equal(better[1].numpy(), right)
    assert (labels.numpy() != right).sum() == wrong.sum()  # as they were
    assert len(audit.trim((tokens, labels))[0]) == 180
    with pytest.raises(gradsift.errors.SettingError):
        audit.correct((tokens, labels), "soft")


def test_other_labels_than_those_that_were_audited_are_refused(audit, tagged):
    _, tokens, labels, _ = tagged
    flagged = suggested_parts(audit, audit.flagged_positions)
    for other in (labels.roll(1, 0), labels[:, :1]):
        with pytest.raises(DataError, match="not those that were audited"):
            PartLabels(audit, Samples((tokens, other))).stored(flagged)
    with pytest.raises(DataError, match="no column of labels"):
        PartLabels(audit, Samples([{"x": 1}] * 200)).stored(flagged)
    relabelled = PartLabels(audit, Samples({"x": tokens, "labels": labels.numpy()})).stored(flagged)
    assert all(isinstance(one, np.ndarray) for one in relabelled.values())


def test_tags_follow_each_other_by_the_rule_of_bio():
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    samples = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    labels = np.array([1, 2, 4, 0, 2, 3, 4, 4])
    assert follows(samples, labels, names).tolist() == [True, True, False, True, False, True, True, True]
    assert follows(samples, labels, ["a", "b", "c", "d", "e"]) is None
    assert follows(samples, labels, None) is None


def test_names_of_another_number_and_labels_that_are_no_class_are_refused(tagged):
    model, tokens, labels, _ = tagged
    with pytest.raises(DataError, match="holds 2 classes"):
        gradsift.audit(
            model, (tokens, labels), task="token-classification", class_names=["O", "B"], show_progress=False
        )
    with pytest.raises(DataError, match="outside 0"):
        gradsift.audit(model, (tokens, labels + 9 * (labels == 2)), task="token-classification", show_progress=False)
    with pytest.raises(DataError, match="one label a token"):
        gradsift.audit(model, (tokens, labels[:, :4]), task="token-classification", show_progress=False)


def test_a_vocabulary_is_not_looked_at_token_by_token(tagged):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(30, 4), nn.Linear(4, 1200)).eval()
    audit = gradsift.audit(model, (tagged[1], tagged[1]), task="token-classification", show_progress=False)
    assert audit.detector == "loss"
    assert audit.tokens is None


def test_words_around_a_token_do_not_depend_on_padding(tagged):
    model, tokens, labels, _ = tagged
    task, samples = gradsift.tasks.TokenClassification(), Samples((tokens[:4], labels[:4]))
    seen = token_evidence(model, task, samples, np.arange(4), Batcher(2), show_progress=False)
    assert seen.words.shape == (24, 5)
    inside = tokens[0].tolist()
    assert seen.words[0].tolist() == [-1, -1, *inside[:3]]
    assert seen.words[5].tolist() == [*inside[3:6], -1, -1]  # behind it there is padding


def test_inputs_that_are_no_token_numbers_have_no_words():
    frames = torch.randn(20, 5, 3)
    samples = Samples((frames, torch.zeros(20, 5, dtype=torch.int64)))
    task, model = gradsift.tasks.TokenClassification(), nn.Linear(3, 2).eval()
    seen = token_evidence(model, task, samples, np.arange(20), Batcher(8), show_progress=False)
    assert seen.words is None
    assert seen.evidence.features.shape == (100, 3)
