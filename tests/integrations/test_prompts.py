"""Texts, prompts with responses and chats into sequences: which tokens are learnt."""

import datasets
import numpy as np
import peft
import pyarrow as pa
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.tasks import CausalLM
from tests.support.families import BY_NAME
from tests.support.pretrained import BOS, DATA, EOS, TEMPLATE, WORDS, chats, letters, needs_model, tokenizer

NONE = -100
USER, ASSISTANT, SYSTEM, COLON = (WORDS.index(word) for word in ("user", "assistant", "system", ":"))
PAIR = [{"prompt": "w8 w9", "response": "w10 w11"}]
CHAT = [
    {"role": "system", "content": "w8"},
    {"role": "user", "content": "w9 w10"},
    {"role": "assistant", "content": "w11 w12"},
    {"role": "user", "content": "w13"},
    {"role": "assistant", "content": "w14"},
]
TOKENS = [
    BOS, SYSTEM, COLON, 8, USER, COLON, 9, 10, ASSISTANT, COLON, 11, 12, EOS,
    USER, COLON, 13, ASSISTANT, COLON, 14, EOS,
]  # fmt: skip
SPOKEN = TEMPLATE.replace("{{ eos_token if", "{{ ' </s> ' if")  # words need blanks around the end of a turn
LEARNT = [token if place in (10, 11, 12, 18, 19) else NONE for place, token in enumerate(TOKENS)]


def talker(**options):
    return tokenizer(template=SPOKEN.replace("{{ bos_token }}", "<s> "), limit=64, **options)


def quiet(model, train_set, **options):
    options = {"task": "causal-lm", "detectors": "l2", "show_progress": False} | options
    return gradsift.audit(model, train_set, **options)


