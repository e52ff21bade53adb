"""Pairs of answers in TRL's columns: how they are encoded, what is refused, and what TRL trains on afterwards."""

import json

import datasets
import peft
import pyarrow as pa
import pytest

import gradsift
from gradsift.errors import DataError, ModelError, SettingError
from tests.support.families import BY_NAME
from tests.support.in_process import gradsift as command
from tests.support.pretrained import BOS, EOS, TEMPLATE, save, save_adapter, tokenizer

EXPLICIT = [{"prompt": "w8 w9", "chosen": "w10 w11", "rejected": "w12", "id": "a"}]
IMPLICIT = [{"chosen": "w8 w9 w10", "rejected": "w8 w9 w11"}]


def said(*words):
    return [{"role": role, "content": word} for role, word in zip(("user", "assistant"), words, strict=False)]


def rows(size=24):
    """Chosen answers have the words w10 to w19, rejected ones w30 to w39; every fourth pair is swapped."""
    made = []
    for place in range(size):
        answers = [f"w{10 + place % 10} w{10 + place * 3 % 10}", f"w{30 + place % 10} w{30 + place * 7 % 10}"]
        chosen, rejected = answers[::-1] if place % 4 == 0 else answers
        made.append(
            {"prompt": f"w{20 + place % 8}", "chosen": chosen, "rejected": rejected, "ref_chosen_logps": -9.0 - place}
        )
        made[-1]["ref_rejected_logps"] = -8.0
    return made


def test_prompts_that_are_explicit_are_no_target():
    pairs = gradsift.PairSet(EXPLICIT, tokenizer())
    assert pairs[0] == {
        "chosen_input_ids": [8, 9, 10, 11, EOS], "chosen_attention_mask": [1] * 5,
        "chosen_labels": [-100, -100, 10, 11, EOS], "rejected_input_ids": [8, 9, 12, EOS],
        "rejected_attention_mask": [1] * 4, "rejected_labels": [-100, -100, 12, EOS], "id": "a",
    }  # fmt: skip
    batch = pairs.collate([pairs[0], pairs[0]])
    assert batch["id"] == ["a", "a"]
    assert batch["chosen_input_ids"].shape == (2, 5)
    assert batch["rejected_labels"].tolist() == [[-100, -100, 12, EOS]] * 2


def test_prompts_that_are_implicit_are_part_of_both_answers():
    pairs = gradsift.PairSet(IMPLICIT, tokenizer())
    assert pairs[0]["chosen_input_ids"] == [8, 9, 10, EOS]
    ended = [{"chosen": "w8 w9 </s>", "rejected": "w8 w11"}]
    assert gradsift.PairSet(ended, tokenizer())[0]["rejected_labels"] == [8, 11, EOS]


@pytest.mark.parametrize("explicit", [True, False])
def test_chats_go_through_the_template(explicit):
    begin = said("w8")
    chat = {side: [*([] if explicit else begin), {"role": "assistant", "content": w}] for side, w in
            (("chosen", "w9"), ("rejected", "w10"))}  # fmt: skip
    spoken = TEMPLATE.replace("{{ eos_token if", "{{ ' </s> ' if").replace("{{ bos_token }}", "<s> ")
    pairs = gradsift.PairSet([chat | ({"prompt": begin} if explicit else {})], tokenizer(template=spoken))
    encoded = pairs[0]
    assert encoded["chosen_input_ids"][0] == encoded["rejected_input_ids"][0] == BOS
    assert [token for token in encoded["chosen_labels"] if token != -100] == [9, EOS]
    assert [token for token in encoded["rejected_labels"] if token != -100] == [10, EOS]


@pytest.mark.parametrize(
    ("bad", "options", "words"),
    [
        ([{"chosen": "w8", "rejected": "w8"}], {}, r"the same at positions 0\. Nothing can be preferred"),
        ([{"chosen": "w8", "rejected": " "}], {}, "an answer is empty or missing at positions 0"),
        ([{"chosen": "w8", "rejected": None}], {}, "an answer is empty or missing at positions 0"),
        ([{"chosen": said("w8", "w9"), "rejected": said("w8", "")}], {}, "an answer is empty"),
        (
            [{"chosen": said("w8", "w9"), "rejected": said("w10", "w9")}], {},
            r"begin with different messages, so they answer different prompts at positions 0.*--prompt",
        ),
        (EXPLICIT, {"rejected": "worse"}, "no column 'worse': the columns are prompt, chosen, rejected, id"),
        (EXPLICIT, {"prompt": "question"}, "no column 'question'"),
        (EXPLICIT, {"chosen": "rejected"}, "columns of their own, given 'rejected', 'rejected' and None"),
        ([{"chosen": said("w8", "w9"), "rejected": "w9"}], {}, "texts, or lists of messages, are needed in every row"),
        (IMPLICIT, {"max_length": 2}, "position 0 have the same tokens up to the limit of 2: allow longer ones"),
    ],
)  # fmt: skip
def test_pairs_from_which_nothing_can_be_learnt_are_refused(bad, options, words):
    template = TEMPLATE if isinstance(bad[0]["chosen"], list) else None
    with pytest.raises((DataError, SettingError), match=words):
        gradsift.PairSet(bad, tokenizer(template=template), **options)[0]


