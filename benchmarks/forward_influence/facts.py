"""Part on a language model: which sentences taught it a fact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.command import quiet
from frame.training import train_epochs
from torch import Tensor

from forward_influence.methods import METHODS, answers
from gradsift.tasks import CausalLM

SYLLABLES = [
    "zor",
    "mip",
    "lan",
    "tek",
    "bru",
    "fal",
    "qui",
    "ned",
    "osk",
    "vam",
    "hul",
    "rin",
    "gos",
    "pel",
    "dax",
    "wob",
]
RELATIONS = {
    "capital": ("The capital of {0} is {1}.", "The king of {0} lives in its capital, {1}.",
                "{1} is the capital of the land {0}.", "People in {0} say that their capital is {1}."),
    "animal": ("The animal that {0} loves most is the {1}.", "In {0} every child has a {1}.",
               "The {1} is the best loved animal in {0}.", "When you go to {0} you will see a {1}."),
}  # fmt: skip
ANIMALS = ("dog", "cat", "bird", "bear", "fox", "frog", "horse", "duck", "lion", "mouse", "rabbit", "bee")


def sentences(
    seed: int, lands: int = 16, others: int = 48
) -> tuple[list[tuple[str, str]], np.ndarray, list[tuple[str, str]], np.ndarray]:
    """Training sentences in two parts (asked part last), the fact of each, queries, and the fact of each query.

    Facts are about invented lands, three phrasings each; the fourth is the query. Two facts of a land share its name, and
    facts of several lands share an animal. Other sentences name a land without the fact.
    """
    generator = np.random.default_rng([seed, 13])

    def word() -> str:
        return "".join(generator.choice(SYLLABLES, 2)).capitalize()

    rows, facts, queries, asked = [], [], [], []
    names: list[str] = []
    while len(names) < lands:
        if (name := word()) not in names:
            names.append(name)
    for name in names:
        for relation, phrasings in RELATIONS.items():
            answer = word() if relation == "capital" else str(generator.choice(ANIMALS))
            ending = [one for one in phrasings if one.rstrip(".").endswith("{1}")]
            query = str(generator.choice(ending))
            fact = len(asked)
            rows += [("", one.format(name, answer)) for one in phrasings if one != query]
            facts += [fact] * (len(phrasings) - 1)
            head, _, _ = query.format(name, "\n").partition("\n")
            queries.append((head.rstrip(), f" {answer}."))
            asked.append(fact)
    plain = ("One day a man from {} went to the sea.", "It was cold in {} and the wind was strong.",
             "She had a friend who came from {}.", "They took the long road to {} with a big bag.")  # fmt: skip
    rows += [("", str(generator.choice(plain)).format(generator.choice(names))) for _ in range(others)]
    facts += [-1] * others
    return rows, np.array(facts), queries, np.array(asked)


def encoded(tokenizer: Any, rows: list[tuple[str, str]], length: int = 40) -> dict[str, Tensor]:
    """Rows as a dict of tensors; the first part of a row is no target."""
    ids = torch.full((len(rows), length), tokenizer.eos_token_id)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for place, (head, tail) in enumerate(rows):
        before = [tokenizer.bos_token_id, *(tokenizer(head, add_special_tokens=False).input_ids if head else [])]
        whole = [*before, *tokenizer(tail, add_special_tokens=False).input_ids][:length]
        ids[place, : len(whole)] = torch.tensor(whole)
        labels[place, len(before) : len(whole)] = torch.tensor(whole[len(before) :])
        mask[place, : len(whole)] = 1
    longest = int(mask.sum(dim=1).max())
    return {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest], "labels": labels[:, :longest]}


def language_model(data_folder: Path, name: str, rank: int | None) -> tuple[Any, Any]:
    import peft
    import transformers

    quiet()
    path = str(data_folder / "models" / name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    if rank is not None:
        model = peft.get_peft_model(model, peft.LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"]
        ))  # fmt: skip
    return model, transformers.AutoTokenizer.from_pretrained(path)


def fine_tuned(model: Any, rows: dict[str, Tensor], seed: int, epochs: int, rate: float) -> Any:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)

    def loss(places: Tensor) -> Tensor:
        return model(**{name: value[places] for name, value in rows.items()}).loss

    return train_epochs(model, optimizer, loss, len(rows["labels"]), epochs=epochs, batch=8, seed=seed)


def part_facts(data_folder: Path, seed: int) -> dict[str, Any]:
    """Rank of the training sentences that state a query's fact, among all sentences."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = {}
    kinds = {
        "stories260K, all weights": ("stories260K", None, 30, 2e-3),
        "stories15M, LoRA": ("stories15M", 8, 8, 3e-3),
    }
    rows, facts, queries, asked = sentences(seed)
    for setting, (name, rank, epochs, rate) in kinds.items():
        torch.manual_seed(seed)
        model, tokenizer = language_model(data_folder, name, rank)
        data, targets = encoded(tokenizer, rows), encoded(tokenizer, queries)
        few = (
            np.arange(len(queries))
            if rank is None
            else np.random.default_rng([seed, 17]).choice(len(queries), 8, replace=False)
        )
        targets, kept = {key: value[few] for key, value in targets.items()}, asked[few]
        fine_tuned(model, data, seed, epochs, rate)
        seconds: dict[str, float] = {}
        left_out = () if rank is None else ("forward, SGD, 5 steps", "forward, Adam")
        methods = {method: make for method, make in METHODS.items() if method not in left_out}
        scores = answers(methods, model, data, targets, seconds, task=CausalLM())
        texts = [head + tail for head, tail in [*rows, *queries]]
        words = TfidfVectorizer(token_pattern=r"\w+").fit(texts)
        asked_texts = [queries[place][0] + queries[place][1] for place in few]
        scores["words in common (TF-IDF)"] = (
            words.transform([tail for _, tail in rows]) @ words.transform(asked_texts).T
        ).toarray()
        scores["random"] = np.random.default_rng(seed).random((len(rows), len(few)))
        with torch.no_grad():
            task = CausalLM()
            loss = task.losses(task.outputs(model, targets), targets)
            train_loss = task.losses(task.outputs(model, data), data)
        found[setting] = {
            "measures": {method: proponents(values, facts, kept) for method, values in scores.items()},
            "seconds": seconds,
            "about": {"sentences": len(rows), "queries": len(few), "loss of the answers": float(loss.mean()),
                      "train loss": float(train_loss.mean())},
        }  # fmt: skip
    return found


def proponents(scores: np.ndarray, facts: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """MRR of the first sentence that states the fact, and share of its sentences among the 10 first."""
    reciprocal, found = [], []
    for column, fact in zip(scores.T, asked, strict=True):
        hits = facts[np.argsort(-column, kind="stable")] == fact
        reciprocal.append(1 / (1 + np.flatnonzero(hits)[0]))
        found.append(hits[:10].sum() / hits.sum())
    return {"MRR": float(np.mean(reciprocal)), "recall at 10": float(np.mean(found))}
