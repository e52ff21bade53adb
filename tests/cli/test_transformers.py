"""The command line with models of transformers: classifiers, adapters, images, and what it refuses."""

import json
import sys

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from gradsift.cli import main
from gradsift.integrations.rows import load_rows
from tests.support.families import BY_NAME
from tests.support.pretrained import (
    DATA,
    EOS,
    TEMPLATE,
    WORDS,
    chats,
    image_processor,
    needs_model,
    save,
    save_adapter,
    save_classifier,
    texts,
    tokenizer,
)
from tests.support.structured import masked_bert

PROJECT = """
import torch
from tests.support.families import BY_NAME
from torch.utils.data import DataLoader

def make():
    return torch.nn.Linear(2, 3)

def train(dataset, *, seed):
    model = BY_NAME["bert_sequence"].make()
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for batch in DataLoader(dataset, batch_size=8, shuffle=True, collate_fn=dataset.collate):
        batch.pop("id")
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: models, adapters, and data in every kind of file."""
    place = tmp_path_factory.mktemp("project")
    (place / "hf_project.py").write_text(PROJECT)
    save_classifier(place / "classifier")
    save(place / "plain", "bert_sequence", tokenizer(special=True))
    encode = tokenizer(
        template=TEMPLATE.replace("{{ eos_token if", "{{ ' </s> ' if").replace("{{ bos_token }}", "<s> ")
    )
    save(place / "lm", "llama_lm", encode)
    save_adapter(place / "adapter", place / "lm")
    write(place / "train", texts(60))
    write(place / "test", texts(12, seed=1))
    lines(place / "chats.jsonl", chats(24))
    lines(place / "prompts.jsonl", [{"prompt": f"w20 w{8 + i}", "response": f"w{9 + i} w10"} for i in range(12)])
    return place


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write(path, rows):
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path.with_suffix(".parquet"))
    pa_csv.write_csv(table, path.with_suffix(".csv"))
    lines(path.with_suffix(".jsonl"), rows)


