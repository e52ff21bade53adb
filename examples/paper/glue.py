"""Fine-tuning on GLUE with wrong labels (the paper's figure 3): 20 % flipped, 30 % removed by each score.

    python examples/paper/glue.py --data DIR --model roberta-large --as-published --device cuda   # LoRA, 4,500 texts
    python examples/paper/glue.py --data DIR --model MODEL --set sst2                   # 600 texts, 3 epochs
    python examples/paper/glue.py --data DIR --model MODEL --texts 40 --epochs 1 --seeds 1      # seconds

``DIR/glue_SET`` holds ``train*.parquet`` and ``validation.parquet``; ``MODEL`` is an encoder of transformers, such as
MiniLM. The paper prints curves and no numbers. Its claim: the best accuracy on QNLI, SST-2 and QQP is that of its forest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from protocol import Problem, beside, parser_of, show, trim_and_retrain

import gradsift
from gradsift.evaluation import flip_labels

FLIPPED, SHARE, BATCH = 0.2, 0.3, 32
SETS = {
    "mrpc": ["sentence1", "sentence2"],
    "qnli": ["question", "sentence"],
    "qqp": ["question1", "question2"],
    "sst2": ["sentence"],
}
"""Set to its columns of text."""


def draw(folder: Path, columns: Sequence[str], count: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Training rows at random, and up to 500 to test on: of the validation split, or else of the other rows."""
    generator = np.random.default_rng(seed)

    def read(part: str) -> pa.Table | None:
        files = sorted(folder.glob(f"{part}*.parquet"))
        table = pq.read_table(files[0], columns=[*columns, "label"]) if files else None
        return None if table is None else table.take(pa.array(generator.permutation(len(table))))

    whole, validation = read("train"), read("validation")
    return whole.slice(0, count), (validation or whole.slice(count)).slice(0, 500)


def recipe(asked: Any):
    """AdamW with a warm-up of 6 % and a rate that falls to zero; of an encoder with or without LoRA."""

    def train(dataset: Any, *, seed: int) -> torch.nn.Module:
        transformers.set_seed(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            asked.model, num_labels=2, ignore_mismatched_sizes=True, dtype=torch.float32
        )
        if asked.lora:
            import peft

            settings = peft.LoraConfig(
                task_type="SEQ_CLS", r=4, lora_alpha=4, lora_dropout=0.05, target_modules=["value"]
            )
            model = peft.get_peft_model(model, settings)
        model = model.to(asked.device).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=asked.rate)
        steps = asked.epochs * -(-len(dataset) // BATCH)
        schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(0.06 * steps), steps)
        samples = [dataset[place] for place in range(len(dataset))]
        for _ in range(asked.epochs):
            for places in torch.randperm(len(samples)).split(BATCH):
                batch = dataset.collate([samples[place] for place in places])
                model(**{name: value.to(asked.device) for name, value in batch.items()}).loss.backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        return model.eval()

    return train


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, seeds=3)
    parser.add_argument("--model", required=True, help="folder or hub id of an encoder")
    parser.add_argument("--set", choices=SETS, default="sst2")
    parser.add_argument("--texts", type=int, default=600, help="training texts")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2e-4, help="of learning; the paper's: 3e-4")
    parser.add_argument("--lora", action="store_true", help="adapters of rank 4 on the values, as in the paper")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--as-published", action="store_true", help="4,500 texts, 10 epochs, LoRA, rate 3e-4")
    asked = parser.parse_args(arguments)
    if asked.as_published:
        asked.texts, asked.epochs, asked.lora, asked.rate = 4500, 10, True, 3e-4
    folder, columns = asked.data / f"glue_{asked.set}", SETS[asked.set]
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked.model)

    def problem(seed: int) -> Problem:
        rows, tests = draw(folder, columns, asked.texts, seed)
        true = rows["label"].to_numpy()
        given = flip_labels(true, FLIPPED, seed=seed)
        rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(given))
        train_set, test_set = (
            gradsift.TextSet(some, tokenizer, text=columns, label="label", max_length=128) for some in (rows, tests)
        )
        return Problem(train_set, test_set, given, true)

    found = trim_and_retrain(recipe(asked), problem, share=SHARE, seeds=asked.seeds)
    tuned = f"{Path(asked.model).name}{' with LoRA' if asked.lora else ''}"
    lines = [f"## {asked.set}", ""]
    lines += [
        f"{asked.texts:,} texts, {100 * FLIPPED:.0f} % flipped, {tuned}, {asked.epochs} epochs, {asked.seeds} seeds; "
        f"{100 * SHARE:.0f} % removed. The paper prints no numbers.",
        "",
    ]
    lines += beside(found, {"detection": "detection (%)", "accuracy": "test accuracy, last epoch (%)"})
    show(lines, asked.output)


if __name__ == "__main__":
    main()
