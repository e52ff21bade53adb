"""Forward-INF against inner products: is it right, what does it find, and what does it cost?

    python benchmarks/forward_influence.py --data DIR                          # every part, five seeds
    python benchmarks/forward_influence.py --data DIR --part mislabel --seeds 0
    python benchmarks/forward_influence.py --write                             # docs/results-forward.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``fashion_mnist/``, ``mnist/``, ``cifar10/`` and ``models/``. Parts: ``mislabel``
(flipped labels, a clean validation set), ``retraining`` (linear datamodeling score and memorisation against retrained
models), ``leakage`` (training samples copied into the test set), ``facts`` (which sentence taught a language model a fact),
``diffusion`` (what a denoiser learnt from), ``cost`` (seconds against the number of targets).
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from frame.command import parser_of, run_seeds
from frame.page import DOCS, write_page
from frame.rows import Rows, machine
from resnet20 import resnet20
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from gradsift.evaluation import estimate
from gradsift.influence import Influence, InnerProduct
from gradsift.influence.forward import ForwardInfluence
from gradsift.tasks import CausalLM, Denoising

ROWS = Rows("forward_influence.jsonl", key=("part", "seed", "setting"))
FIGURE = DOCS / "results-forward-cost.svg"
SEEDS = 5
Data = tuple[Tensor, Tensor]

PAPER = "Adam, 1 step of 5e-3"
"""The reference code's optimiser, rate and number of steps."""
METHODS: dict[str, Callable[..., Influence]] = {
    "forward, SGD": lambda **s: ForwardInfluence(**s),
    "forward, SGD, 5 steps": lambda **s: ForwardInfluence(steps=5, **s),
    "forward, Adam": lambda **s: ForwardInfluence(optimizer="adam", **s),
    f"forward, {PAPER}": lambda **s: ForwardInfluence(optimizer="adam", rate=5e-3, **s),
    "inner product": lambda **s: InnerProduct(**s),
    "cosine": lambda **s: InnerProduct(cosine=True, **s),
}


# Data and models


def load(arguments: argparse.Namespace, name: str, split: str, count: int, seed: int) -> Data:
    """Grey images in [-1, 1], shape (n, 1, 28, 28), as many of every class, and their labels."""
    table = pq.read_table(arguments.data / name / f"{split}_subset.parquet")
    labels = table["label"].to_numpy()
    generator = np.random.default_rng([seed, len(split)])
    chosen = np.concatenate([
        generator.permutation(np.flatnonzero(labels == one))[: count // 10] for one in range(10)
    ])  # fmt: skip
    chosen = generator.permutation(chosen)
    pixels = np.stack([np.frombuffer(row, dtype=np.uint8) for row in table["pixels"].to_pylist()])[chosen]
    images = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(labels[chosen].astype(np.int64))


def flipped(labels: Tensor, share: float, seed: int) -> tuple[Tensor, np.ndarray]:
    """Labels of which some are another class at random, and which ones."""
    generator = np.random.default_rng([seed, 7])
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[generator.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = torch.from_numpy(generator.integers(1, 10, len(labels)))
    return torch.where(torch.from_numpy(wrong), (labels + shift) % 10, labels), wrong


def perceptron(width: int = 64) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 49, 10),
    )  # fmt: skip


