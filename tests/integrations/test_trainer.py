"""The recorder's seat in transformers' Trainer, with real training runs."""

import logging

import datasets
import numpy as np
import peft
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import gradsift
from gradsift.integrations.trainer import RecorderCallback
from tests.support.families import BY_NAME

WORDS = [f"w{place}" for place in range(40)]


def tokenizer():
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="w1", eos_token="w2", unk_token="w0", model_max_length=16,
        model_input_names=["input_ids", "attention_mask"],  # the default of transformers 4 adds token types
    )  # fmt: skip


def texts(size=22):
    generator = np.random.default_rng(0)
    rows = [" ".join(generator.choice(WORDS[3:], generator.integers(3, 8))) for _ in range(size)]
    return datasets.Dataset.from_dict({"text": rows, "label": generator.integers(0, 3, size).tolist(), "note": rows})


def run(tmp_path, model, train_set, recorder=None, callbacks=None, **settings):
    """A Trainer as users have it; with a recorder, through the wrapped data set and the callback."""
    wrapped = gradsift.indexed(train_set, model=model) if recorder is not None else train_set
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=5, **settings,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=wrapped, data_collator=wrapped.collate,
        callbacks=callbacks or ([RecorderCallback(recorder)] if recorder is not None else []),
    )  # fmt: skip
    trainer.train()
    return trainer


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"label_smoothing_factor": 0.1}])
def test_a_trainer_s_own_passes_are_recorded_by_position(tmp_path, settings, capsys):
    train_set = gradsift.TextSet(texts(), tokenizer(), text="text")
    plain = BY_NAME["bert_sequence"].make().train()
    run(tmp_path, plain, train_set, **settings)
    model = BY_NAME["bert_sequence"].make().train()
    recorder = gradsift.Recorder(model, train_set, passes="both", show_progress=False)
    run(tmp_path, model, train_set, recorder, **settings)
    assert recorder.failure is None
    torch.testing.assert_close(weights(model), weights(plain))
    trained = recorder.of_mode("train")
    assert len(trained) == 2
    assert trained.steps[-1] == (12 if "gradient_accumulation_steps" not in settings else 6)
    assert {"loss", "l1", "l2", "residual_l2", "margin"} <= trained.statistics.keys()
    assert all(np.isfinite(values).all() for values in trained.statistics.values())
    assert (trained.recorded_at[1] >= trained.steps[0]).all()
    assert len(recorder.of_mode("eval")) == 2
    assert "% of the time of training" in capsys.readouterr().err
    audit = gradsift.audit(model.eval(), train_set, trajectory=recorder, show_progress=False)
    assert audit.detector == "posterior_along_training"


def test_a_lora_language_model_records_its_adapters_norms(tmp_path):
    rows = datasets.Dataset.from_dict({"prompt": texts()["text"], "response": texts()["text"]})
    train_set = gradsift.PromptSet(rows, tokenizer(), prompt="prompt", response="response")
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(BY_NAME["llama_lm"].make(), settings)
    recorder = gradsift.Recorder(model, train_set, task="causal-lm", layers="all", passes="both", show_progress=False)
    run(tmp_path, model, train_set, recorder, learning_rate=0.0)
    assert recorder.failure is None
    trained, reference = recorder.of_mode("train"), recorder.of_mode("eval")
    assert {"loss", "l2", "residual_l2"} <= trained.statistics.keys()
    # Without dropout and with a learning rate of zero both ways see the same model.
    np.testing.assert_allclose(trained.statistics["loss"], reference.statistics["loss"], rtol=1e-4)
    for name in ("l2", "residual_l2"):
        np.testing.assert_allclose(trained.statistics[name], reference.statistics[name], rtol=1e-3)


