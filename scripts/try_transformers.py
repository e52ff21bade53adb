"""Audits a small random classifier of transformers and a LoRA language model, and records a Trainer: the wheel's trial."""

import datasets
import peft
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import gradsift
from gradsift.integrations.trainer import RecorderCallback

WORDS = {word: place for place, word in enumerate(["<pad>", "</s>", *(f"w{place}" for place in range(30))])}
made = Tokenizer(models.WordLevel(WORDS, unk_token="<pad>"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=made, pad_token="<pad>", eos_token="</s>", model_max_length=16
)
texts = [f"w{place % 30} w{(7 * place) % 30} w3" for place in range(24)]
rows = datasets.Dataset.from_dict({"text": texts, "prompt": texts, "label": [place % 3 for place in range(24)]})
shape = {"vocab_size": 32, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}

torch.manual_seed(0)
model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape, num_labels=3))
train_set = gradsift.TextSet(rows, tokenizer, text="text")
wrapped = gradsift.indexed(train_set, model=model)
recorder = gradsift.Recorder(model, train_set, passes="both", show_progress=False)
arguments = transformers.TrainingArguments(
    "trainer", num_train_epochs=1, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True
)
transformers.Trainer(
    model=model,
    args=arguments,
    train_dataset=wrapped,
    data_collator=wrapped.collate,
    callbacks=[RecorderCallback(recorder)],
).train()
audit = gradsift.audit(model.eval(), train_set, trajectory=recorder, contamination=0.1, show_progress=False)
if recorder.failure is not None or len(audit.trim(rows)) != 22:
    raise SystemExit(f"the classifier's audit went wrong: {recorder.failure}")

base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
adapted = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])).eval()
prompts = gradsift.PromptSet(rows, tokenizer, prompt="prompt", response="text")
audit = gradsift.audit(adapted, prompts, task="causal-lm", layers="all", contamination=0.1, show_progress=False)
if not audit.details["coverage"].endswith("100 % by layer rules"):
    raise SystemExit(f"the adapter's audit went wrong: {audit.details['coverage']}")
print("transformers", transformers.__version__, "peft", peft.__version__, "work")
