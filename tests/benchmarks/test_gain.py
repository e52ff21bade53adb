"""The regimes of ``benchmarks/gain``: what is trained, and that every arm runs on them."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frame import rows
from gain import __main__ as command
from gain import features, finetuned, page
from gain.regimes import EVERY, KINDS, REGIMES, Regime, on_features, pair
from quality.regimes import Problem
from quality.training import Recipe, evaluate, train

from tests.support.families import BY_NAME

PIECES = np.array([[5, 6, 7, 0], [8, 9, 0, 0], [4, 0, 0, 0]] * 20)
TRUE = np.arange(60) % 3


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """A small BERT in the place of MiniLM."""
    family = BY_NAME["bert_sequence"]
    model = family.make().bert
    model.save_pretrained(tmp_path / "encoder")
    monkeypatch.setattr(features, "minilm", lambda: tmp_path / "encoder")
    return model


def states_of(encoder, pieces):
    """What enters the last layer, and the mean over tokens of what leaves it."""
    there = torch.from_numpy(pieces != 0)
    with torch.no_grad():
        hidden = encoder(torch.from_numpy(pieces), there.long(), output_hidden_states=True).hidden_states
    means = (hidden[-1] * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)
    return hidden[-2] * there[:, :, None], means


def test_last_block_goes_on_from_what_enters_it(encoder):
    states, means = states_of(encoder, PIECES)
    _, pooled = evaluate(finetuned.LastBlock(3).eval(), states)
    assert pooled == pytest.approx(means.numpy(), abs=1e-5)


def test_adapters_alone_are_trained_beside_the_head(encoder):
    network = finetuned.with_adapters(3).eval()
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert any("lora_A" in name for name in trained)
    assert all("lora" in name or name.startswith("head") for name in trained)
    _, pooled = evaluate(network, torch.from_numpy(PIECES))
    assert pooled == pytest.approx(states_of(encoder, PIECES)[1].numpy(), abs=1e-5)  # adapters begin at zero


@pytest.mark.parametrize("network", [finetuned.LastBlock, finetuned.with_adapters])
def test_fine_tuned_networks_memorise(encoder, network):
    inputs = torch.from_numpy(PIECES) if network is finetuned.with_adapters else states_of(encoder, PIECES)[0].half()
    model = train(lambda: network(3), Recipe(20, 20, 3e-2), inputs, TRUE, seed=0)
    assert (evaluate(model, inputs)[0].argmax(axis=1) == TRUE).all()


def small_regime(kind, network, inputs):
    """A regime of 60 samples, a fifth of them mistaken for the next class."""
    given = pair(0.2)(inputs, TRUE, 0)
    problem = Problem(inputs, given, TRUE, (inputs[:0], TRUE[:0]), (inputs, TRUE), network, Recipe(2, 20, 1e-2))
    return Regime("small", lambda _data, _cache, _seed: problem, kind)


@pytest.mark.usefixtures("few_rounds")
def test_arms_run_on_every_kind(encoder, tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((60, 70)) + np.eye(3)[TRUE].repeat(24, 1)[:, :70]
    found = on_features(values, values, TRUE, TRUE, TRUE, nn.Linear)
    regimes = {
        "linear": small_regime("frozen", found.network, found.inputs),
        "block": small_regime("fine-tuned", lambda: finetuned.LastBlock(3), states_of(encoder, PIECES)[0].half()),
        "lora": small_regime("fine-tuned", lambda: finetuned.with_adapters(3), torch.from_numpy(PIECES)),
    }
    monkeypatch.setattr(command, "EVERY", regimes)
    monkeypatch.setattr(command, "ROWS", tmp_path / "gain.parquet")
    arms = ["no change", "oracle drop", "auto", "early-learning regularisation"]
    arguments = Namespace(data=None, cache=tmp_path / "cache", small=True, arms=arms, again=False)
    for name in regimes:
        command.run(name, 0, arguments)
    made = rows.read(tmp_path / "gain.parquet")
    assert {(row["regime"], row["arm"]) for row in made} == {(name, arm) for name in regimes for arm in arms}
    folds = {name: list((tmp_path / "cache" / "folds").glob(f"{name}-*/pairs")) for name in regimes}
    assert not folds["linear"]  # heads on the features give the evidence
    assert folds["block"]  # trainings do, where the network itself is trained
    assert folds["lora"]


def test_each_kind_has_its_share(monkeypatch, tmp_path):
    gained = {"trec-pair": 6.0, "trec-pair-block": 4.0, "imdb-symmetric": 3.0}
    made = [
        {"regime": name, "arm": arm, "seed": 0, "accuracy": 80 + value, "samples": 10, "wrong": 0.2, "machine": "this"}
        for name, gain in gained.items()
        for arm, value in (("no change", 0.0), ("oracle drop", 8.0), ("auto", gain))
    ]
    next(row for row in made if row["arm"] == "auto").update({"verdict": "helps", "expected": 5.0, "corrected": True})
    monkeypatch.setattr(page, "read", lambda _path: made)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.write()
    text = (tmp_path / "page.md").read_text()
    assert "| arm | frozen, all | frozen, unseen | fine-tuned, all | fine-tuned, unseen |" in text
    assert "| auto | 56 %, 56 % of 2 | 38 %, 38 % of 1 | 50 %, 50 % of 1 |" in text
    assert f"## {KINDS['fine-tuned']}" in text
    assert "| IMDB features, symmetric 20 % | 1 | 0 | " in text
    assert "| TREC features, pair 20 % | 1 | 1 | +5.00 | right labels | +6.00 | +6.00 |" in text
    assert f"## {KINDS['scratch']}" not in text


def test_features_of_all_images_are_computed_in_pieces(tmp_path, monkeypatch):
    computed = []

    def image_features(_data, part, rows):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(rows[0])
        return np.stack([rows, rows], axis=1).astype(np.float32)

    monkeypatch.setattr(features, "PIECE", 10_000)
    monkeypatch.setattr(features, "image_features", image_features)
    monkeypatch.setattr(features, "of_images", lambda _data, _cache: {"test": np.zeros((2, 2))})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            features.of_all_images(tmp_path, tmp_path)
        assert computed == [0, 10_000, 20_000]  # what is there is not computed again
    computed.clear()
    assert (features.of_all_images(tmp_path, tmp_path)["train"][:, 0] == np.arange(50_000)).all()
    assert computed == [30_000, 40_000]


def test_names_of_regimes():
    assert {regime.kind for regime in EVERY.values()} == set(KINDS)
    assert set(REGIMES) <= set(EVERY)
    assert len({regime.words for regime in EVERY.values()}) == len(EVERY)  # the page tells them apart