def test_whole_texts_are_learnt_with_every_token():
    rows = [{"text": "w8 w9 w10"}, {"text": "w11"}]
    train_set = gradsift.PromptSet(rows, tokenizer(special=True), text="text")
    assert train_set[0] == {
        "input_ids": [BOS, 8, 9, 10, EOS], "attention_mask": [1] * 5, "labels": [BOS, 8, 9, 10, EOS],
    }  # fmt: skip
    batch = Samples(train_set).batch([0, 1])
    assert batch["labels"].tolist() == [[BOS, 8, 9, 10, EOS], [BOS, 11, EOS, NONE, NONE]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert train_set.encoding | {"tokenizer_fingerprint": ""} == {
        "text": "text", "target": "whole", "max_length": 16, "tokenizer": type(train_set.tokenizer).__name__,
        "tokenizer_fingerprint": "",
    }  # fmt: skip


@pytest.mark.parametrize("special", [False, True], ids=["bare", "framed"])
def test_a_response_is_learnt_and_its_prompt_is_not(special):
    train_set = gradsift.PromptSet(PAIR, tokenizer(special=special), prompt="prompt", response="response")
    first = [BOS, 8, 9] if special else [8, 9]  # a tokenizer that ends every text does not end the prompt
    assert train_set[0]["input_ids"] == [*first, 10, 11, EOS]
    assert train_set[0]["labels"] == [NONE] * len(first) + [10, 11, EOS]
    whole = gradsift.PromptSet(
        PAIR, tokenizer(special=special), prompt="prompt", response="response", target="whole"
    )  # fmt: skip
    assert whole[0]["labels"] == [*first, 10, 11, EOS]
    assert (train_set.encoding["target"], whole.encoding["target"]) == ("response", "whole")


def test_the_end_of_text_follows_once_and_only_where_there_is_one():
    def response(text, **options):
        rows = [{"prompt": "w8", "response": text}]
        return gradsift.PromptSet(rows, tokenizer(**options), prompt="prompt", response="response")[0]["input_ids"]

    assert response("w10") == [8, 10, EOS]
    assert response("w10 </s>") == [8, 10, EOS]
    assert response("") == [8, EOS]
    assert response("w10", eos_token=None) == [8, 10]


@pytest.mark.parametrize("form", ["list", "Dataset", "Table"])
def test_a_chat_s_targets_are_the_assistant_s_tokens(form):
    rows = [{"messages": CHAT}, {"messages": CHAT[1:3]}]
    rows = {"Dataset": datasets.Dataset.from_list(rows), "Table": pa.Table.from_pylist(rows)}.get(form, rows)
    train_set = gradsift.PromptSet(rows, talker(), messages="messages")
    assert train_set[0]["input_ids"] == TOKENS
    assert train_set[0]["labels"] == LEARNT
    assert train_set.tokens(0)[10:13] == ["w11", "w12", "</s>"]
    assert train_set[1]["input_ids"] == [BOS, *TOKENS[4:13]]
    assert train_set[1]["labels"] == [NONE, *LEARNT[4:13]]
    whole = gradsift.PromptSet(rows, talker(), messages="messages", target="whole")
    assert whole[0]["labels"] == TOKENS


def test_special_tokens_are_the_template_s_own_and_not_added_twice():
    train_set = gradsift.PromptSet([{"messages": CHAT}], talker(special=True), messages="messages")
    assert train_set[0]["input_ids"] == TOKENS


def test_absent_keys_of_a_message_do_not_reach_the_template():
    template = talker().chat_template.replace(
        "{% for", "{% for m in messages %}{{ 'w39 ' if 'name' in m else '' }}{% endfor %}{% for"
    )
    rows = pa.Table.from_pylist(
        [{"messages": CHAT[1:3]}, {"messages": [{"role": "user", "content": "w9", "name": "w8"}, CHAT[2]]}]
    )  # the table fills "name" with nulls
    encode = tokenizer(template=template, limit=64)
    train_set = gradsift.PromptSet(rows, encode, messages="messages", target="whole")
    assert [train_set[i]["input_ids"].count(39) for i in range(2)] == [0, 1]


TURNED = {
    "last turn only": "{{ messages[-1]['content'] }}",
    "another prompt": "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}{{ 'w39' if add_generation_prompt }}",
    "end of the last": "{% for m in messages %}{{ m['content'] + (' w39' if loop.last else ' ') }}{% endfor %}",
}


@pytest.mark.parametrize("template", TURNED.values(), ids=TURNED)
def test_a_template_that_does_not_write_turn_by_turn_is_refused(template):
    encode = tokenizer(template=template, limit=64)
    train_set = gradsift.PromptSet([{"messages": CHAT}], encode, messages="messages")
    with pytest.raises(DataError, match=r"chat at position 0: the template does not write a chat turn by turn.*whole"):
        train_set[0]
    assert gradsift.PromptSet([{"messages": CHAT}], encode, messages="messages", target="whole")[0]["labels"]


def test_what_a_template_itself_refuses_is_passed_on():
    template = "{{ raise_exception('roles must alternate') }}"
    train_set = gradsift.PromptSet([{"messages": CHAT}], tokenizer(template=template), messages="messages")
    with pytest.raises(DataError, match="position 0 does not fit the tokenizer's chat template: roles must alternate"):
        train_set[0]


@pytest.mark.parametrize(
    ("options", "kind", "phrase"),
    [
        ({}, SettingError, "name the columns of one kind of sequence: .*; the columns are prompt, response"),
        ({"prompt": "prompt"}, SettingError, "one kind of sequence"),
        ({"response": "response"}, SettingError, "one kind of sequence"),
        ({"text": "prompt", "prompt": "prompt", "response": "response"}, SettingError, "one kind of sequence"),
        ({"text": "prompt", "target": "response"}, SettingError, "'response' .* or 'whole'; given 'response'"),
        ({"prompt": "prompt", "response": "response", "target": "all"}, SettingError, "given 'all'"),
        ({"text": "body"}, DataError, "no column 'body': the columns are prompt, response"),
        ({"prompt": "prompt", "response": "answer"}, DataError, "no column 'answer'"),
        ({"messages": "prompt"}, SettingError, "no chat template.*set tokenizer.chat_template, or give prompt and"),
    ],
)
def test_columns_that_make_no_sequence_are_refused(options, kind, phrase):
    with pytest.raises(kind, match=phrase):
        gradsift.PromptSet(PAIR, tokenizer(), **options)


@pytest.mark.parametrize(
    ("row", "columns", "phrase"),
    [
        ({"text": None}, {"text": "text"}, "position 0 holds None where a text is needed"),
        ({"text": ""}, {"text": "text"}, "position 0 is empty"),
        ({"p": "w8", "r": 5}, {"prompt": "p", "response": "r"}, "position 0 holds 5 where a text is needed"),
        ({"m": "hello"}, {"messages": "m"}, "position 0 holds no chat"),
        ({"m": [{"content": "w8"}]}, {"messages": "m"}, '"role": ..., "content": ...'),
        ({"m": [{"role": "user"}]}, {"messages": "m"}, "does not fit the tokenizer's chat template"),
    ],
)
def test_rows_that_hold_no_sequence_are_named(row, columns, phrase):
    with pytest.raises(DataError, match=phrase):
        gradsift.PromptSet([row], talker(), **columns)[0]


def prompts(lengths):
    return [{"prompt": " ".join(["w8"] * length), "response": f"w{9 + i} w10"} for i, length in enumerate(lengths)]


def test_a_response_that_is_cut_off_is_named_when_audited(caplog):
    model = BY_NAME["llama_lm"].make()
    train_set = gradsift.PromptSet(
        prompts([2, 3, 6, 2, 7]), tokenizer(), prompt="prompt", response="response", max_length=6
    )
    assert train_set[2]["labels"] == [NONE] * 6
    with pytest.raises(DataError, match=r"no token is a target.*at positions 2.*Remove these .*max_length"):
        quiet(model, train_set)
    assert "position 2 has more than 6 tokens" in caplog.text
    chat = [{"messages": CHAT}, {"messages": CHAT[:2]}, {"messages": CHAT}]
    with pytest.raises(DataError, match=r"no token is a target.*at positions 1\."):
        quiet(model, gradsift.PromptSet(chat, talker(), messages="messages"))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_is_the_model_s_own_over_the_response(reduction):
    model, rows = BY_NAME["llama_lm"].make(), prompts([1, 2, 4, 3, 2])
    train_set = gradsift.PromptSet(rows, tokenizer(special=True), prompt="prompt", response="response")
    found = quiet(model, train_set, task=CausalLM(reduction=reduction))
    for position in range(5):
        batch = {key: torch.tensor([values]) for key, values in train_set[position].items()}
        expected = model(**batch).loss.item() * (3 if reduction == "sum" else 1)  # w., w10, </s>
        assert found.table["loss"][position].as_py() == pytest.approx(expected, rel=1e-5)


def lora(model):
    torch.manual_seed(0)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False))
    return model.eval()


