"""Embedding models: losses against a frozen bank, triplets, what is found, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

import gradsift
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import Contrastive, Triplet, get_task
from gradsift.tasks.matches import embedded
from gradsift.tasks.structured import Classes
from tests.support.families import BY_NAME
from tests.support.oracle import norms, oracle
from tests.support.pretrained import tokenizer


@pytest.fixture(scope="module")
def trained():
    """A tower, pairs whose match is the anchor with noise, of which the first eight have another's match."""
    torch.manual_seed(0)
    anchors = torch.randn(120, 6)
    matches = anchors + 0.2 * torch.randn(120, 6)
    matches[:8] = matches[:8].roll(1, 0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 6))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for rows in list(torch.randperm(120).split(40)) * 10:
        similar = F.normalize(model(anchors[rows]), dim=1) @ F.normalize(model(matches[rows]), dim=1).T
        optimizer.zero_grad()
        F.cross_entropy(similar / 0.1, torch.arange(len(rows))).backward()
        optimizer.step()
    return model.eval(), {"anchor": anchors, "positive": matches}


def test_the_loss_is_that_of_a_batch_of_the_bank(trained):
    model, pairs = trained
    task = Contrastive.of(model, pairs, size=32, temperature=0.1, seed=3)
    losses = task.losses(task.outputs(model, pairs), pairs)
    own = F.normalize(model(pairs["anchor"]), dim=1), F.normalize(model(pairs["positive"]), dim=1)
    chosen = np.sort(np.random.default_rng(3).permutation(120)[:32])
    for place in (0, int(chosen[0]), 50):
        others = [one for one in chosen if one != place]
        logits = own[0][place] @ torch.cat([own[1][[place]], own[1][others]]).T / 0.1
        assert losses[place].item() == pytest.approx(F.cross_entropy(logits[None], torch.tensor([0])).item(), rel=1e-4)
    alone = task.losses(task.outputs(model, {k: v[5:6] for k, v in pairs.items()}), None)
    torch.testing.assert_close(alone[0], losses[5])


@pytest.mark.parametrize("name", ["contrastive", "triplet"])
def test_gradients_equal_those_of_a_sample_alone(trained, name):
    model, pairs = trained
    batch = {key: value[:6] for key, value in pairs.items()} | {"negative": torch.randn(6, 6)}
    task = Triplet() if name == "triplet" else Contrastive.of(model, pairs, size=16)
    per_sample = PerSampleGradients(model, task, batch, layers="all", reductions=Reductions(l2=True))
    truth = norms(oracle(model, task, batch))[1]
    torch.testing.assert_close(per_sample(batch).statistics["l2"].double(), truth, rtol=1e-3, atol=1e-6)


def test_wrong_matches_are_found_and_trimmed(trained, tmp_path):
    model, pairs = trained
    task = Contrastive.of(model, pairs, size=64, temperature=0.1)
    audit = gradsift.audit(model, pairs, task=task, show_progress=False, output=tmp_path / "run")
    assert audit.detector == "worst_part"
    wrong = np.arange(120) < 8
    assert average_precision_score(wrong, audit.table["score"].to_numpy()) > 0.8
    assert "of 64 other matches are closer to the anchor" in audit.worst(1, previews=False)["reason"][0].as_py()
    assert len(audit.trim(pairs)["anchor"]) == 120 - len(audit.flagged_positions)
    assert "Bank(64 pairs, " in audit.details["task"]
    assert "MatchLikelihood(120 pairs)" in audit.details["task"]


def test_inputs_that_are_readable_score_the_pairs_and_others_the_losses(trained):
    model, pairs = trained
    task = Contrastive.of(model, pairs, size=64, temperature=0.1)
    outputs = task.outputs(model, pairs)
    assert (len(task.bank), len(task.likelihood)) == (64, 120)
    unlikely, wrong = task.likelihood.rated(pairs["anchor"], pairs["positive"], outputs)
    parts = task.worst_parts(outputs, pairs, Classes(None))
    assert [part.score for part in parts] == unlikely.tolist()
    assert [part.wrong for part in parts] == wrong.tolist()
    images = {side: value.reshape(-1, 1, 2, 3) for side, value in pairs.items()}
    blind = Contrastive.of(nn.Sequential(nn.Flatten(), model), images, size=64, temperature=0.1)
    assert blind.likelihood is None
    part = blind.worst_parts(outputs, images, Classes(None))[0]
    chosen = np.sort(np.random.default_rng(0).permutation(120)[:64])
    anchor, match = outputs.unbind(dim=1)
    expected = 0
    for one, other in ((anchor, match), (match, anchor)):
        logits = torch.cat([one[[0]] @ other[[0]].T, one[[0]] @ other[[row for row in chosen if row != 0]].T], dim=1)
        expected += F.cross_entropy(logits / 0.2, torch.tensor([0])).item()
    assert part.score == pytest.approx(expected, rel=1e-4)
    assert part.wrong is None


