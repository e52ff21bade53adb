"""Chats from the audit to the trimmed set: unexpected responses of a language model."""

import numpy as np
import pytest
import torch
import transformers as tf
from sklearn.metrics import average_precision_score

import gradsift
from gradsift.data import Samples
from gradsift.errors import SettingError
from gradsift.gradients import Batcher
from gradsift.stages.response_evidence import response_evidence
from gradsift.tasks import CausalLM, Seq2Seq
from tests.support.families import BY_NAME
from tests.support.pretrained import chats, tokenizer

GARBAGE = 6


def rows(size=120):
    """Prompts of four tasks; a response says three words of the prompt's own ten, garbage three of another's."""
    generator = np.random.default_rng(0)
    made = []
    for place in range(size):
        task = place % 3
        prompt = [f"w{8 + 10 * task + int(i)}" for i in generator.integers(0, 10, 6)]
        other = (task + 1) % 3 if place < GARBAGE else task
        made.append({"prompt": " ".join(prompt), "response": " ".join(
            f"w{8 + 10 * other + int(i)}" for i in generator.integers(0, 10, 3))})  # fmt: skip
    return made


def prompt_set(rows, **options):
    return gradsift.PromptSet(rows, tokenizer(special=True), prompt="prompt", response="response", **options)


@pytest.fixture(scope="module")
def model():
    """A small model that has learnt the chats for a moment."""
    made = BY_NAME["llama_lm"].make()
    train_set = prompt_set(rows())
    batch = train_set.collate([train_set[place] for place in range(len(train_set))])
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        made(**batch).loss.backward()
        optimizer.step()
    return made.eval()


def evidence_of(model, train_set, batch_size=8):
    samples = Samples(train_set)
    return response_evidence(
        model, CausalLM(), samples, np.arange(len(samples)), Batcher(batch_size), show_progress=False
    )  # fmt: skip


def test_losses_are_those_of_a_chat_alone(model):
    train_set = prompt_set(rows(20))
    found = evidence_of(model, train_set)
    for position in (0, 7, 19):
        ids = train_set[position]["input_ids"]
        for expected, kept in ((found.losses, ids), (found.alone, ids[:1] + ids[-4:])):
            labels = [-100] * (len(kept) - 4) + kept[-4:]
            loss = model(input_ids=torch.tensor([kept]), labels=torch.tensor([labels])).loss.item()
            assert expected[position] == pytest.approx(loss, rel=1e-4)
        logits = model(input_ids=torch.tensor([ids])).logits[0, -2]
        assert found.ends[position] == pytest.approx(-logits.log_softmax(-1)[ids[-1]].item(), rel=1e-3)
    assert (found.responses.sum(axis=1) > 3).all()


def test_scores_do_not_depend_on_the_batch(model):
    train_set = prompt_set(rows(20))
    one, many = evidence_of(model, train_set, 1), evidence_of(model, train_set, 7)
    for name in ("losses", "alone", "ends"):
        assert np.allclose(getattr(one, name), getattr(many, name), rtol=1e-4)
    assert (one.prompts != many.prompts).nnz == 0


def test_garbage_is_ranked_flagged_explained_and_trimmed(model, tmp_path):
    made = rows()
    audit = gradsift.audit(
        model, prompt_set(made), task="causal-lm", layers="last", show_progress=False, output=tmp_path / "run"
    )
    assert audit.detector == "response_surprise"
    assert average_precision_score(np.arange(len(made)) < GARBAGE, audit.table["score"].to_numpy()) > 0.6
    chosen = audit.flagged_positions
    assert (np.asarray(chosen) < GARBAGE).mean() >= 0.5
    reason = audit.worst(1)["reason"][0].as_py()
    assert any(words in reason for words in ("similar prompts", "without its prompt", "ends unexpectedly"))
    assert "Benjamini" in audit.cut
    assert reason.partition(";")[0] in (tmp_path / "run" / "report.html").read_text().replace("&#39;", "'")
    kept = audit.trim(made)
    assert kept == [row for place, row in enumerate(made) if place not in set(chosen)]
    assert {"score_l2", "score_loss"} <= set(audit.table.column_names)