@pytest.mark.parametrize("family", ["llama_lm", "gpt2_lm"])
def test_scores_do_not_depend_on_the_batch_they_are_padded_in(family):
    train_set = gradsift.PromptSet(prompts([1, 2, 4, 3, 2, 5]), tokenizer(), prompt="prompt", response="response")
    for model, layers in ((BY_NAME[family].make(), "last"), (lora(BY_NAME[family].make()), "all")):
        one, many = (quiet(model, train_set, layers=layers, batch_size=size).table for size in (1, 8))
        for column in ("loss", "score"):
            assert np.allclose(one[column].to_numpy(), many[column].to_numpy(), rtol=5e-4)


def test_an_audit_of_chats_trims_and_annotates_the_chats():
    rows = datasets.Dataset.from_list(chats())
    model = lora(BY_NAME["llama_lm"].make())
    found = quiet(model, gradsift.PromptSet(rows, talker(), messages="messages"), layers="all", contamination=0.25)
    kept = found.trim(rows)
    assert isinstance(kept, datasets.Dataset)
    assert kept["messages"][:] == [rows[int(i)]["messages"] for i in found.kept]
    assert found.annotate(rows)["gradsift_rank"][:] == found.table["rank"].to_pylist()


@needs_model("stories260K")
def test_a_published_language_model():
    from gradsift.integrations.encode_rows import encode_rows
    from gradsift.integrations.pretrained import load_pretrained

    loaded = load_pretrained(str(DATA / "models" / "stories260K"))
    stories = ["Once upon a time, there was a little girl.", "The dog was very happy. He ran.", "A cat sat on the mat."]
    train_set = encode_rows(loaded, [{"text": story} for story in stories], {"text": "text"})
    assert train_set.max_length == 512
    assert "".join(train_set.tokens(0)[1:]).replace(" ", "").startswith("Onceupon")
    found = quiet(loaded.model, train_set, task=loaded.task)
    assert (found.table["loss"].to_numpy() < 4).all()  # log(512) is 6.2: it knows its stories
    with pytest.raises(SettingError, match="no chat template"):
        encode_rows(loaded, chats(), {"messages": "messages"})