def test_matches_more_probably_wrong_than_right_are_flagged(trained):
    model, pairs = trained
    audit = gradsift.audit(model, pairs, task=Contrastive.of(model, pairs, temperature=0.1), show_progress=False)
    assert set(audit.flagged_positions) <= set(range(8))
    assert len(audit.flagged_positions) >= 6
    words = audit.details["contamination"]["words"]
    assert "wrong with a probability above 50 %" in words
    assert "Nearly right ones are not found by this count" in words
    given = gradsift.audit(
        model, pairs, task=Contrastive.of(model, pairs, temperature=0.1), contamination=0.1, show_progress=False
    )
    assert len(given.flagged_positions) == 12


def test_words_that_two_texts_share_are_read():
    texts = [(f"w8 w9 w{10 + place}", f"w9 w8 w{10 + place}") for place in range(12)]
    rows = [{"anchor": first, "positive": second} for first, second in texts]
    rows[0]["positive"] = rows[1]["positive"]
    train_set = gradsift.MatchSet(rows, tokenizer(special=True))
    torch.manual_seed(0)
    model = Mean(40, 16).eval()
    task = Contrastive.of(model, train_set)
    batch = train_set.collate([train_set[place] for place in range(len(rows))])
    scores = [part.score for part in task.worst_parts(task.outputs(model, batch), batch, Classes(None))]
    assert int(np.argmax(scores)) == 0


def test_swapped_triplets_are_found_and_turned_around():
    rows = [{"anchor": f"w{8 + i % 10}", "positive": f"w{8 + i % 10} w{20 + i % 3}", "negative": f"w{30 + i % 9}"}
            for i in range(60)]  # fmt: skip
    for row in rows[:5]:
        row["positive"], row["negative"] = row["negative"], row["positive"]
    train_set = gradsift.MatchSet(rows, tokenizer(special=True))
    torch.manual_seed(0)
    model = Mean(40, 256).eval()  # of words alone: texts that share words are alike
    audit = gradsift.audit(model, train_set, task="triplet", show_progress=False)
    assert audit.detector == "pair_posterior"
    assert set(audit.flagged_positions) == set(range(5))
    better = gradsift.correct(audit, train_set, how="relabel").raw
    assert all(row["positive"].startswith(row["anchor"]) for row in better)


class Mean(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.words, self.head = nn.Embedding(words, width), nn.Linear(width, width)
        nn.init.eye_(self.head.weight)

    def forward(self, input_ids, attention_mask):
        mask = (attention_mask * (input_ids > 3))[..., None]
        return self.head((self.words(input_ids) * mask).sum(1) / mask.sum(1))


def test_what_models_give_becomes_one_embedding():
    bert = BY_NAME["bert_sequence"].make().bert.eval()
    rows = [{"anchor": "w8 w9 w10", "positive": "w8"}, {"anchor": "w9", "positive": "w10 w11"}]
    train_set = gradsift.MatchSet(rows, tokenizer(special=True))
    batch = train_set.collate([train_set[0], train_set[1]])
    task = Contrastive.of(bert, train_set)
    states = bert(input_ids=batch["anchor_input_ids"], attention_mask=batch["anchor_attention_mask"]).last_hidden_state
    expected = F.normalize(states[1, :3].mean(dim=0), dim=0)
    torch.testing.assert_close(task.outputs(bert, batch)[1, 0], expected)
    assert train_set.encoding["anchor"] == "anchor"
    assert "negative" not in train_set.encoding
    layer = nn.Linear(3, 2)
    wrapped = Wrapped(layer)
    torch.testing.assert_close(embedded(wrapped, torch.ones(4, 3)), layer(torch.ones(4, 3)))
    with pytest.raises(ModelError, match=r"a tensor of shape \(n, D\)"):
        embedded(nn.Linear(3, 2), torch.zeros(2, 5, 3))


class Wrapped(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return {"sentence_embedding": self.layer(x)}


def test_what_cannot_be_is_refused(trained):
    model, pairs = trained
    with pytest.raises(SettingError, match=r"Contrastive\.of\(model, train_set\)"):
        get_task("contrastive")
    with pytest.raises(SettingError, match=r"MaskedLM\.of\(tokenizer\)"):
        get_task("masked-lm")
    with pytest.raises(SettingError, match="above 0"):
        Triplet(temperature=0)
    with pytest.raises(SettingError, match="two pairs or more"):
        Contrastive(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(DataError, match="no anchor with its match"):
        Contrastive.of(model, {"x": pairs["anchor"], "y": pairs["positive"]})
    train_set = gradsift.MatchSet([{"anchor": "w8", "positive": " "}], tokenizer())
    with pytest.raises(DataError, match="a text is needed"):
        train_set[0]