def train(
    make: Callable[[], nn.Module],
    data: Data,
    seed: int,
    epochs: int,
    rate: float = 0.05,
    keep: list[tuple[float, nn.Module]] | None = None,
) -> nn.Module:
    """SGD with momentum over shuffled batches of 32, last epoch; ``keep`` takes a checkpoint every fifth of the way."""
    torch.manual_seed(seed)
    model = make().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for epoch in range(epochs):
        for places in torch.randperm(len(data[0])).split(32):
            if len(places) > 1:
                optimizer.zero_grad()
                functional.cross_entropy(model(data[0][places]), data[1][places]).backward()
                optimizer.step()
        if keep is not None and (epoch + 1) % max(1, epochs // 5) == 0:
            keep.append((rate, copy.deepcopy(model).eval()))
    return model.eval()


@torch.no_grad()
def losses(model: nn.Module, data: Data) -> np.ndarray:
    return functional.cross_entropy(model(data[0]), data[1], reduction="none").double().numpy()


def asked_each(method: Influence, model: nn.Module, data: Any, targets: Any) -> np.ndarray:
    return method.fit(model, data).influence(targets, each=True)


def timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    found = work()
    seconds[name] = time.perf_counter() - start
    return found


# Flipped labels


def part_mislabel(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Score = minus the signed influence on a clean validation set's loss; AUROC and AP of the flipped labels."""
    found: dict[str, Any] = {}
    clean, validation = (
        load(arguments, "fashion_mnist", "train", 2000, seed),
        load(arguments, "fashion_mnist", "test", 500, seed),
    )
    labels, wrong = flipped(clean[1], 0.2, seed)
    data = (clean[0], labels)
    for setting, epochs in (("stopped early (4 epochs)", 4), ("fitted (40 epochs)", 40)):
        model, seconds = train(convnet, data, seed, epochs), {}
        scores = {}
        for name, method in METHODS.items():
            one = method(show_progress=False)
            scores[name] = -timed(
                seconds, name, lambda one=one, model=model: one.fit(model, data).influence(validation)
            )
        absolute = ForwardInfluence(absolute=True, show_progress=False).fit(model, data)
        scores["forward, SGD, absolute (no sign)"] = absolute.influence(validation)
        scores["forward, SGD, self-influence"] = absolute.self_influence()
        scores["inner product, self-influence"] = InnerProduct(show_progress=False).fit(model, data).self_influence()
        scores["loss"] = losses(model, data)
        scores["random"] = np.random.default_rng(seed).random(len(wrong))
        found[setting] = {
            "measures": {
                name: {"AUROC": roc_auc_score(wrong, values), "AP": average_precision_score(wrong, values)}
                for name, values in scores.items()
            },
            "seconds": seconds,
            "about": {"train loss of flipped": float(scores["loss"][wrong].mean()),
                      "train loss of the rest": float(scores["loss"][~wrong].mean())},
        }  # fmt: skip
    return found


# Retraining


def part_retraining(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Linear datamodeling score of 50 targets, and memorisation, against models of 100 random halves, trained twice."""
    clean, targets = (
        load(arguments, "fashion_mnist", "train", 600, seed),
        load(arguments, "fashion_mnist", "test", 50, seed),
    )
    labels, wrong = flipped(clean[1], 0.1, seed)
    data, size, halves, epochs = (clean[0], labels), 600, 100, 20
    generator = np.random.default_rng([seed, 11])
    inside = np.zeros((halves, size), dtype=bool)
    for row in inside:
        row[generator.choice(size, size // 2, replace=False)] = True
    truth, own = np.empty((2, halves, 50)), np.empty((2, halves, size))
    started = time.perf_counter()
    for half, row in enumerate(inside):
        part = (data[0][row], data[1][row])
        for again in range(2):
            model = train(perceptron, part, 1000 * seed + 2 * half + again, epochs, 0.01)
            truth[again, half], own[again, half] = losses(model, targets), losses(model, data)
    retraining = time.perf_counter() - started

    checkpoints: list[tuple[float, nn.Module]] = []
    model, seconds = train(perceptron, data, seed, epochs, 0.01, checkpoints), {}
    influence: dict[str, np.ndarray] = {}
    settings = {"show_progress": False}
    for name, method in METHODS.items():
        one = method(**settings)
        influence[name] = timed(seconds, name, lambda one=one: one.fit(model, data).influence(targets, each=True))
    kept = ForwardInfluence(memorised_below=0.0, **settings).fit(model, data)
    influence["forward, SGD, memorised targets kept"] = kept.influence(targets, each=True)
    influence["TracIn, 5 checkpoints"] = timed(seconds, "TracIn, 5 checkpoints", lambda: sum(
        rate * InnerProduct(**settings).fit(one, data).influence(targets, each=True) for rate, one in checkpoints
    ))  # fmt: skip
    influence["random"] = generator.standard_normal((size, 50))
    mean, memorised = truth.mean(axis=0), losses(model, targets) < 0.01
    lds: dict[str, dict[str, float]] = {}
    for name, values in influence.items():
        each = np.array([spearmanr(-(inside.astype(float) @ values[:, t]), mean[:, t]).statistic for t in range(50)])
        each = np.nan_to_num(each)
        lds[name] = of_targets(each, memorised)
    again = np.array([spearmanr(truth[0][:, t], truth[1][:, t]).statistic for t in range(50)])
    lds["another retraining"] = of_targets(again, memorised)

    def risen(loss: np.ndarray) -> np.ndarray:
        return np.array([loss[~inside[:, j], j].mean() - loss[inside[:, j], j].mean() for j in range(size)])

    rise, scores = risen(own.mean(axis=0)), {"loss": losses(model, data), "random": generator.random(size)}
    for name, method in METHODS.items():
        if name != "cosine":
            one = method(**settings).fit(model, data)
            scores[name] = np.abs(timed(seconds, f"{name}, self", one.self_influence))
    memorisation = {
        name: {"Spearman": float(spearmanr(values, rise).statistic), "recall at 60": recall(values, rise, 60)}
        for name, values in scores.items()
    }
    rises = risen(own[0]), risen(own[1])
    memorisation["another retraining"] = {
        "Spearman": float(spearmanr(*rises).statistic), "recall at 60": recall(rises[0], rises[1], 60)
    }  # fmt: skip
    return {
        "LDS": {"measures": lds, "seconds": seconds | {"200 retrainings": retraining},
                "about": {"share of targets below 0.01 nats": float(memorised.mean())}},
        "memorisation": {"measures": memorisation, "seconds": {n: s for n, s in seconds.items() if "self" in n},
                         "about": {"rise of flipped": float(rise[wrong].mean()),
                                   "rise of the rest": float(rise[~wrong].mean())}},
    }  # fmt: skip


def of_targets(values: np.ndarray, memorised: np.ndarray) -> dict[str, float]:
    """Means over targets, NaN where there is none."""
    parts = {"LDS": values, "LDS, memorised targets": values[memorised], "LDS, others": values[~memorised]}
    return {name: float(part.mean()) if len(part) else float("nan") for name, part in parts.items()}


def recall(scores: np.ndarray, truth: np.ndarray, count: int) -> float:
    """Share of the highest true values among as many highest scores."""
    return len(set(np.argsort(-scores)[:count]) & set(np.argsort(-truth)[:count])) / count


# Leakage


def moved(images: Tensor, seed: int) -> Tensor:
    """Copies that a comparison of pixels does not see: shifted by one pixel, darker, noisy."""
    generator = torch.Generator().manual_seed(seed)
    copies = 0.7 * images.roll((1, -1), dims=(2, 3)) - 0.2
    return copies + 0.1 * torch.randn(copies.shape, generator=generator)


def part_leakage(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """How often the original of a leaked test sample has the highest score, or one of the five highest."""
    data = load(arguments, "fashion_mnist", "train", 1000, seed)
    model = train(convnet, data, seed, 40)
    found = {}
    for setting, change in (
        ("Fashion-MNIST, exact copies", lambda x: x),
        ("Fashion-MNIST, altered copies", lambda x: moved(x, seed)),
    ):
        found[setting] = leaked(model, data, change, 30, seed)
    images = cifar(arguments, 200, seed)
    found["CIFAR-10 ResNet-20, exact copies"] = leaked(resnet20(arguments), images, lambda x: x, 10, seed)
    return found


def leaked(model: nn.Module, data: Data, change: Callable[[Tensor], Tensor], count: int, seed: int) -> dict[str, Any]:
    chosen = np.random.default_rng([seed, 3]).choice(len(data[0]), count, replace=False)
    targets, seconds, scores = (change(data[0][chosen]), data[1][chosen]), {}, {}
    methods = {name: method for name, method in METHODS.items() if "5 steps" not in name} | {
        "forward, SGD, memorised targets kept": lambda **s: ForwardInfluence(memorised_below=0.0, **s)
    }
    for name, method in methods.items():
        one = method(show_progress=False)
        values = timed(seconds, name, lambda one=one: one.fit(model, data).influence(targets, each=True))
        scores[name] = np.abs(values)
    scores["nearest input"] = -torch.cdist(data[0].flatten(1), targets[0].flatten(1)).numpy()
    measures = {}
    for name, values in scores.items():
        above = (values > values[chosen, np.arange(count)]).sum(axis=0)
        ties = (values == values[chosen, np.arange(count)]).sum(axis=0) - 1
        rank = above + ties  # a tie counts against it
        measures[name] = {"top-1": float((rank < 1).mean()), "top-5": float((rank < 5).mean())}
    below = losses(model, targets) < 0.01
    return {
        "measures": measures,
        "seconds": seconds,
        "about": {"share of targets below 0.01 nats": float(below.mean())},
    }


def cifar(arguments: argparse.Namespace, count: int, seed: int) -> Data:
    from PIL import Image

    table = pq.read_table(arguments.data / "cifar10" / "train.parquet", columns=["image", "label"])
    rows = table.take(np.sort(np.random.default_rng([seed, 5]).choice(table.num_rows, count, replace=False)))
    images = [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in rows["image"].to_pylist()]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels - mean[:, None, None]) / deviation[:, None, None], torch.tensor(rows["label"].to_pylist())


# Facts in a language model

SYLLABLES = (
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
)
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


def language_model(arguments: argparse.Namespace, name: str, rank: int | None) -> tuple[Any, Any]:
    import peft
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    path = str(arguments.data / "models" / name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    if rank is not None:
        model = peft.get_peft_model(model, peft.LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"]
        ))  # fmt: skip
    return model, transformers.AutoTokenizer.from_pretrained(path)


def fine_tuned(model: Any, rows: dict[str, Tensor], seed: int, epochs: int, rate: float) -> Any:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for places in torch.randperm(len(rows["labels"]), generator=generator).split(8):
            optimizer.zero_grad()
            model(**{name: value[places] for name, value in rows.items()}).loss.backward()
            optimizer.step()
    return model.eval()


def part_facts(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
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
        model, tokenizer = language_model(arguments, name, rank)
        data, targets = encoded(tokenizer, rows), encoded(tokenizer, queries)
        few = (
            np.arange(len(queries))
            if rank is None
            else np.random.default_rng([seed, 17]).choice(len(queries), 8, replace=False)
        )
        targets, kept = {key: value[few] for key, value in targets.items()}, asked[few]
        fine_tuned(model, data, seed, epochs, rate)
        seconds: dict[str, float] = {}
        scores = {}
        for method, make in METHODS.items():
            if rank is not None and ("5 steps" in method or method == "forward, Adam"):
                continue
            one = make(show_progress=False, task=CausalLM())
            scores[method] = timed(seconds, method, partial(asked_each, one, model, data, targets))
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


# Diffusion

SIDE, STEPS = 14, 100


class Denoiser(nn.Module):
    """Predicts the noise in a 14 x 14 image; time enters as sines."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SIDE * SIDE + 16, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, SIDE * SIDE)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        at = t.to(x)[:, None] / STEPS * torch.pi * 2.0 ** torch.arange(8).to(x) / 2
        return self.layers(torch.cat([x.flatten(1), at.sin(), at.cos()], dim=1)).view_as(x)


def denoiser(images: Tensor, weights: Tensor, seed: int, steps: int = 1000) -> nn.Module:
    """Adam on the noise's squared error; a weight of 0 takes a sample out, and the other draws stay as they are."""
    torch.manual_seed(seed)
    model, kept = Denoiser(), Denoising(timesteps=STEPS).kept.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        places, noise = torch.randint(len(images), (64,)), torch.randn(64, 1, SIDE, SIDE)
        t = torch.randint(STEPS, (64,))
        share = kept[t][:, None, None, None]
        error = model(share.sqrt() * images[places] + (1 - share).sqrt() * noise, t) - noise
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        optimizer.zero_grad()
        own = weights[places]
        (error.square().flatten(1).mean(1) @ own / own.sum().clamp(min=1)).backward()
        optimizer.step()
    return model.eval()


def part_diffusion(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Held-out digits of one class as a group: the class of what ranks highest, and a retraining without it."""
    task, count = Denoising(draws=16, timesteps=STEPS, seed=seed), 60
    images, labels = load(arguments, "mnist", "train", 600, seed)
    held, kinds = load(arguments, "mnist", "test", 200, seed)
    images, held = (functional.avg_pool2d(one, 2) for one in (images, held))
    model, seconds = denoiser(images, torch.ones(600), seed), {}
    scores = {}
    for name, method in METHODS.items():
        one = method(show_progress=False, task=task)

        def of_all(one: Influence = one) -> np.ndarray:
            one.fit(model, (images,))
            return np.stack([one.influence((held[kinds == kind],)) for kind in range(10)], axis=1)

        scores[name] = timed(seconds, name, of_all)
    means = torch.stack([held[kinds == kind].mean(dim=0) for kind in range(10)])
    scores["nearest to the mean image"] = -torch.cdist(images.flatten(1), means.flatten(1)).numpy()
    generator = np.random.default_rng([seed, 19])
    scores["random"] = generator.random((600, 10))
    scores["random of the class"] = scores["random"] + (labels.numpy()[:, None] == np.arange(10))
    asked = generator.choice(10, 2, replace=False)

    def loss(of: nn.Module, kind: int) -> float:
        with torch.no_grad():
            mine = held[kinds == kind]
            return float(task.losses(task.outputs(of, mine), mine).mean())

    measures = {}
    for name, values in scores.items():
        first = np.argsort(-values, axis=0)[:count]
        rises = []
        for kind in asked:
            weights = torch.ones(600)
            weights[torch.from_numpy(first[:, kind].copy())] = 0
            rises.append(100 * (loss(denoiser(images, weights, seed), int(kind)) / loss(model, int(kind)) - 1))
        same = (labels.numpy()[first] == np.arange(10)).mean()
        measures[name] = {"share of the class": float(same), "rise of the loss in %": float(np.mean(rises))}
    about = {"loss of held-out images": float(np.mean([loss(model, kind) for kind in range(10)]))}
    return {"MNIST 14 x 14": {"measures": measures, "seconds": seconds, "about": about}}


# Cost


def part_cost(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Seconds, fit and influence(each=True) together, against the number of targets."""
    small = load(arguments, "fashion_mnist", "train", 1000, seed), load(arguments, "fashion_mnist", "test", 1000, seed)
    images = cifar(arguments, 100, seed)
    story, tokenizer = language_model(arguments, "stories15M", None)
    rows, _, queries, _ = sentences(seed, lands=9, others=0)
    texts, asked = encoded(tokenizer, rows[:48]), encoded(tokenizer, queries)
    cases = {
        "MLP, 51 k weights, 1,000 samples": (
            train(perceptron, small[0], seed, 5, 0.01), *small, "classification", (1, 10, 100, 1000)
        ),
        "ResNet-20, 0.27 M weights, 100 samples": (resnet20(arguments), images, images, "classification", (1, 10, 50)),
        "stories15M, 15 M weights, 48 sentences": (story.eval(), texts, asked, "causal-lm", (1, 4, 8)),
    }  # fmt: skip
    found = {}
    for setting, (model, data, targets, task, counts) in cases.items():
        measures: dict[str, dict[str, float]] = {}
        for name in ("forward, SGD", "inner product"):
            measures[name] = {}
            for count in counts:
                some = (
                    {k: v[:count] for k, v in targets.items()}
                    if isinstance(targets, dict)
                    else tuple(t[:count] for t in targets)
                )
                one = METHODS[name](show_progress=False, task=task)
                started = time.process_time()
                one.fit(model, data).influence(some, each=True)
                measures[name][str(count)] = time.process_time() - started
        weights = sum(p.numel() for p in model.parameters())
        size = len(data["labels"]) if isinstance(data, dict) else len(data[0])
        found[setting] = {"measures": measures, "seconds": {}, "about": {"n x p in GB": 4 * weights * size / 1e9}}
    return found


PARTS: dict[str, Callable[[argparse.Namespace, int], dict[str, Any]]] = {
    "mislabel": part_mislabel,
    "retraining": part_retraining,
    "leakage": part_leakage,
    "facts": part_facts,
    "diffusion": part_diffusion,
    "cost": part_cost,
}


def run_part(arguments: argparse.Namespace, part: str, seed: int) -> None:
    if ROWS.have(part=part, seed=seed):
        return
    started = time.perf_counter()
    found = PARTS[part](arguments, seed)
    spent = time.perf_counter() - started
    about = {"spent": spent, "machine": machine()}
    ROWS.add(*({"part": part, "seed": seed, "setting": setting, **one, **about} for setting, one in found.items()))
    print(f"{part}, seed {seed}: {spent:.0f} s", flush=True)
    for setting, one in found.items():
        print(f"  {setting}: {one['about']}")
        for name, values in one["measures"].items():
            print(f"    {name:40s}", "  ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)


# The page

TITLES = {
    "mislabel": ("Flipped labels", "AUROC", """\
2,000 Fashion-MNIST images, 20 % of the labels flipped, a small convolutional network, 500 clean validation images as
the target as a whole. Score: minus the signed influence. Self-influence and loss need no validation set."""),
    "retraining": ("Against retraining", None, """\
600 Fashion-MNIST images, 10 % of the labels flipped, a perceptron of 51 k weights, 50 test images as targets. Truth:
100 random halves of the training set, each trained twice with other seeds. *LDS*: Spearman correlation, over the
halves, of the retrained models' loss on a target with minus the summed influence of the half; mean over targets.
*Memorisation*: how much a training sample's own loss rises when it is left out (mean over halves without it minus
mean over halves with it), against the absolute self-influence. *Another retraining*: how well one set of
retrainings tells the other, a lower bound of the ceiling, as methods are compared with the mean of both."""),
    "leakage": ("Leaked test samples", "top-1", """\
Copies of training samples stand in the test set; how often is the original the sample with the highest absolute
influence, or among the five highest? A tie counts as a miss. Fashion-MNIST: 1,000 training images, a small
convolutional network trained for 40 epochs, 30 copies, exact or altered (shifted by a pixel, darker, noisy).
CIFAR-10: the published ResNet-20 weights, 200 of its training images, 10 copies. *Nearest input* compares pixels and
needs no model."""),
    "facts": ("Facts in a language model", "MRR", """\
Two facts about each of 16 invented lands, three phrasings each, and 48 other sentences that name the lands; a fourth
phrasing is the query, the loss of its answer the target. Found is what states the same fact. *TF-IDF* compares words
and needs no model. Only 8 queries for stories15M."""),
    "diffusion": ("A denoiser", "rise of the loss in %", """\
600 MNIST images of 14 x 14 pixels, a perceptron that predicts noise over 100 steps, loss over 16 shared draws.
Targets: held-out images of a digit, as a group. *Share of the class*: of the 60 highest, how many are of that digit
(the set holds 60 of each). *Rise*: how much the held-out loss of the digit rises when the 60 highest are left out and
the model is trained anew with the same draws; mean over two digits. *Random of the class* knows the labels."""),
}  # fmt: skip

PAGE_HEAD = """# Forward-INF: what it finds and what it costs

Written by `python benchmarks/forward_influence.py --write` from `benchmarks/results/forward_influence.jsonl`; the rows come
from `python benchmarks/forward_influence.py --data DIR`. Means over {seeds} seeds, which draw data, flips and models anew,
with 95 % intervals (Student t); a part may have fewer, which is said there. Models are those of the last epoch. No setting
of a method was tuned on these figures, but for one: in a first trial five steps, the first of them 1 % of the weights and
the others at its rate, ran away on the denoiser, so the five are 0.1 % each. Sizes are what five seeds allow on one thread.

*forward, SGD*: one step of ascent on the target, as long as 0.1 % of the weights, signed. *5 steps*: five such. *forward,
Adam*: one Adam step of the same length. *{paper}*: the optimiser and rate of the reference code. *Inner
product*, *cosine*: gradients' products at the same model. All layers' weights count. Memorised targets (loss below 0.01)
are replaced by a point nearby, in forward influence alone, unless "kept" is said. Seconds were taken while the machine did
other work, too, on one thread ({machine}); compare them within a row.
"""


COST_HEAD = """## Cost: few targets or many

Seconds of computing (of the process, not of the clock) for `fit` and `influence(targets, each=True)` together, signed, all
layers. Forward influence pays for each target a pass over the training set; an inner product pays once for the training
set's gradients and, where they are too large to keep, again for every chunk of targets whose gradients fit into 128 MiB.

![Seconds against the number of targets]({figure})

| model and training set | targets | forward | inner product |
|---|---|---|---|"""


def write() -> None:
    rows = ROWS.read()
    lines = [PAGE_HEAD.format(seeds=len({row["seed"] for row in rows}), paper=PAPER, machine=rows[0]["machine"])]
    lines += in_short(rows)
    for part, (title, main_measure, about) in TITLES.items():
        mine = [row for row in rows if row["part"] == part]
        if not mine:
            continue
        lines += [f"## {title}", "", about, ""]
        for setting in dict.fromkeys(row["setting"] for row in mine):
            own = [row for row in mine if row["setting"] == setting]
            lines += table(setting, own) + reading(own, main_measure)
    lines += cost([row for row in rows if row["part"] == "cost"])
    write_page("results-forward.md", lines)


def three(values: list[float], digits: int = 3) -> str:
    values = [value for value in values if not np.isnan(value)]
    if not values:
        return "-"
    if all(value == values[0] and value == round(value) for value in values) and abs(values[0]) > 1:
        return f"{values[0]:.0f}"
    found = estimate(values)
    return (
        f"{found.mean:.{digits}f} ± {found.half_width:.{digits}f}"
        if found.count > 1
        else f"{found.mean:.{digits}f} (one seed)"
    )


def table(setting: str, rows: list[dict[str, Any]]) -> list[str]:
    measures = list(next(iter(rows[0]["measures"].values())))
    timed_methods = rows[0]["seconds"]
    about = "; ".join(f"{name} {three([row['about'][name] for row in rows])}" for name in rows[0]["about"])
    lines = [f"### {setting}", "", f"{len(rows)} seed{'s' * (len(rows) > 1)}. {about[0].upper()}{about[1:]}.", ""]
    lines += ["| method | " + " | ".join(measures) + " | seconds |", "|---" * (len(measures) + 2) + "|"]
    for name in rows[0]["measures"]:
        cells = [three([row["measures"][name][one] for row in rows]) for one in measures]
        key = name if name in timed_methods else f"{name}, self"
        if setting == "memorisation":
            key = f"{name}, self"
        spent = f"{np.mean([row['seconds'][key] for row in rows]):.2f}" if key in timed_methods else ""
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {spent} |")
    return [*lines, ""]


COMPARED = (
    "forward, SGD",
    "forward, SGD, 5 steps",
    "forward, Adam",
    f"forward, {PAPER}",
    "cosine",
    "TracIn, 5 checkpoints",
    "loss",
    "nearest input",
    "words in common (TF-IDF)",
    "nearest to the mean image",
)


def differences(rows: list[dict[str, Any]], measure: str | None) -> tuple[str, dict[str, Any]]:
    """The main measure of a setting, and the paired difference of every method to the inner product."""
    measures = rows[0]["measures"]
    measure = measure or next(iter(measures["inner product"]))
    return measure, {
        name: estimate([row["measures"][name][measure] - row["measures"]["inner product"][measure] for row in rows])
        for name in COMPARED
        if name in measures and len(rows) > 1
    }


def reading(rows: list[dict[str, Any]], measure: str | None) -> list[str]:
    """Paired differences to the inner product, in words that the intervals carry."""
    measure, found = differences(rows, measure)
    verdict = {1: "higher", -1: "lower", 0: "no difference that the seeds can tell"}
    lines = [f"* {name}: {one.mean:+.3f} ± {one.half_width:.3f}, {verdict[one.sign]}" for name, one in found.items()]
    return [f"{measure}, paired difference to the inner product:", "", *lines, ""] if lines else []


def in_short(rows: list[dict[str, Any]]) -> list[str]:
    """How often each method differs from the inner product, over all settings."""
    signs: dict[str, list[int]] = {}
    for part, (_, measure, _) in TITLES.items():
        mine = [row for row in rows if row["part"] == part]
        for setting in dict.fromkeys(row["setting"] for row in mine):
            for name, one in differences([row for row in mine if row["setting"] == setting], measure)[1].items():
                signs.setdefault(name, []).append(one.sign)
    lines = [
        "## In short",
        "",
        "In how many settings the main measure (the one that is compared below) differs from the inner product's, by",
        "the 95 % interval of the paired difference; with this many intervals some stray by chance.",
        "",
        "| method | higher | lower | cannot be told |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {ones.count(1)} | {ones.count(-1)} | {ones.count(0)} |" for name, ones in signs.items()]
    return [*lines, ""]


def cost(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    curves: dict[str, dict[str, dict[int, float]]] = {}
    lines = [COST_HEAD.format(figure=FIGURE.name)]
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        curves[setting] = {}
        names = list(own[0]["measures"])
        for name in names:
            counts = list(own[0]["measures"][name])
            curves[setting][name] = {int(c): float(np.mean([row["measures"][name][c] for row in own])) for c in counts}
        for count in curves[setting][names[0]]:
            cells = [three([row["measures"][name][str(count)] for row in own], 2) for name in names]
            lines.append(f"| {setting} | {count} | " + " | ".join(cells) + " |")
    lines.append("")
    for setting, lines_of in curves.items():
        own = [row for row in rows if row["setting"] == setting]
        gigabytes = own[0]["about"]["n x p in GB"]
        lines.append(
            f"* {setting} (all gradients at once would be {gigabytes:.2g} GB): {crossing(*lines_of.values())}."
        )
    FIGURE.write_text(figure(curves))
    return lines


def crossing(forward: dict[int, float], product: dict[int, float]) -> str:
    """From how many targets on an inner product is cheaper, by the mean seconds."""
    counts = sorted(forward)
    cheaper = [forward[count] < product[count] for count in counts]
    if all(cheaper):
        return f"forward influence is cheaper up to the {counts[-1]} targets that were tried"
    if not cheaper[0]:
        return "an inner product is cheaper from the first target on"
    place = cheaper.index(False)
    low, high = counts[place - 1], counts[place]
    gaps = [np.log(forward[count] / product[count]) for count in (low, high)]
    at = np.exp(np.log(low) + (np.log(high) - np.log(low)) * -gaps[0] / (gaps[1] - gaps[0]))
    where = f"the lines of mean seconds cross between {low} and {high} targets, at about {at:.1f} by interpolation"
    return f"{where}; with fewer, take forward influence, with more, an inner product"


def figure(curves: dict[str, dict[str, dict[int, float]]]) -> str:
    """Seconds against the number of targets, both on logarithmic axes."""
    left, top, width, height = 60, 20, 430, 300
    seconds = [value for lines in curves.values() for line in lines.values() for value in line.values()]
    low, high = np.floor(np.log10(min(seconds))), np.ceil(np.log10(max(seconds)))
    most = np.log10(max(count for lines in curves.values() for line in lines.values() for count in line))

    def at(count: float, value: float) -> tuple[float, float]:
        return left + width * np.log10(count) / most, top + height * (high - np.log10(value)) / (high - low)

    size = f"0 0 {left + width + 20} {top + height + 60 + 18 * len(curves)}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']  # fmt: skip
    for power in range(int(low), int(high) + 1):
        _, y = at(1, 10.0**power)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for power in range(int(most) + 1):
        x, _ = at(10.0**power, 1)
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{10**power:,}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">targets</text>')
    for place, ((setting, lines), colour) in enumerate(
        zip(curves.items(), ("#1f77b4", "#d62728", "#2ca02c"), strict=False)
    ):
        for name, dash in (("forward, SGD", ""), ("inner product", ' stroke-dasharray="5 4"')):
            points = " ".join("{:.1f},{:.1f}".format(*at(count, value)) for count, value in lines[name].items())
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = top + height + 56 + 18 * place
        parts.append(
            f'<line x1="{left}" x2="{left + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{left + 30}" y="{y}">{setting} (dashed: inner product)</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = parser_of(__doc__, seeds=SEEDS)
    parser.add_argument("--part", default=",".join(PARTS), help="which parts, with commas")

    def run_seed(asked: argparse.Namespace, seed: int) -> None:
        for part in asked.part.split(","):
            run_part(asked, part, seed)

    logging.getLogger("gradsift").setLevel(logging.ERROR)
    run_seeds(parser, run_seed, write)


if __name__ == "__main__":
    main()
