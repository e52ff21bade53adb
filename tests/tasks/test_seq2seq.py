"""Models with an encoder and a decoder: their own loss, sample by sample, and what is refused."""

import pytest
import torch
import transformers as tf

import gradsift
from gradsift.errors import DataError, ModelError, SampleError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import Seq2Seq
from tests.support.families import BY_NAME
from tests.support.oracle import norms, oracle
from tests.support.pretrained import tokenizer

SMALL = {"vocab_size": 40, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
MODELS = {
    "t5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, dropout_rate=0.0, **SMALL)
    ),
    "bart": lambda: tf.BartForConditionalGeneration(
        tf.BartConfig(
            d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=64, bos_token_id=3, forced_eos_token_id=2,
            **SMALL,
        )
    ),
}  # fmt: skip
ROWS = [
    {"source": "w8 w9 w10", "target": "w20 w21"},
    {"source": "w11", "target": "w22 w23 w24 w25"},
    {"source": "w12 w13", "target": "w26"},
]


def encoded(rows=ROWS, **options):
    train_set = gradsift.Seq2SeqSet(rows, tokenizer(special=True), **options)
    return train_set, train_set.collate([train_set[place] for place in range(len(train_set))])


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def test_the_loss_of_a_sample_alone_is_the_models_own(model):
    train_set, batch = encoded()
    losses = Seq2Seq().losses(Seq2Seq().outputs(model, batch), batch)
    for place in range(3):
        alone = train_set.collate([train_set[place]])
        torch.testing.assert_close(losses[place], model(**alone).loss, rtol=1e-4, atol=1e-5)
    sums = Seq2Seq(reduction="sum").losses(Seq2Seq().outputs(model, batch), batch)
    torch.testing.assert_close(sums, losses * (batch["labels"] != -100).sum(dim=1))


@pytest.mark.parametrize("layers", ["last", "all"])
def test_gradients_equal_those_of_a_sample_alone(model, layers):
    _, batch = encoded()
    per_sample = PerSampleGradients(model, Seq2Seq(), batch, layers=layers, reductions=Reductions(l2=True))
    truth = norms(oracle(model, Seq2Seq(), batch, set(per_sample.parameters)))[1]
    torch.testing.assert_close(per_sample(batch).statistics["l2"].double(), truth, rtol=1e-3, atol=1e-6)


def test_sources_and_targets_become_samples():
    train_set, batch = encoded()
    assert train_set[0] == {"input_ids": [3, 8, 9, 10, 2], "attention_mask": [1] * 5, "labels": [3, 20, 21, 2]}
    assert batch["labels"][2].tolist() == [3, 26, 2, -100, -100, -100]
    assert train_set.encoding["source"] == "source"
    assert len(encoded(max_length=2)[0][0]["labels"]) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [({"source": "w8", "target": None}, "holds None"), ({"source": 3, "target": "w8"}, "a text is needed")],
)
def test_rows_without_texts_are_refused(row, words):
    with pytest.raises(DataError, match=words):
        encoded([row])
    with pytest.raises(DataError, match="no column 'target'"):
        encoded([{"source": "w8"}])


def test_labels_beyond_the_vocabulary_and_other_models_are_refused(model):
    _, batch = encoded()
    outputs = Seq2Seq().outputs(model, batch)
    with pytest.raises(SampleError, match=r"outside 0 \.\.\. 39"):
        Seq2Seq().losses(outputs, batch | {"labels": batch["labels"].masked_fill(batch["labels"] == 20, 40)})
    with pytest.raises(SampleError, match="no token is a target"):
        Seq2Seq().losses(outputs, batch | {"labels": torch.full_like(batch["labels"], -100)})
    with pytest.raises(ModelError, match='task="causal-lm"'):
        Seq2Seq().outputs(BY_NAME["llama_lm"].make(), batch)
    with pytest.raises(ModelError, match='task="seq2seq"'):
        gradsift.tasks.CausalLM().outputs(model, batch)
