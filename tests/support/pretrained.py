"""Small random models of transformers with their tokenizers, written to folders as save_pretrained writes them."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tests.support.families import BY_NAME

DATA = Path(os.environ.get("GRADSIFT_DATA", "does-not-exist"))
WORDS = ["<unk>", "<pad>", "</s>", "<s>", "user", "assistant", "system", ":", *(f"w{i}" for i in range(8, 40))]
UNK, PAD, EOS, BOS = range(4)
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ' : ' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant : ' }}{% endif %}"
)


def needs_model(name):
    """Skips where the downloaded model is not at hand."""
    return pytest.mark.skipif(not (DATA / "models" / name).is_dir(), reason=f"GRADSIFT_DATA holds no models/{name}")


def tokenizer(*, special=False, template=None, limit=16, words=WORDS, **options):
    """Words w8 to w39; with special=True every text begins with <s> and ends with </s>."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", BOS), ("</s>", EOS)]
        )
    names = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"} | options
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=limit, chat_template=template,
        model_input_names=["input_ids", "attention_mask"],  # the default of transformers 4 adds token types
        **{name: token for name, token in names.items() if token is not None},
    )  # fmt: skip


def letters(**options):
    """A byte-level BPE without merges: one token a letter, so a word has several pieces."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: place for place, letter in enumerate(["<pad>", *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", **options)


def image_processor(side):
    """ViT's, loaded as a model's own is: what needs no torchvision has another name in transformers 4 and 5."""
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": side, "width": side}}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(settings))
        return tf.AutoImageProcessor.from_pretrained(folder)


def texts(size=40, classes=("bad", "good", "fine"), seed=0):
    """Rows whose label can be read off their words, one in ten of them wrong: text, label as a number, word, id, rest."""
    generator = np.random.default_rng(seed)
    true = np.arange(size) % len(classes)
    given = np.where(np.arange(size) % 10 == 3, (true + 1) % len(classes), true)
    rows = []
    for place in range(size):
        own = [f"w{8 + 10 * true[place] + int(i)}" for i in generator.integers(0, 10, generator.integers(2, 7))]
        rows.append(
            {"text": " ".join(own), "label": int(given[place]), "word": classes[given[place]], "id": f"row{place}",
             "true": classes[true[place]]}
        )  # fmt: skip
    return rows


def save(folder, family, processor=None, **changes):
    """A model of a family, with its tokenizer beside it."""
    model = BY_NAME[family].make(**changes)
    model.save_pretrained(folder)
    (tokenizer() if processor is None else processor).save_pretrained(folder)
    return str(folder)


def save_classifier(folder, *, classes=("bad", "good", "fine"), steps=20, **changes):
    """A BERT that was fine-tuned on :func:`texts`, which names its classes."""
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: place for place, name in enumerate(classes)}}
    model, encode, rows = BY_NAME["bert_sequence"].make(**names, **changes), tokenizer(special=True), texts(60)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = encode([row["text"] for row in rows], padding=True, return_tensors="pt")
    labels = torch.tensor([row["label"] for row in rows])
    for _ in range(steps):
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    encode.save_pretrained(folder)
    return str(folder)


def save_adapter(folder, base_folder, family="llama_lm", kind="CAUSAL_LM", processor=None, **options):
    """A LoRA adapter on a saved base, its matrices away from zero."""
    import peft

    options = {"target_modules": ["q_proj", "v_proj"]} | options
    base = BY_NAME[family].make()
    base.name_or_path = str(base_folder)
    model = peft.get_peft_model(base, peft.LoraConfig(task_type=kind, r=2, **options))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return str(folder)


def chats(size=12, seed=0):
    """Chats with one or two turns of an assistant."""
    generator = np.random.default_rng(seed)

    def said(role):
        return {"role": role, "content": " ".join(f"w{i}" for i in generator.integers(8, 40, 2))}

    return [{"messages": [said(r) for r in ("user", "assistant") * (1 + place % 2)]} for place in range(size)]
