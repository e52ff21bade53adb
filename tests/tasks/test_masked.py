"""Masked language models: each token is told once from the others; what is refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

import gradsift
from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import MaskedLM
from gradsift.tasks.structured import Classes
from tests.support.oracle import norms, oracle
from tests.support.pretrained import WORDS, tokenizer
from tests.support.structured import masked_bert

MASK = 7


def encoder():
    return tokenizer(special=True, mask_token=WORDS[MASK])


@pytest.fixture(scope="module")
def model():
    """A BERT that has learnt, for a moment, texts that say one word again and again."""
    torch.manual_seed(0)
    made = masked_bert().train()
    train_set = texts()
    batch = train_set.collate([train_set[place] for place in range(len(train_set))])
    task, optimizer = MaskedLM.of(encoder(), passes=3), torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        task.losses(task.outputs(made, batch), batch).mean().backward()
        optimizer.step()
    return made.eval()


def texts(size=60, garbage=5):
    generator = np.random.default_rng(0)
    rows = []
    for place in range(size):
        words = generator.integers(8, 40, 6) if place < garbage else np.repeat(generator.integers(8, 40), 3 + place % 4)
        rows.append({"text": " ".join(f"w{word}" for word in words)})
    return gradsift.PromptSet(rows, encoder(), text="text")


def test_each_token_is_masked_once_and_told_from_the_others(model):
    train_set = texts()
    batch = train_set.collate([train_set[place] for place in range(3)])
    task = MaskedLM.of(encoder(), passes=3)
    found = task.outputs(model, batch)
    counts = (batch["input_ids"] > MASK).sum(dim=1)
    for row in range(3):
        alone = train_set[row]["input_ids"]
        real = [place for place, token in enumerate(alone) if token > MASK]
        for turn, place in enumerate(real):
            hidden = [other for number, other in enumerate(real) if number % 3 == turn % 3]
            masked = torch.tensor([[MASK if other in hidden else token for other, token in enumerate(alone)]])
            truth = F.cross_entropy(model(input_ids=masked).logits[0, place], torch.tensor(alone[place]))
            assert found[row, place].item() == pytest.approx(truth.item(), rel=1e-3, abs=1e-4)
    assert (found != 0).sum(dim=1).tolist() == counts.tolist()


def test_gradients_equal_those_of_a_text_alone(model):
    train_set = texts()
    batch = train_set.collate([train_set[place] for place in range(4)])
    task = MaskedLM.of(encoder(), passes=2)
    per_sample = PerSampleGradients(model, task, batch, layers="all", reductions=Reductions(l2=True))
    truth = norms(oracle(model, task, batch))[1]
    torch.testing.assert_close(per_sample(batch).statistics["l2"].double(), truth, rtol=2e-3, atol=1e-5)


def test_garbage_is_found(model, caplog):
    train_set = texts()
    audit = gradsift.audit(model, train_set, task=MaskedLM.of(encoder()), show_progress=False)
    assert audit.detector == "worst_part"
    assert average_precision_score(np.arange(60) < 5, audit.table["score"].to_numpy()) > 0.9
    assert "least expected tokens: " in audit.worst(1, previews=False)["reason"][0].as_py()
    assert len(audit.trim(train_set.raw)) == 60 - len(audit.flagged_positions)
    assert "highlighted tokens" not in caplog.text


def test_a_text_is_scored_by_its_loss_by_the_gain_from_context_and_by_its_repeats():
    task, batch = MaskedLM(MASK, special=(0,)), {"input_ids": torch.tensor([[9, 8, 9, 0], [9, 9, 9, 9], [20, 8, 0, 0]])}
    losses = torch.tensor([[1.0, 2.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0], [4.0, 2.0, 0.0, 0.0]])
    counts = task.class_counts(losses, batch)
    assert counts.tolist() == [0] * 8 + [2, 6] + [0] * 10 + [1]
    parts = task.worst_parts(losses, batch, Classes(shares=counts[:10] / 8))  # the last token was not counted
    often, rare = np.log([6 / 8, 2 / 8])
    expected = [(2, 2 + (2 * often + rare) / 3, 1 / 3), (1, 1 + often, 3 / 4), (3, 3 + rare, 0)]
    assert np.allclose([part.score for part in parts], expected)
    assert parts[0].words.startswith("loss 2.0; least expected tokens: 2 (3.0), 1 (2.0)")
    assert task.worst_parts(losses, batch, Classes())[2].score == (3, 3, 0)


def test_what_cannot_be_is_refused(model):
    train_set = texts()
    batch = train_set.collate([train_set[0]])
    task = MaskedLM.of(encoder())
    with pytest.raises(SettingError, match="without mask token"):
        MaskedLM.of(tokenizer())
    with pytest.raises(SettingError, match="two passes"):
        MaskedLM(MASK, passes=1)
    with pytest.raises(DataError, match="input_ids"):
        task.outputs(model, (torch.ones(2, 3), torch.ones(2)))
    with pytest.raises(ModelError, match="ForMaskedLM"):
        task.outputs(lambda input_ids, **_: input_ids, batch)
    empty = gradsift.PromptSet([{"text": ""}], encoder(), text="text")
    batch = empty.collate([empty[0]])
    with pytest.raises(SampleError, match="the text is empty"):
        task.losses(task.outputs(model, batch), batch)
