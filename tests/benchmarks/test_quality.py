"""The pure parts of ``benchmarks/quality``: noise, records, methods, ranks, rows."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gradsift
from gradsift.influence import DataInf

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frame import rows
from quality import noise, outcomes, ranks, tables
from quality.detect import removal
from quality.methods import DEFAULTS, FLAWS, METHODS
from quality.record import record
from quality.regimes import FULL, REGIMES
from quality.retrain import NO_TRIM, arms, trained
from quality.summary import in_short
from quality.training import Recipe, augmented, train

from tests.support.small_problem import network, small_problem

TRUE = np.arange(3000) % 3
WITHOUT_INFLUENCE = [name for name in METHODS if name != "self_exact" and METHODS[name].information != "validation"]


@pytest.fixture(scope="module")
def problem():
    return small_problem(recipe=Recipe(6, 20, 0.05, every=2))


@pytest.fixture(scope="module")
def recorded(problem, tmp_path_factory):
    return record(problem, tmp_path_factory.mktemp("runs") / "0", regime="planted", seed=0)


def test_class_noise_follows_its_matrix():
    given = noise.by_class(TRUE, [[0.9, 0.1, 0], [0, 1, 0], [0.3, 0, 0.7]], seed=0)
    shares = np.array([[(given[k == TRUE] == j).mean() for j in range(3)] for k in range(3)])
    assert shares == pytest.approx(np.array([[0.9, 0.1, 0], [0, 1, 0], [0.3, 0, 0.7]]), abs=0.04)


def test_look_alikes_get_one_class_each():
    given = noise.to_look_alikes(TRUE, (1, 2, 1), 0.2, seed=1)
    assert set(zip(TRUE[given != TRUE], given[given != TRUE], strict=True)) == {(0, 1), (1, 2), (2, 1)}
    assert (given != TRUE).mean() == pytest.approx(0.2, abs=0.03)


def test_instance_noise_depends_on_the_instance():
    inputs = np.random.default_rng(0).standard_normal((3000, 5))
    inputs[1::2] = inputs[::2]
    labels = np.zeros(3000, int)
    labels[:4] = (1, 1, 2, 2)
    given = noise.by_instance(inputs, labels, 0.4, seed=0)
    assert (given != labels).mean() == pytest.approx(0.4, abs=0.04)
    first, second = given[4::2], given[5::2]
    both = (first != 0) & (second != 0)
    assert (first == second)[both].mean() > 0.6  # twins are mistaken for the same class


def test_trajectory_is_what_the_recorder_records(problem, recorded):
    def on_epoch(_epoch, model):
        recorder.model.load_state_dict(model.state_dict())
        recorder.evaluate()

    data = (problem.inputs, torch.from_numpy(problem.given))
    recorder = gradsift.Recorder(network().eval(), data, show_progress=False)
    train(problem.network, problem.recipe, problem.inputs, problem.given, seed=0, on_epoch=on_epoch)
    found, expected = recorded.trajectory(), recorder.trajectory
    assert recorded.about["epochs"] == [2, 4, 6]
    for name, values in expected.statistics.items():
        assert found.statistics[name] == pytest.approx(values, rel=3e-3, abs=1e-3), name  # features are float16


def test_record_is_not_made_again(problem, recorded, monkeypatch):
    monkeypatch.setattr("quality.record.along_training", None)
    assert record(problem, recorded.folder, regime="planted", seed=0).about == recorded.about


def test_record_holds_what_its_docstring_says(recorded):
    assert recorded.logits.shape == (3, 120, 3)
    assert recorded.features.shape == (3, 120, 8)
    assert recorded.projections.shape == (120, 512)
    assert sorted(np.unique(recorded.folds)) == [0, 1, 2, 3]
    assert np.isfinite(recorded.oof_logits).all()
    assert recorded.wrong.sum() == 24


@pytest.mark.parametrize("name", WITHOUT_INFLUENCE)
def test_methods_put_wrong_labels_first(recorded, name):
    scores = METHODS[name].score(recorded)
    assert scores.shape == (120,)
    auroc = gradsift.evaluation.detection_measures(scores, recorded.wrong)["auroc"]
    assert auroc > (0.3 if name == "random" else 0.6)


def test_predicted_labels_blind_the_label_scores(recorded):
    for name, (right, flawed) in FLAWS.items():
        if "predicted" in name:
            seen, blind = (
                gradsift.evaluation.detection_measures(method.score(recorded), recorded.wrong)["auroc"]
                for method in (METHODS[right], flawed)
            )
            assert blind < seen - 0.2


def test_self_datainf_is_gradsifts(problem, recorded):
    from quality.influence import load_model

    method = DataInf(layers="last", show_progress=False).fit(
        load_model(recorded, problem), (problem.inputs, torch.from_numpy(problem.given))
    )
    assert METHODS["self_datainf"].score(recorded) == pytest.approx(method.self_influence(), rel=0.02)


def test_arms_share_budgets_and_the_oracle_removes_the_wrong(problem, recorded, monkeypatch):
    monkeypatch.setattr("quality.retrain.ARMS", ("l2", "aum"))
    found = {(arm, budget): kept for arm, budget, kept in arms(recorded, full=False)}
    assert len(found[NO_TRIM, "none"]) == 120
    assert not recorded.wrong[found["oracle", "true"]].any()
    assert len({len(kept) for (_, budget), kept in found.items() if budget == "auto"}) == 1
    assert trained(problem, found[NO_TRIM, "none"], 0)["accuracy"] == recorded.about["test_accuracy"][-1]


def test_removal_counts_classes(recorded):
    found = removal(recorded, METHODS["oracle"].score(recorded))
    assert found["precision_at_5"] == 1
    assert found["rarest_class_right"] == 0
    assert 0 < found["smallest_class_share"] <= found["largest_class_share"] < 1


def test_shifts_keep_the_shape():
    images = torch.arange(2 * 3 * 32 * 32.0).reshape(2, 3, 32, 32)
    shifted = augmented(images, Recipe(1, 1, 1.0, shifted=4))
    assert shifted.shape == images.shape
    assert set(shifted[0, 0].flatten().tolist()) <= set(images[0, 0].flatten().tolist())


def test_rows_replace_those_of_the_same_key(tmp_path):
    path = tmp_path / "rows.parquet"
    rows.add(path, [{"regime": "b", "seed": 0, "ap": 0.1}, {"regime": "a", "seed": 0, "ap": 0.2}], ("regime", "seed"))
    rows.add(path, [{"regime": "b", "seed": 0, "ap": 0.3, "auroc": 0.9}], ("regime", "seed"))
    assert rows.read(path) == [
        {"regime": "a", "seed": 0, "ap": 0.2, "auroc": None},
        {"regime": "b", "seed": 0, "ap": 0.3, "auroc": 0.9},
    ]


def test_ranks_and_their_groups():
    found = ranks.rank({"good": [0.9] * 30, "middle": [0.5] * 30, "bad": [0.1] * 30})
    assert list(found.mean.values()) == [1, 2, 3]
    assert found.p_value < 1e-6
    assert found.difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 30)), abs=0.01)  # Demsar 2006, table 5
    assert ranks.groups(found) == []
    close = ranks.rank({"a": [1, 2, 1, 2], "b": [2, 1, 2, 1], "c": [0, 0, 0, 0.5]})
    assert ranks.groups(close) == [(1.5, 3.0)]
    assert ranks.plot(close, {"a": "A", "b": "B & C", "c": "C"}, "title").count("<text") == 8


def test_differences_are_paired_by_seed():
    values = tables.Values(
        [{"regime": "r", "seed": seed, "method": method, "ap": seed / 10 + gain}
         for seed in range(5) for method, gain in (("a", 0.1), ("b", 0.0))], "ap",
    )  # fmt: skip
    found = values.paired_over_regimes("a", "b")
    assert found.mean == pytest.approx(0.1)
    assert found.half_width == pytest.approx(0, abs=1e-9)


def test_oracle_share_is_of_its_gain():
    accuracies = {NO_TRIM: 80, "oracle": 90, "l2": 88, "random": 79}
    made = [
        {"regime": "r", "seed": seed, "arm": arm, "budget": "none" if arm == NO_TRIM else "true",
         "accuracy": value + seed / 10}
        for seed in range(3) for arm, value in accuracies.items()
    ]  # fmt: skip
    lines = "\n".join(outcomes.oracle_share(made))
    assert "| 80 % | 80 % |" in lines
    assert "| -10 % | -10 % |" in lines


def test_every_name_is_known():
    assert set(DEFAULTS.values()) <= METHODS.keys()
    assert {right for right, _ in FLAWS.values()} <= METHODS.keys()
    assert not REGIMES.keys() & FULL.keys()


def test_gaps_are_told_over_seeds_that_both_have():
    kind = "final"
    rows_ = [
        {"regime": "r", "seed": seed, "method": name, "ap": value}
        for name, values in {"posterior": [0.5, 0.1], "loss": [0.52, 0.2], "l2": [0.49, None]}.items()
        for seed, value in enumerate(values)
    ]
    assert tables.gap(tables.Values(rows_, "ap"), "r", kind, "posterior") == pytest.approx(-0.06)
    assert tables.gap(tables.Values(rows_[:2] + rows_[4:], "ap"), "r", kind, "posterior") == pytest.approx(0.01)


def test_the_summary_sets_what_was_measured_beside_the_goals():
    values = {"posterior": 0.8, "el2n": 0.7, "posterior_own_passes": 0.7, "aum": 0.75}
    detection = [
        {"regime": "r", "seed": seed, "method": name, "ap": value + 0.01 * seed}
        for name, value in values.items()
        for seed in range(3)
    ]
    accuracies = {"no trim": ("none", 80.0), "oracle": ("true", 84.0), "posterior": ("true", 83.5)}
    retrained = [
        {"regime": "r", "seed": seed, "arm": arm, "budget": budget, "accuracy": value + seed}
        for arm, (budget, value) in accuracies.items()
        for seed in range(3)
    ]
    lines = in_short(detection, retrained)
    assert "| 0.810 against 0.710: +0.100 ± 0.000 | yes |" in lines[4]
    assert "nowhere | yes (1 of 1 regimes)" in lines[5]
    assert "r -0.050 | **no** (0 of 1 regimes)" in lines[7]
    assert "| 88 % (r 88 %) | yes |" in lines[8]