def test_a_callback_that_fails_never_ends_the_training(tmp_path, monkeypatch, caplog):
    train_set = gradsift.TextSet(texts(), tokenizer(), text="text")
    model = BY_NAME["bert_sequence"].make().train()
    recorder = gradsift.Recorder(model, train_set, passes="both", show_progress=False)

    def broken(*_arguments, **_keywords):
        raise RuntimeError("something broke")

    monkeypatch.setattr("gradsift.trajectory.deferred.own_residual", broken)
    with caplog.at_level(logging.ERROR):
        trainer = run(tmp_path, model, train_set, recorder)
    assert trainer.state.global_step == 12
    assert "something broke" in recorder.failure
    assert caplog.text.count("gradsift stops recording") == 1


def test_a_wrapped_set_without_a_recorder_of_own_passes_still_trains(tmp_path):
    train_set = gradsift.TextSet(texts(), tokenizer(), text="text")
    model = BY_NAME["distilbert_sequence"].make().train()
    recorder = gradsift.Recorder(model, train_set, passes="eval", every=2, show_progress=False)
    trainer = run(tmp_path, model, train_set, recorder, eval_strategy="no")
    assert trainer.state.global_step == 12
    assert list(recorder.trajectory.steps) == [12]


def resumable(folder, passes, epochs, resume=None, lies=None, **settings):
    """A training that keeps every checkpoint; new objects each time, as in a new process."""
    train_set = gradsift.TextSet(texts(), tokenizer(), text="text")
    model = BY_NAME["distilbert_sequence"].make().train()
    recorder = gradsift.Recorder(model, train_set, passes=passes, show_progress=False)
    wrapped = gradsift.indexed(train_set, model=model)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), num_train_epochs=epochs, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        logging_strategy="no", disable_tqdm=True, seed=5, lr_scheduler_type="constant", **settings,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=wrapped, data_collator=wrapped.collate,
        callbacks=[RecorderCallback(recorder, checkpoint=lies)],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    assert recorder.failure is None
    return recorder


EPOCHS = {"save_strategy": "epoch"}
BEFORE_THE_END = {"save_strategy": "steps", "save_steps": 6}  # written before the epoch's end is told
MIDST = {"save_strategy": "steps", "save_steps": 8}


@pytest.mark.parametrize(("passes", "settings", "step"), [
    ("eval", EPOCHS, 12), ("train", EPOCHS, 12), ("both", EPOCHS, 12), ("both", BEFORE_THE_END, 12), ("both", MIDST, 8),
])  # fmt: skip
def test_a_resumed_training_keeps_its_early_epochs_and_drops_what_came_later(tmp_path, passes, settings, step):
    whole = resumable(tmp_path / "whole", passes, 4, **settings)
    resumed = resumable(tmp_path / "whole", passes, 4, tmp_path / "whole" / f"checkpoint-{step}", **settings)
    for mode in ("train", "eval") if passes == "both" else (passes,):
        own, expected = resumed.of_mode(mode), whole.of_mode(mode)
        assert list(own.steps) == list(expected.steps) == [6, 12, 18, 24]
        for name, values in expected.statistics.items():
            np.testing.assert_allclose(own.statistics[name], values, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(own.predictions, expected.predictions, atol=1e-4)
        if mode == "train":
            np.testing.assert_array_equal(own.recorded_at, expected.recorded_at)


def test_a_checkpoint_that_lies_elsewhere_is_named_and_a_missing_state_is_told(tmp_path, caplog):
    settings = {"save_strategy": "epoch"}
    resumable(tmp_path / "first", "eval", 2, **settings)
    checkpoint = tmp_path / "first" / "checkpoint-6"
    found = resumable(tmp_path / "second", "eval", 2, checkpoint, checkpoint, **settings)
    assert list(found.trajectory.steps) == [6, 12]
    (checkpoint / "gradsift_recorder.pt").unlink()
    with caplog.at_level(logging.WARNING):
        found = resumable(tmp_path / "first", "eval", 2, checkpoint, **settings)
    assert "what was recorded before is missing" in caplog.text
    assert list(found.trajectory.steps) == [12]