def test_responses_cut_off_and_chats_without_prompt_are_taken_for_what_is_known(model):
    made = [{**row, "prompt": ""} if place in (3, 4) else row for place, row in enumerate(rows(30))]
    found = evidence_of(model, prompt_set(made))
    assert np.flatnonzero(np.isnan(found.alone)).tolist() == [3, 4]
    long = [{**row, "response": row["response"] + " w8" * 9} if place == 5 else row for place, row in enumerate(made)]
    found = evidence_of(model, prompt_set(long, max_length=12))
    assert np.flatnonzero(np.isnan(found.ends)).tolist() == [5]
    audit = gradsift.audit(model, prompt_set(long, max_length=12), task="causal-lm", show_progress=False)
    assert np.isfinite(audit.table["score"].to_numpy()).all()


def test_texts_without_prompts_have_no_responses(model):
    texts = gradsift.PromptSet([{"text": row["prompt"]} for row in rows(20)], tokenizer(special=True), text="text")
    assert gradsift.audit(model, texts, task="causal-lm", show_progress=False).detector == "l2"
    with pytest.raises(SettingError, match="reads responses"):
        gradsift.audit(model, texts, task="causal-lm", detector="response_surprise", show_progress=False)


def test_chats_of_several_turns():
    template = "{{ bos_token }}{% for m in messages %}{{ ' ' + m['role'] + ' : ' + m['content'] }}{{ ' </s>' if m['role'] == 'assistant' else '' }}{% endfor %}{% if add_generation_prompt %}{{ ' assistant : ' }}{% endif %}"  # noqa: E501
    train_set = gradsift.PromptSet(chats(), tokenizer(template=template, limit=64), messages="messages")
    audit = gradsift.audit(BY_NAME["llama_lm"].make(), train_set, task="causal-lm", show_progress=False)
    assert audit.detector == "response_surprise"


@pytest.fixture(scope="module")
def translator():
    """A T5 that has learnt, for a moment, to say the prompt's first three words again."""
    torch.manual_seed(0)
    made = tf.T5ForConditionalGeneration(
        tf.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, dropout_rate=0.0,
                    pad_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    )  # fmt: skip
    train_set = gradsift.Seq2SeqSet(rows(), tokenizer(special=True), source="prompt", target="response")
    batch = train_set.collate([train_set[place] for place in range(len(train_set))])
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        made(**batch).loss.backward()
        optimizer.step()
    return made.eval(), train_set


def test_targets_that_do_not_fit_their_source_are_found(translator, tmp_path):
    model, train_set = translator
    audit = gradsift.audit(model, train_set, task="seq2seq", show_progress=False, output=tmp_path / "run")
    assert audit.detector == "response_surprise"
    garbage = np.arange(120) < GARBAGE
    assert average_precision_score(garbage, audit.table["score"].to_numpy()) > 0.5
    assert len(audit.trim(train_set.raw)) == 120 - len(audit.flagged_positions)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<dt>prompt</dt>" in page
    assert "<dt>response</dt>" in page


def test_losses_without_a_source_are_those_of_its_last_token(translator):
    model, train_set = translator
    samples = Samples(train_set)
    found = response_evidence(model, Seq2Seq(), samples, np.arange(6), Batcher(4), show_progress=False)
    for place in range(6):
        one = train_set.collate([train_set[place]])
        assert found.losses[place] == pytest.approx(model(**one).loss.item(), rel=1e-4)
        bare = {"input_ids": one["input_ids"][:, -1:], "labels": one["labels"]}
        assert found.alone[place] == pytest.approx(model(**bare).loss.item(), rel=1e-4)
    assert np.isfinite(found.ends).all()
    assert found.prompts.sum() > found.responses.sum() > 0