@pytest.fixture
def gradsift(capfd, monkeypatch):
    """Runs a command as a user's shell would: what it prints, or what it says when it fails."""

    def run(*arguments, fails=None):
        monkeypatch.setattr(sys, "argv", ["gradsift", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            main()
        printed, said = capfd.readouterr()
        assert (done.value.code or 0) == (0 if fails is None else fails), said
        assert "Traceback" not in said
        return printed if fails is None else " ".join(said.split())

    return run


CLASSIFIER = ("--model", "classifier", "--text", "text", "--label", "word")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_whole_job_for_a_classifier(gradsift, folder, kind):
    data, run = ("--data", f"train.{kind}"), f"runs/{kind}"
    plan = json.loads(gradsift("plan", *CLASSIFIER, *data, "--json"))
    assert plan["samples"] == 60
    assert plan["seconds"] > 0
    found = json.loads(gradsift("audit", *CLASSIFIER, *data, "--contamination", 0.1, "-o", run, "--json"))
    assert (found["samples"], found["flagged"]) == (60, 6)
    wrong = {row["id"] for row in texts(60) if row["word"] != row["true"]}
    assert len({row["id"] for row in found["worst"][:6]} & wrong) >= 4
    assert "'bad'" in json.dumps(found["worst"])
    shown = (folder / run / "report.html").read_text()
    assert all(word in shown for word in texts(60)[found["worst"][0]["position"]]["text"].split())

    gradsift("trim", run, "-o", f"clean.{kind}")
    clean, before = (load_rows(folder / f"{name}.{kind}") for name in ("clean", "train"))
    kept = np.flatnonzero(~pq.read_table(folder / run / "scores.parquet")["flagged"].to_numpy())
    assert list(clean) == [before[int(position)] for position in kept]
    assert "is not replaced" in gradsift("trim", run, "-o", f"clean.{kind}", fails=1)

    arguments = ("--train", "hf_project:train", "--test", f"test.{kind}", "--seeds", 2, "--true-labels", "true")
    verified = json.loads(gradsift("verify", run, *arguments, "--json"))
    assert [arm["arm"] for arm in verified["arms"]] == [
        "no change", "random drop", "drop", "oracle drop", "oracle relabel"
    ]  # fmt: skip
    page = json.loads(gradsift("report", run, "-o", f"{kind}.html", "--json"))["report"]
    assert verified["sentence"] in (folder / page).read_text()


def test_a_run_says_how_rows_became_samples_and_replays(gradsift, folder):
    options = ("--layers", "all", "--seed", 3, "--max-length", 6)
    gradsift("audit", *CLASSIFIER, "--data", "train.csv", *options, "-o", "runs/first")
    manifest = json.loads((folder / "runs/first/manifest.json").read_text())
    names = {"bad": 0, "good": 1, "fine": 2}
    told = {"text": ["text"], "label": "word", "label2id": names, "max_length": 6}
    assert manifest["encoding"].items() >= told.items()
    assert "Classification" in manifest["task"]
    assert yaml.safe_load((folder / "runs/first/config.yaml").read_text())["source"]["max_length"] == 6
    gradsift("audit", "--config", "runs/first/config.yaml", "-o", "runs/second")
    same = ("scores.parquet", "config.yaml", "manifest.json")
    assert all((folder / "runs/first" / n).read_bytes() == (folder / "runs/second" / n).read_bytes() for n in same)


@pytest.mark.parametrize(("target", "reduction"), [(None, "mean"), ("whole", "sum")])
def test_an_adapter_with_chats(gradsift, folder, target, reduction):
    given = ("--model", "adapter", "--data", "chats.jsonl", "--messages", "messages", "--reduction", reduction)
    given += ("--target", target) if target else ()
    assert json.loads(gradsift("plan", *given, "--layers", "all", "--json"))["samples"] == 24
    run = f"runs/chats-{reduction}"
    found = json.loads(gradsift("audit", *given, "--layers", "all", "--contamination", 0.25, "-o", run, "--json"))
    assert found["flagged"] == 6
    manifest = json.loads((folder / run / "manifest.json").read_text())
    assert manifest["encoding"].items() >= {"messages": "messages", "target": target or "response"}.items()
    assert f"'reduction': '{reduction}'" in manifest["task"]
    assert len(manifest["parameters"]) == 8  # A and B of two layers' queries and values
    assert all("lora_" in name for name in manifest["parameters"])
    gradsift("audit", "--config", f"{run}/config.yaml", "-o", f"{run}-again")
    assert (folder / run / "scores.parquet").read_bytes() == (folder / f"{run}-again/scores.parquet").read_bytes()
    gradsift("trim", run, "-o", f"{run}.jsonl")
    kept = np.flatnonzero(~pq.read_table(folder / run / "scores.parquet")["flagged"].to_numpy())
    before = (folder / "chats.jsonl").read_text().splitlines()
    assert (folder / f"{run}.jsonl").read_text().splitlines() == [before[int(position)] for position in kept]


def test_prompts_with_responses_and_a_base_from_elsewhere(gradsift, folder):
    given = (
        "--model",
        "adapter",
        "--base",
        "lm",
        "--data",
        "prompts.jsonl",
        "--prompt",
        "prompt",
        "--response",
        "response",
    )
    gradsift("audit", *given, "--layers", "all", "-o", "runs/prompts")
    losses = pq.read_table(folder / "runs/prompts/scores.parquet")["loss"].to_pylist()
    gradsift("audit", *given, "--layers", "all", "--target", "whole", "-o", "runs/prompts-whole")
    assert losses != pq.read_table(folder / "runs/prompts-whole/scores.parquet")["loss"].to_pylist()
    from gradsift.integrations.pretrained import load_pretrained

    model = load_pretrained("adapter").model
    ids = torch.tensor([[20, 8, 9, 10, EOS]])
    labels = torch.tensor([[-100, -100, 9, 10, EOS]])
    assert losses[0] == pytest.approx(model(input_ids=ids, labels=labels).loss.item(), rel=1e-5)


def test_a_ready_task_by_name_keeps_the_reduction(gradsift, folder):
    given = ("--model", "lm", "--data", "prompts.jsonl", "--text", "response", "--detectors", "l2")
    gradsift("audit", *given, "--task", "causal-lm", "--reduction", "sum", "-o", "runs/named")
    assert "'sum'" in json.loads((folder / "runs/named/manifest.json").read_text())["task"]


def test_texts_that_run_over_lines_in_a_csv(gradsift, folder):
    rows = [row | {"text": row["text"].replace(" ", "\n", 1), "id": "007"} for row in texts(20)]
    pa_csv.write_csv(pa.Table.from_pylist(rows), folder / "lines.csv")
    gradsift("audit", *CLASSIFIER, "--data", "lines.csv", "--contamination", 0.1, "-o", "runs/lines")
    gradsift("trim", "runs/lines", "-o", "lines-clean.csv")
    kept = (folder / "lines-clean.csv").read_text()
    assert (len(load_rows(folder / "lines-clean.csv")), kept.count("007")) == (18, 18)


def test_pairs_of_texts_and_a_person_reading(gradsift, folder):
    rows = [{"a": row["text"], "b": "w9", "labels": row["label"]} for row in texts(20)]
    lines(folder / "pairs.jsonl", rows)
    shown = gradsift("audit", "--model", "classifier", "--data", "pairs.jsonl", "--text", "a,b", "-o", "runs/pairs")
    assert "The worst samples" in shown
    assert "About" in gradsift("plan", "--model", "classifier", "--data", "pairs.jsonl", "--text", "a,b")


def test_a_folder_of_images(gradsift, folder):
    image = pytest.importorskip("PIL.Image")
    names = {"id2label": {0: "cat", 1: "ant", 2: "bee"}, "label2id": {"cat": 0, "ant": 1, "bee": 2}}
    save(folder / "vit", "vit_image", image_processor(16), **names)
    for place in range(12):
        (folder / "pictures" / ("ant", "bee", "cat")[place % 3]).mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(place).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        image.fromarray(values).save(folder / "pictures" / ("ant", "bee", "cat")[place % 3] / f"{place}.png")
    given = ("--model", "vit", "--data", "pictures", "--contamination", 0.25)
    assert json.loads(gradsift("audit", *given, "-o", "runs/pictures", "--json"))["flagged"] == 3
    assert (
        pq.read_table(folder / "runs/pictures/scores.parquet")["given_label"].to_pylist() == [1] * 4 + [2] * 4 + [0] * 4
    )
    gradsift("trim", "runs/pictures", "-o", "pictures-clean")
    assert len(list((folder / "pictures-clean").rglob("*.png"))) == 9


def test_a_hub_id_for_data(gradsift, folder, monkeypatch):
    rows = datasets.Dataset.from_list(texts(20))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: rows)
    gradsift("audit", *CLASSIFIER, "--data", "user/reviews", "--contamination", 0.1, "-o", "runs/hub")
    gradsift("trim", "runs/hub", "-o", "deep/hub.parquet")
    kept = np.flatnonzero(~pq.read_table(folder / "runs/hub/scores.parquet")["flagged"].to_numpy())
    assert pq.read_table(folder / "deep/hub.parquet").to_pylist() == rows.select(kept).to_list()
    before = (folder / "deep/hub.parquet").read_bytes()
    for name, phrase in (("deep/hub.parquet", "is not replaced"), ("deep/hub.csv", "name it *.parquet")):
        assert phrase in gradsift("trim", "runs/hub", "-o", name, fails=1)
    assert (folder / "deep/hub.parquet").read_bytes() == before


LM = ("--model", "lm", "--data", "prompts.jsonl")
REFUSED = {
    "no column": ((*CLASSIFIER[:2], "--data", "train.csv", "--text", "review"), "no column 'review': the columns are text"),
    "no label": ((*CLASSIFIER[:4], "--data", "train.csv", "--label", "stars"), "no column 'stars': the columns are"),
    "no text": (("--model", "classifier", "--data", "train.csv"), "name the column of texts with text=..."),
    "words": (("--model", "plain", "--data", "train.csv", *CLASSIFIER[2:]), "nothing tells which class of the model"),
    "unknown word": (("--model", "classifier", "--data", "odd.jsonl", *CLASSIFIER[2:]), "'great' at position 2"),
    "no such label": (("--model", "classifier", "--data", "null.jsonl", *CLASSIFIER[2:]), "position 1 has no label"),
    "label too large": (("--model", "classifier", "--data", "many.jsonl", "--text", "text"), "labels are outside 0 ... 2"),
    "empty": (("--model", "lm", "--data", "empty.jsonl", "--text", "text"), "position 1 is empty"),
    "no target": ((*LM, "--prompt", "prompt", "--response", "response", "--max-length", 1), "no token is a target"),
    "no template": (("--model", "plain-lm", "--data", "chats.jsonl", "--messages", "messages"), "no chat template"),
    "columns": (LM, "name the columns of one kind of sequence"),
    "half": ((*LM, "--prompt", "prompt"), "prompt=... with response=..."),
    "target": ((*LM, "--text", "prompt", "--target", "half"), "target is response or whole, or left out; given 'half'"),
    "reduction": ((*LM, "--text", "prompt", "--reduction", "max"), "reduction is mean or sum; given 'max'"),
    "reduction 2": ((*CLASSIFIER, "--data", "train.csv", "--reduction", "sum"), "--reduction is for losses over tokens"),
    "dtype": ((*LM, "--text", "prompt", "--dtype", "int8"), "dtype is float32, bfloat16 or float16; given 'int8'"),
    "useless": ((*LM, "--text", "prompt", "--label", "x"), "--label: a model ForCausalLM has no use for it"),
    "weights": ((*CLASSIFIER, "--data", "train.csv", "--weights", "w.pt"), "--weights belongs to a model by import path"),
    "base": ((*CLASSIFIER, "--data", "train.csv", "--base", "lm"), "--base belongs to an adapter"),
    "own model": (
        ("--model", "hf_project:make", "--data", "train.csv", "--text", "text"),
        "--text belongs to a model of transformers",
    ),
    "no base": (("--model", "baseless", "--data", "prompts.jsonl", "--text", "prompt"), "give it with --base"),
    "large tokenizer": (("--model", "large", "--data", "train.csv", *CLASSIFIER[2:]), "tokenizer does not fit the model"),
    "head": (("--model", "headless", "--data", "train.csv", *CLASSIFIER[2:]), "ends in none of ForSequenceClassification"),
    "pickle": (("--model", "pickled", "--data", "train.csv", *CLASSIFIER[2:]), "pickles (pytorch_model.bin)"),
    "no model": (("--model", "./gone", "--data", "train.csv", *CLASSIFIER[2:]), "there is no such folder"),
    "hub model": (("--model", "nobody/gone", "--data", "train.csv", *CLASSIFIER[2:]), "cannot be loaded as a model"),
    "no data": ((*CLASSIFIER, "--data", "gone.csv"), "gone.csv does not exist"),
    "hub data": ((*CLASSIFIER, "--data", "nobody/gone"), "nobody/gone is no file, and cannot be loaded"),
    "npz": ((*CLASSIFIER, "--data", "train.npz"), "unknown kind for rows: give a .parquet, .csv, .tsv or .jsonl file"),
    "broken": ((*CLASSIFIER, "--data", "broken.jsonl"), "broken.jsonl is no readable jsonl file"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bad(folder):
    """What is wrong with models and data."""
    rows = texts(6)
    for name, place, values in (("odd", 2, {"word": "great"}), ("null", 1, {"word": None}), ("many", 3, {"label": 7})):
        lines(folder / f"{name}.jsonl", [row | values if i == place else row for i, row in enumerate(rows)])
    lines(folder / "empty.jsonl", [{"text": "w8"}, {"text": ""}])
    (folder / "broken.jsonl").write_text('{"text": "w8", "word"')
    np.savez(folder / "train.npz", x=np.zeros(3))
    save(folder / "plain-lm", "llama_lm")
    BY_NAME["bert_sequence"].make().save_pretrained(folder / "large")
    tokenizer(words=[*WORDS, "more"]).save_pretrained(folder / "large")
    save(folder / "headless", "bert_sequence")
    settings = json.loads((folder / "headless/config.json").read_text()) | {"architectures": ["BertForMultipleChoice"]}
    (folder / "headless/config.json").write_text(json.dumps(settings))
    save(folder / "pickled", "bert_sequence")
    (folder / "pickled/model.safetensors").rename(folder / "pickled/pytorch_model.bin")
    save_adapter(folder / "baseless", folder / "lm")
    settings = json.loads((folder / "baseless/adapter_config.json").read_text()) | {"base_model_name_or_path": None}
    (folder / "baseless/adapter_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_is_said_and_nothing_is_left_behind(gradsift, folder, bad, case):
    arguments, phrase = REFUSED[case]
    before = {path.name for path in (folder / "runs").iterdir()} if (folder / "runs").exists() else set()
    assert phrase in gradsift("audit", *arguments, "-o", "runs/never", fails=1)
    assert phrase in gradsift("plan", *arguments, fails=1)
    assert ({path.name for path in (folder / "runs").iterdir()} if (folder / "runs").exists() else set()) == before


@needs_model("bert-tiny-question-clf")
def test_a_published_classifier(gradsift, folder):
    rows = [
        {"text": f"What is a {word} ?", "label": i % 2} for i, word in enumerate(["dog", "year", "Rome", "poem"] * 4)
    ]
    lines(folder / "questions.jsonl", rows)
    model = ("--model", DATA / "models" / "bert-tiny-question-clf", "--text", "text")
    found = json.loads(gradsift("audit", *model, "--data", "questions.jsonl", "-o", "runs/published", "--json"))
    assert found["samples"] == 16


@needs_model("stories260K")
def test_a_published_language_model(gradsift, folder):
    lines(
        folder / "stories.jsonl",
        [{"text": f"Once upon a time, there was a {w}."} for w in ("cat", "dog", "xqz", "boy")],
    )
    model = ("--model", DATA / "models" / "stories260K", "--text", "text")
    found = json.loads(gradsift("audit", *model, "--data", "stories.jsonl", "-o", "runs/stories", "--json"))
    assert found["samples"] == 4


@pytest.mark.parametrize(
    ("family", "options", "row", "given"),
    [
        ("bert_token", {}, {"words": ["w8", "w9"], "tags": [0, 2]}, ("--text", "words", "--label", "tags")),
        (
            "bert_sequence",
            {"problem_type": "multi_label_classification"},
            {"text": "w8 w9", "label": [0, 1, 1]},
            ("--text", "text"),
        ),
        ("bert_sequence", {"num_labels": 1}, {"text": "w8 w9", "label": 0.5}, ("--text", "text")),
    ],
    ids=["words", "several labels", "values"],
)
def test_other_tasks_follow_from_the_model_s_head(gradsift, tmp_path, family, options, row, given):
    save(tmp_path / "model", family, **options)
    lines(tmp_path / "rows.jsonl", [row] * 9)
    found = gradsift(
        "audit", "--model", tmp_path / "model", "--data", tmp_path / "rows.jsonl", *given, "-o", tmp_path / "run"
    )
    assert "9 samples" in found


def test_texts_with_masked_words(gradsift, tmp_path):
    torch.manual_seed(0)
    masked_bert().save_pretrained(tmp_path / "model")
    tokenizer(special=True, mask_token=WORDS[7]).save_pretrained(tmp_path / "model")
    lines(tmp_path / "rows.jsonl", [{"text": f"w8 w{9 + place} w30"} for place in range(9)])
    given = ("audit", "--model", tmp_path / "model", "--data", tmp_path / "rows.jsonl", "-o", tmp_path / "run")
    assert "9 samples" in gradsift(*given, "--text", "text")
    assert {"score_loss", "score_l2"} <= set(pq.read_schema(tmp_path / "run/scores.parquet").names)
    refused = gradsift(*given, "--text", "text", "--label", "text", "--overwrite", fails=1)
    assert "--label: a model ForMaskedLM has no use for it" in " ".join(refused.split())


def test_rows_of_classes_for_a_model_of_several_labels_are_refused(gradsift, tmp_path):
    save(tmp_path / "model", "bert_sequence", problem_type="multi_label_classification")
    lines(tmp_path / "rows.jsonl", [{"text": "w8", "label": [2][: i % 2]} for i in range(9)])
    given = ("--model", tmp_path / "model", "--data", tmp_path / "rows.jsonl", "--text", "text", "-o", tmp_path / "run")
    assert "zeros and ones" in gradsift("audit", *given, fails=1)
    assert not (tmp_path / "run").exists()