MARKED = (
    "{{ bos_token }}{% for m in messages %}{{ ' ' + m['role'] + ' : ' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + ' ' + eos_token }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ ' assistant : ' }}{% endif %}"
)
VALID = {
    "marked": MARKED,
    "marked with dashes": MARKED.replace("{% generation %}", "{%- generation -%}"),
    "prompt ends with a space": MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
    "content is stripped": MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "").replace(
        "m['content']", "(m['content'] | trim)"
    ),
    "no space before what is said": MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "").replace(
        "{{ ' ' + m['role'] + ' : ' }}", "{{ ' ' + m['role'] + ' :' + (' ' if m['role'] != 'assistant' else ' ') }}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("template", VALID.values(), ids=VALID)
def test_valid_templates_give_the_assistant_s_tokens(template):
    chat = [
        message | {"content": f" {message['content']} " if "trim" in template else message["content"]}
        for message in CHAT
    ]
    train_set = gradsift.PromptSet([{"messages": chat}], tokenizer(template=template, limit=64), messages="messages")
    assert train_set[0]["input_ids"] == TOKENS
    assert train_set[0]["labels"] == LEARNT


def test_a_token_across_the_end_of_the_prompt_is_learnt():
    made = letters(model_max_length=99)
    made.chat_template = (
        "{% for m in messages %}{{ m['role'][0] + '>' + ' ' + (m['content'] | trim) + ';' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a> ' }}{% endif %}"
    )
    merged = add_merge(made)
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo "}]
    for encode in (made, merged):
        train_set = gradsift.PromptSet([{"messages": chat}], encode, messages="messages")
        sample = train_set[0]
        said = encode.decode(
            [token for token, label in zip(sample["input_ids"], sample["labels"], strict=True) if label != NONE]
        )
        assert said.strip() == "yo;"
    assert len(train_set[0]["input_ids"]) < len(
        gradsift.PromptSet([{"messages": chat}], made, messages="messages")[0]["input_ids"]
    )


def add_merge(made):
    """The same tokenizer of letters with one token for a space and a y."""
    vocabulary = made.get_vocab()
    model = Tokenizer(models.BPE(vocabulary | {"Ġy": len(vocabulary)}, [("Ġ", "y")]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", model_max_length=99, chat_template=made.chat_template
    )


@pytest.mark.parametrize("name", ["llama_lm", "gpt2_lm"])
def test_labels_that_are_shifted_already_are_refused(name):
    tokens = torch.randint(8, 40, (12, 7), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row[:-1], "labels": row[1:]} for row in tokens]
    with pytest.raises(DataError, match=r"next tokens already.*labels = input_ids.*token-classification"):
        quiet(BY_NAME[name].make(), rows)
    shifted = quiet(BY_NAME[name].make(), rows, task="token-classification").table
    rows = [{"input_ids": row, "labels": row} for row in tokens]
    own = quiet(BY_NAME[name].make(), rows).table
    assert np.allclose(shifted["loss"], own["loss"], rtol=1e-5)


OTHER = {
    "T5": (tf.T5ForConditionalGeneration, tf.T5Config(
        vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)),
    "BART": (tf.BartForConditionalGeneration, tf.BartConfig(
        vocab_size=40, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=8, decoder_ffn_dim=8)),
    "BERT": (tf.BertForMaskedLM, tf.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)),
}  # fmt: skip


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "adapter"])
@pytest.mark.parametrize("name", OTHER)
def test_models_that_do_not_predict_the_next_token_are_refused(name, wrapped):
    kind, config = OTHER[name]
    model = kind(config).eval()
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear")).eval() if wrapped else model
    reason = {"BERT": "masked tokens in their own place.*MaskedLM"}.get(
        name, "decoder, which shifts.*seq2seq.*Seq2SeqSet"
    )
    rows = [{"input_ids": torch.arange(8, 14), "labels": torch.arange(8, 14)} for _ in range(12)]
    with pytest.raises(ModelError, match=reason):
        quiet(model, rows)
