"""Models, adapters and tokenizers from folders and hub ids: what loads, and what is refused with which words."""

import json
import shutil
import time
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file, save_file

import gradsift
from gradsift.errors import DataError, ModelError, SettingError, UnsafeFileError
from gradsift.integrations.encode_rows import encode_rows
from gradsift.integrations.pretrained import is_pretrained, load_pretrained
from gradsift.integrations.rows import load_rows
from gradsift.tasks import (
    CausalLM,
    Classification,
    MultiLabel,
    Regression,
    TokenClassification,
)
from tests.support.families import BY_NAME
from tests.support.pretrained import (
    DATA,
    TEMPLATE,
    WORDS,
    chats,
    needs_model,
    save,
    save_adapter,
    save_classifier,
    texts,
    tokenizer,
)

ADAPTER = {"target_modules": ["query"], "modules_to_save": ["classifier"]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of a classifier, a language model, and adapters of both."""
    place = tmp_path_factory.mktemp("saved")
    save_classifier(place / "classifier", steps=1)
    save(place / "lm", "llama_lm", tokenizer(template=TEMPLATE))
    save_adapter(place / "adapter", place / "lm")
    save(place / "plain", "bert_sequence", num_labels=5)
    save_adapter(place / "head", place / "plain", "bert_sequence", "SEQ_CLS", **ADAPTER)
    return place


@pytest.fixture
def copied(saved, tmp_path):
    def copy(name):
        return Path(shutil.copytree(saved / name, tmp_path / "copied"))

    return copy


def change(path, **values):
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (settings | values).items() if v != "drop"}))


@pytest.mark.parametrize(
    ("family", "changes", "head", "task"),
    [
        ("bert_sequence", {}, "ForSequenceClassification", Classification),
        ("distilbert_sequence", {"num_labels": 1}, "ForSequenceClassification", Regression),
        ("bert_sequence", {"num_labels": 1, "problem_type": "regression"}, "ForSequenceClassification", Regression),
        ("bert_sequence", {"problem_type": "multi_label_classification"}, "ForSequenceClassification", MultiLabel),
        ("gpt2_sequence", {}, "ForSequenceClassification", Classification),
        ("bert_token", {}, "ForTokenClassification", TokenClassification),
        ("llama_lm", {}, "ForCausalLM", CausalLM),
        ("llama_lm_tied", {}, "ForCausalLM", CausalLM),
        ("gpt2_lm", {}, "LMHeadModel", CausalLM),
    ],
)
def test_the_head_says_the_task(tmp_path, family, changes, head, task):
    model = BY_NAME[family].make(**changes)
    loaded = load_pretrained(save(tmp_path, family, **changes), reduction="sum")
    assert (loaded.head, type(loaded.task)) == (head, task)
    assert getattr(loaded.task, "reduction", "sum") == "sum"
    assert not loaded.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    assert loaded.processor.get_vocab() == tokenizer().get_vocab()


def test_precision_is_chosen(saved):
    assert next(load_pretrained(str(saved / "lm"), dtype="bfloat16").model.parameters()).dtype == torch.bfloat16


def test_limits_and_padding_come_from_the_model_where_the_tokenizer_has_none(tmp_path):
    bare = tokenizer(limit=None, pad_token=None)
    loaded = load_pretrained(save(tmp_path / "a", "gpt2_sequence", bare, pad_token_id=None))
    assert loaded.processor.model_max_length == 16
    assert loaded.processor.pad_token_id == loaded.model.config.pad_token_id == loaded.processor.eos_token_id
    roberta = load_pretrained(save(tmp_path / "b", "roberta_sequence", bare))
    assert roberta.processor.model_max_length == 14  # positions are counted from behind the one of padding
    rows = [{"text": "w8 " * 30, "label": 0}, {"text": "w9", "label": 1}]
    gradsift.audit(roberta.model, encode_rows(roberta, rows, {"text": "text"}), detectors="l2", show_progress=False)


def test_an_adapter_loads_on_the_base_it_names_or_is_given(saved, copied):
    found = load_pretrained(str(saved / "adapter"))
    trainable = {name for name, parameter in found.model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert any(parameter.abs().sum() > 0 for name, parameter in found.model.named_parameters() if "lora_B" in name)
    assert found.processor.chat_template == TEMPLATE  # of the base, where the adapter has none beside it
    moved = copied("adapter")
    change(moved / "adapter_config.json", base_model_name_or_path="/moved/away")
    with pytest.raises(ModelError, match=r"/moved/away: there is no such folder; give it with --base \(base=...\)"):
        load_pretrained(str(moved))
    given = load_pretrained(str(moved), base=str(saved / "lm"))
    ids = torch.tensor([[8, 9, 10]])
    assert torch.equal(given.model(input_ids=ids).logits, found.model(input_ids=ids).logits)
    assert not torch.allclose(load_pretrained(str(saved / "lm")).model(input_ids=ids).logits, given.model(ids).logits)
    tokenizer(template="own").save_pretrained(moved)
    assert load_pretrained(str(moved), base=str(saved / "lm")).processor.chat_template == "own"


def test_an_adapter_s_own_head_has_its_own_size(saved):
    found = load_pretrained(str(saved / "head"))  # three classes on a base that was saved with five
    assert (found.head, found.model.config.num_labels) == ("ForSequenceClassification", 3)
    weights = load_file(saved / "head" / "adapter_model.safetensors")
    head = next(weight for name, weight in found.model.named_parameters() if "modules_to_save" in name)
    assert torch.equal(head, weights["base_model.model.classifier.weight"])
    assert head.requires_grad
    assert set(found.model.config.label2id) == {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_an_adapter_may_bring_the_head_that_its_base_lacks(saved, copied):
    base = copied("plain")
    weights = load_file(base / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    assert load_pretrained(str(saved / "head"), base=str(base)).model.config.num_labels == 3
    with pytest.raises(
        ModelError, match=r"no weights, .* for classifier.bias, classifier.weight, which would be random"
    ):
        load_pretrained(str(base))


def broken(copied, name, kind):
    """A copy of a saved model with something wrong in it."""
    if kind in ("gone", "file"):
        return "runs/deep/gone" if kind == "gone" else str(copied(name) / "config.json")
    place = copied(name)
    config, weights = place / "config.json", place / "model.safetensors"
    own = place / "adapter_model.safetensors"
    if kind == "pickle":
        torch.save(load_file(weights), place / "pytorch_model.bin")
        weights.unlink()
    elif kind == "adapter pickle":
        torch.save(load_file(own), place / "adapter_model.bin")
        own.unlink()
    elif kind == "code":
        change(config, model_type="unheard", auto_map={"AutoConfig": "code.Config"})
        (place / "code.py").write_text(f"open({str(place / 'ran')!r}, 'w')\nclass Config: pass\n")
    elif kind == "large tokenizer":
        tokenizer(words=[*WORDS, *(f"x{i}" for i in range(9))]).save_pretrained(place)
    elif kind == "other size":
        change(config, hidden_size=16)
    else:
        file, content = {
            "config": (config, "{nope"), "weights": (weights, "no weights"), "adapter": (own, "no weights"),
            "tokenizer": (place / "tokenizer.json", "{nope"), "tokenizer 2": (place / "tokenizer.json", '{"a": 1}'),
            "adapter config": (place / "adapter_config.json", "{nope"),
            "adapter config 2": (place / "adapter_config.json", "[]"),
        }[kind]  # fmt: skip
        file.write_text(content)
    return str(place)


@pytest.mark.parametrize(
    ("name", "kind", "error", "phrase"),
    [
        (
            "classifier",
            "pickle",
            UnsafeFileError,
            r"no weights as model.safetensors, and pickles .* model.save_pretrained",
        ),
        ("adapter", "adapter pickle", UnsafeFileError, r"no weights as adapter_model.safetensors, and pickles"),
        ("classifier", "code", UnsafeFileError, "brings code of its own, which is not run: .* module:function"),
        ("classifier", "config", ModelError, r"config.json' is not a valid JSON file\. Give a folder"),
        ("classifier", "weights", ModelError, "cannot be loaded as a model of transformers: .*header"),
        ("adapter", "adapter", ModelError, r"adapter_model.safetensors is broken"),
        ("adapter", "adapter config", ModelError, r"adapter_config.json is broken .*: save the adapter again"),
        ("adapter", "adapter config 2", ModelError, r"adapter_config.json is broken"),
        ("classifier", "tokenizer", ModelError, "has no tokenizer beside it that can be read .*: save the one"),
        ("classifier", "tokenizer 2", ModelError, "has no tokenizer beside it that can be read"),
        ("classifier", "large tokenizer", ModelError, "does not fit the model: it has 49 tokens, .* embeds 40"),
        ("classifier", "other size", ModelError, "no weights, or of another size, for bert.* which would be random"),
        ("classifier", "gone", ModelError, "the model runs/deep/gone: there is no such folder"),
        ("classifier", "file", ModelError, r"config.json is a file: give the folder"),
    ],
)
def test_what_is_broken_or_unsafe_is_refused(copied, name, kind, error, phrase, capfd):
    place = broken(copied, name, kind)
    started = time.monotonic()
    with pytest.raises(error, match=phrase):
        load_pretrained(place)
    assert time.monotonic() - started < 10
    assert not (Path(place) / "ran").exists()
    assert "[y/N]" not in capfd.readouterr().out  # nobody is asked whether to run code


@pytest.mark.parametrize("family", ["bert_sequence", "llama_lm", "gpt2_lm"])
def test_a_tokenizer_made_of_nothing_is_none(tmp_path, family):
    BY_NAME[family].make().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has no tokenizer beside it that can be read .*: save the one"):
        load_pretrained(str(tmp_path))


def test_an_image_model_needs_its_processor(tmp_path):
    BY_NAME["vit_image"].make().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no image processor beside it"):
        load_pretrained(str(tmp_path))


def test_a_tokenizer_of_far_fewer_words_is_warned_of(copied, caplog):
    place = copied("classifier")
    tokenizer(words=WORDS[:20]).save_pretrained(place)
    load_pretrained(str(place))
    assert "the tokenizer has 20 tokens, the model embeds 40: do they belong together?" in caplog.text


@pytest.mark.parametrize(
    ("heads", "words"), [(["BertForMultipleChoice"], "BertForMultipleChoice"), ("drop", "unknown")]
)
def test_a_head_without_a_task_is_refused_with_advice(copied, heads, words):
    place = copied("classifier")
    change(place / "config.json", architectures=heads)
    with pytest.raises(ModelError, match=f"has the architecture {words}, which ends in none of .*module:function"):
        load_pretrained(str(place))


@pytest.mark.parametrize("value", [None, ""])
def test_an_adapter_without_a_base_is_refused(copied, value):
    place = copied("adapter")
    change(place / "adapter_config.json", base_model_name_or_path=value)
    with pytest.raises(ModelError, match=r"is an adapter that names no base model: give it with --base \(base=...\)"):
        load_pretrained(str(place))


def test_a_base_that_does_not_fit_is_refused(saved, tmp_path):
    with pytest.raises(ModelError, match=r"the adapter .*adapter on the base .*Target modules"):
        load_pretrained(str(saved / "adapter"), base=save(tmp_path, "gpt2_lm"))
    with pytest.raises(SettingError, match=r"--base belongs to an adapter, and .* is none"):
        load_pretrained(str(saved / "lm"), base=str(saved / "plain"))
    wide = save(tmp_path / "wide", "bert_sequence", hidden_size=12)
    with pytest.raises(ModelError, match=r"the adapter .*head on the base .*wide cannot .* size mismatch"):
        load_pretrained(str(saved / "head"), base=wide)
    with pytest.raises(ModelError, match="device 'cuda:9'"):
        load_pretrained(str(saved / "lm"), device="cuda:9")


def test_a_hub_id_that_cannot_be_reached_is_said_quickly():
    started = time.monotonic()
    with pytest.raises(
        ModelError, match=r"nobody/nothing cannot be loaded.*Give a folder .* a hub id, or module:function"
    ):
        load_pretrained("nobody/nothing")
    assert time.monotonic() - started < 20


def test_folders_and_hub_ids_are_told_from_import_paths(tmp_path):
    assert is_pretrained(str(tmp_path))
    assert is_pretrained("user/model")
    assert not is_pretrained("package.module:function")


def test_names_of_classes_are_the_model_s(saved):
    loaded = load_pretrained(str(saved / "classifier"))
    train_set = encode_rows(loaded, texts(6), {"text": "text", "label": "word", "max_length": None})
    assert isinstance(train_set, gradsift.TextSet)
    assert train_set.classes == ["bad", "good", "fine"]
    assert [train_set[i]["labels"] for i in range(6)] == [row["label"] for row in texts(6)]
    assert encode_rows(loaded, texts(6), {"text": "text"}).classes == ["bad", "good", "fine"]
    nameless = load_pretrained(str(saved / "plain"))
    assert encode_rows(nameless, texts(6), {"text": "text"}).classes is None
    with pytest.raises(DataError, match=r"words such as 'bad'.*config.json \(label2id\)"):
        encode_rows(nameless, texts(6), {"text": "text", "label": "word"})


def test_columns_that_a_model_has_no_use_for_are_refused(saved):
    for name, columns, phrase in [
        ("classifier", {"text": "text", "messages": "m"}, "--messages: a model ForSequenceClassification has no use"),
        (
            "lm",
            {"label": "label", "text": "text"},
            "--label: a model ForCausalLM has no use .*--max-length, --messages",
        ),
    ]:
        with pytest.raises(SettingError, match=phrase):
            encode_rows(load_pretrained(str(saved / name)), texts(4), columns)
    lm = load_pretrained(str(saved / "adapter"))
    assert isinstance(encode_rows(lm, chats(2), {"messages": "messages", "target": "whole"}), gradsift.PromptSet)


def test_rows_come_from_files_folders_and_the_hub(tmp_path, monkeypatch):
    asked, rows = [], datasets.Dataset.from_list(texts(6))

    def load_dataset(name, **options):
        asked.append((name, options))
        if "gone" in name:
            raise FileNotFoundError("no such data set\nand more")
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_rows("user/reviews") is rows
    assert load_rows("user/reviews-v1.5") is rows  # a full stop does not make it a file
    assert asked == [("user/reviews", {"split": "train"}), ("user/reviews-v1.5", {"split": "train"})]
    with pytest.raises(DataError, match=r"user/gone is no file, and cannot be loaded as .* hub: no such data set$"):
        load_rows("user/gone")
    for name in ("absent.csv", "./absent", "/absent/data", "absent.parquet"):
        with pytest.raises(DataError, match="does not exist"):
            load_rows(name)
    (tmp_path / "data.pkl").write_bytes(b"")
    with pytest.raises(UnsafeFileError, match="pickle"):
        load_rows(tmp_path / "data.pkl")
    (tmp_path / "data.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match="unknown kind"):
        load_rows(tmp_path / "data.xlsx")


def test_a_hub_data_set_that_cannot_be_reached_is_said():
    with pytest.raises(DataError, match="nobody/nothing is no file, and cannot be loaded as a data set of the hub"):
        load_rows("nobody/nothing")


@needs_model("stories260K")
@needs_model("bert-tiny-question-clf")
def test_published_models_load_in_full_precision():
    for name, task in (("stories260K", CausalLM), ("bert-tiny-question-clf", Classification)):
        loaded = load_pretrained(str(DATA / "models" / name))
        assert isinstance(loaded.task, task)
        assert next(loaded.model.parameters()).dtype == torch.float32