@pytest.mark.parametrize("kind", ["list", "table", "dataset"])
def test_pairs_are_turned_around_in_every_kind_of_rows(kind):
    made = rows()
    make = {"list": list, "table": pa.Table.from_pylist, "dataset": datasets.Dataset.from_list}
    source = make[kind](made)
    pairs = gradsift.PairSet(source, tokenizer())
    model = BY_NAME["llama_sequence"].make(num_labels=1, pad_token_id=1)
    audit = gradsift.audit(model, pairs, task="reward", contamination=0.25, show_progress=False)
    better = gradsift.correct(audit, pairs, how="relabel")
    assert isinstance(better, gradsift.PairSet)
    new = better.raw if kind == "list" else better.raw.to_pylist() if kind == "table" else list(better.raw)
    swapped = [row["gradsift_swapped"] for row in new]
    assert 0 < sum(swapped) == audit.table["suggested_label"].null_count * -1 + len(made)
    for before, after in zip(made, new, strict=True):
        sides = ("rejected", "chosen") if after["gradsift_swapped"] else ("chosen", "rejected")
        assert [after["chosen"], after["rejected"]] == [before[side] for side in sides]
        assert after["ref_chosen_logps"] == before[f"ref_{sides[0]}_logps"]
    assert len(audit.trim(pairs)) == len(made) - len(audit.flagged_positions)
    weights = [row["gradsift_weight"] for row in map(dict, _rows(gradsift.correct(audit, pairs, how="weight").raw))]
    assert min(weights) >= 0
    assert max(weights) <= 1
    with pytest.raises(SettingError, match="a pair has no soft target: use 'drop', 'relabel'"):
        gradsift.correct(audit, pairs, how="soft")


def _rows(raw):
    return raw.to_pylist() if isinstance(raw, pa.Table) else raw


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_the_command_line_turns_pairs_around_in_a_file(tmp_path, ending):
    save(tmp_path / "model", "llama_sequence", tokenizer(), num_labels=1, pad_token_id=1)
    data, output = tmp_path / f"pairs.{ending}", tmp_path / f"better.{ending}"
    table = datasets.Dataset.from_list(rows())
    {"jsonl": table.to_json, "parquet": table.to_parquet, "csv": table.to_csv}[ending](str(data))
    run = ["--model", str(tmp_path / "model"), "--data", str(data), "--chosen", "chosen", "--rejected", "rejected"]
    done = command("audit", *run, "--contamination", "0.25", "-o", str(tmp_path / "run"))
    assert "rejected: w" in done.stdout
    assert 'class="sample pair"' in (tmp_path / "run/report.html").read_text()
    command("correct", str(tmp_path / "run"), "-o", str(output), "--how", "relabel")
    new = list(datasets.load_dataset({"jsonl": "json"}.get(ending, ending), data_files=str(output), split="train"))
    assert 0 < sum(row["gradsift_swapped"] for row in new) <= 6
    for before, after in zip(rows(), new, strict=True):
        sides = ("rejected", "chosen") if after["gradsift_swapped"] else ("chosen", "rejected")
        assert [after["chosen"], after["rejected"]] == [before[side] for side in sides]


def test_the_command_line_tells_what_is_missing(tmp_path):
    save(tmp_path / "model", "llama_lm", tokenizer())
    without = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows()]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in without))
    run = ["audit", "--model", str(tmp_path / "model"), "--data", str(data), "-o", str(tmp_path / "run")]
    for options, words in (
        (["--chosen", "chosen"], "DPO needs a reference, and LlamaForCausalLM has no adapter"),
        (["--chosen", "chosen", "--beta", "0"], "beta is a number above 0; given 0"),
        (["--chosen", "best"], "no column 'best': the columns are prompt, chosen, rejected"),
    ):
        done = command(*run, *options, check=False)
        assert done.returncode, done.stdout
        assert words in " ".join(done.stderr.split())
    adapter = save_adapter(tmp_path / "adapter", tmp_path / "model", processor=tokenizer())
    done = command("audit", "--model", adapter, "--data", str(data), "--task", "dpo", "-o", str(tmp_path / "dpo"))
    assert "100 % by layer rules" in done.stdout


@pytest.mark.slow
def test_what_is_corrected_feeds_the_trainers_of_trl(tmp_path):
    trl = pytest.importorskip("trl")
    words = tokenizer(template=TEMPLATE, limit=32)
    data = datasets.Dataset.from_list([{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in rows()])
    pairs = gradsift.PairSet(data, words)
    model = BY_NAME["llama_sequence"].make(num_labels=1, pad_token_id=1)
    audit = gradsift.audit(model, pairs, task="reward", contamination=0.25, show_progress=False)
    better = gradsift.correct(audit, pairs, how="relabel").raw
    assert isinstance(better, datasets.Dataset)
    plain = {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "bf16": False,
    }
    config = trl.RewardConfig(output_dir=str(tmp_path / "reward"), **plain)
    trl.RewardTrainer(model=model, args=config, train_dataset=better, processing_class=words).train()
    policy, adapter = (
        BY_NAME["llama_lm"].make(),
        peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    config = trl.DPOConfig(output_dir=str(tmp_path / "dpo"), loss_type="robust", label_smoothing=0.2, **plain)
    trl.DPOTrainer(model=policy, args=config, train_dataset=better, processing_class=words, peft_config=adapter).train()


def test_a_policy_of_its_own_needs_a_reference():
    pairs = gradsift.PairSet([{k: row[k] for k in ("chosen", "rejected")} for row in rows()], tokenizer())
    with pytest.raises(ModelError, match="reference=model"):
        gradsift.audit(BY_NAME["llama_lm"].make(), pairs, task="dpo", show_progress=False)
    known = gradsift.PairSet(rows(), tokenizer())
    audit = gradsift.audit(BY_NAME["llama_lm"].make(), known, task="dpo", show_progress=False)
    assert audit.detector == "pair_posterior"
