import json
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError, GradsiftError, ModelError, SettingError
from gradsift.evaluation import (
    Judged,
    Trial,
    Verification,
    accuracy,
    detection,
    detection_measures,
    estimate,
    flip_labels,
    verify,
)

N, WRONG = 40, [3, 11, 17, 30, 38]
DROP = [Judged("drop", "drop", ("random drop",))]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 7]), min_size=2, max_size=60),
    st.floats(0, 1),
    st.sampled_from(["symmetric", "pair"]),
    st.integers(0, 99),
)
def test_exactly_the_asked_share_of_labels_is_flipped(labels, rate, kind, seed):
    labels = np.array(labels)
    assume(len(np.unique(labels)) > 1)
    before = labels.copy()
    given_labels = flip_labels(labels, rate, kind=kind, seed=seed)
    assert (labels == before).all()
    assert (given_labels != labels).sum() == round(rate * len(labels))
    assert set(given_labels) <= set(labels)
    assert (flip_labels(labels, rate, kind=kind, seed=seed) == given_labels).all()
    if kind == "pair":
        classes = np.unique(labels).tolist()
        following = dict(zip(classes, classes[1:] + classes[:1], strict=True))
        assert all(b in (a, following[a]) for a, b in zip(labels.tolist(), given_labels.tolist(), strict=True))


def test_symmetric_flips_reach_every_other_class_and_seeds_differ():
    labels = np.zeros(3000, dtype=int)
    labels[:3] = [1, 2, 3]
    counts = np.bincount(flip_labels(labels, 1.0)[3:], minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 900
    assert (flip_labels(labels, 0.1, seed=0) != flip_labels(labels, 0.1, seed=1)).any()


@pytest.mark.parametrize(("rate", "kind"), [(-0.1, "pair"), (1.1, "pair"), (0.1, "asymmetric"), (math.nan, "pair")])
def test_flips_outside_their_range_are_refused(rate, kind):
    with pytest.raises(SettingError, match=r"rate in \[0, 1\] and kind symmetric or pair"):
        flip_labels(np.array([0, 1]), rate, kind=kind)


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_one_class_cannot_be_flipped(kind):
    with pytest.raises(GradsiftError, match="class"):
        flip_labels(np.zeros(10, dtype=int), 0.2, kind=kind)


def test_detection_is_measured():
    wrong = np.array([True, False, False, True, False])
    perfect = np.array([5.0, 1.0, 2.0, 4.0, 0.0])
    assert detection_measures(perfect, wrong) == {"auroc": 1.0, "ap": 1.0, "precision_at_k": 1.0}
    found = detection_measures(-perfect, wrong)
    assert (found["auroc"], found["precision_at_k"]) == (0.0, 0.0)
    mixed = detection_measures(np.array([5.0, 4.0, 2.0, 3.0, 0.0]), wrong)
    assert mixed["auroc"] == pytest.approx(5 / 6)
    assert mixed["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert mixed["precision_at_k"] == 0.5


@pytest.mark.parametrize("wrong", [np.zeros(5), np.ones(5), np.array([True, False])])
def test_detection_needs_some_wrong_samples(wrong):
    with pytest.raises(DataError, match="some samples are wrong and some are not"):
        detection_measures(np.arange(5.0), wrong)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-10_000, 10_000).map(lambda k: k / 100), min_size=2, max_size=12), st.floats(0.5, 0.99))
def test_estimates_agree_with_scipy(values, confidence):
    assume(len(set(values)) > 1)
    found = estimate(values, confidence=confidence)
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
    assert found.mean - found.half_width == pytest.approx(low, abs=1e-9)
    assert found.mean + found.half_width == pytest.approx(high, abs=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)
    assert found.count == len(values)
    assert found.sign == (1 if low > 0 else -1 if high < 0 else 0)


def test_one_value_and_equal_values_have_no_interval():
    one = estimate([2.5])
    assert (one.mean, one.count, one.sign, str(one)) == (2.5, 1, 0, "2.50 (one seed)")
    assert math.isnan(one.half_width)
    same = estimate([1.0, 1.0, 1.0])
    assert (same.half_width, same.p_value, same.sign) == (0.0, 0.0, 1)
    none = estimate([0.0, 0.0])
    assert (none.p_value, none.sign, str(none)) == (1.0, 0, "0.00 ± 0.00")


def verification(gains, control=90.0, **more):
    trials = []
    for seed, gain in enumerate(gains):
        for arm, value in {
            "no change": control + 1,
            "random drop": control + seed,
            "drop": control + seed + gain,
        }.items():
            trials.append(Trial(arm, seed, value, 0.1, 0 if arm == "no change" else 1234))
    return Verification(trials, DROP, **more)


def test_the_sentence_says_gain_cost_or_no_evidence():
    gain = verification([1.0, 1.2, 0.9, 1.1, 1.0])
    assert gain.sentence() == (
        "Removing 1,234 samples gains 1.04 ± 0.14 points over removing as many at random and 2.04 ± 1.95 points over no "
        "change (5 seeds, 95 % interval)."
    )
    assert verification([1.0, 1.2, 0.9]).sentence() == (
        "Removing 1,234 samples gains 1.03 ± 0.38 points over removing as many at random, but shows no gain over no "
        "change: +1.03 ± 2.39 (3 seeds, 95 % interval)."
    )
    assert verification([-1.0, -1.2, -0.9]).sentence().startswith("Removing 1,234 samples costs 1.03 ±")
    doubt = verification([1.0, -1.2, 0.3]).sentence()
    assert doubt.startswith("No evidence that it helps: removing 1,234 samples changes the metric by +0.03 ±")
    assert verification([3.0]).sentence() == (
        "One seed says nothing: removing 1,234 samples changed the metric by +3.00 against removing as many at random."
    )
    assert verification([3.0, 3.1]).sentence().startswith("Two seeds cannot decide: removing 1,234 samples changed")
    assert repr(gain) == f"<Verification: {gain.sentence()}>"


def test_a_metric_where_lower_is_better_turns_gain_and_cost():
    assert "costs 1.03" in verification([1.0, 1.2, 0.9], higher_is_better=False).sentence()
    assert "gains 1.03" in verification([-1.0, -1.2, -0.9], higher_is_better=False).sentence()
    assert "No evidence" in verification([1.0, -1.2, 0.3], higher_is_better=False).sentence()


def test_a_metric_that_is_no_number_is_not_taken_for_a_single_seed():
    assert "One seed" not in verification([1.0, math.nan, 1.0]).sentence()


def test_differences_are_paired_by_seed():
    found = verification([1.0, 1.2, 0.9])
    assert found.arms == ["no change", "random drop", "drop"]
    assert found.values("random drop") == {0: 90.0, 1: 91.0, 2: 92.0}
    assert found.difference("drop").mean == pytest.approx(3.1 / 3)
    assert found.difference("drop").half_width < 0.5 < found.estimate("drop").half_width
    fewer = Verification([t for t in found.trials if (t.arm, t.seed) != ("random drop", 1)], DROP)
    assert fewer.difference("drop").count == 2


def test_a_verification_survives_json_and_shows_a_row_an_arm():
    found = verification([1.0, 1.2, 0.9], higher_is_better=False)
    again = Verification.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.trials == found.trials
    assert again.to_dict() == found.to_dict()
    rows = {row["arm"]: row for row in found.rows()}
    assert (rows["no change"]["removed"], rows["drop"]["removed"]) == ("0", "1,234")
    assert rows["drop"]["against its control"].startswith("1.03 ±")
    assert rows["drop"]["against its control"].endswith("(random drop)")
    assert rows["random drop"]["against its control"] == rows["no change"]["against no change"] == ""
    assert found.table.num_rows == 9
    assert found.table.column_names == ["arm", "seed", "value", "seconds", "removed", "changed"]


def data():
    generator = np.random.default_rng(0)
    true = np.arange(N) % 3
    x = np.stack([np.cos(2 * true), np.sin(2 * true), np.arange(N) / N], axis=1) + 0.1 * generator.normal(size=(N, 3))
    x[:, 2] = np.arange(N) / N  # tells which sample it is
    labels = true.copy()
    labels[WRONG] = (labels[WRONG] + 1) % 3
    return x.astype(np.float32), labels, true


@pytest.fixture(scope="module")
def audit():
    return audit_of(0.2)


def audit_of(share):
    torch.manual_seed(0)
    x, labels, _ = data()
    model = nn.Linear(3, 3).eval()
    return gradsift.audit(model, (x, labels), detectors=("l2", "loss"), contamination=share, show_progress=False)


class Train:
    """Trains a linear model for a few steps, and remembers on what."""

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = [], dies_at

    def __call__(self, dataset, *, seed):
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        x, labels = dataset
        self.calls.append((seed, np.round(x[:, 2] * N).astype(int).tolist()))
        torch.manual_seed(seed)
        model = nn.Linear(3, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
            optimizer.step()
        return model


def run(audit, train_fn=None, **more):
    x, labels, true = data()
    train_fn = train_fn or Train()
    more = {"metric": accuracy, "seeds": 3, "show_progress": False} | more
    return verify(train_fn, (x, labels), audit, (x, true), **more), train_fn


def test_arms_share_their_seeds_and_random_trims_have_the_size_of_the_audit(audit):
    found, train = run(audit, true_labels=data()[2], seeds=[5, 9])
    assert found.arms == ["no change", "random drop", "drop", "oracle drop", "oracle relabel"]
    assert found.removed == 8
    assert all(list(found.values(arm)) == [5, 9] for arm in found.arms)
    assert [seed for seed, _ in train.calls] == [5] * 5 + [9] * 5
    kept = {(arm, seed): positions for (seed, positions), arm in zip(train.calls, found.arms * 2, strict=True)}
    for seed in (5, 9):
        assert kept["no change", seed] == list(range(N))
        assert kept["drop", seed] == audit.kept.tolist()
        assert kept["oracle drop", seed] == [i for i in range(N) if i not in WRONG]
        assert len(set(kept["random drop", seed])) == N - 8
        assert kept["random drop", seed] == sorted(kept["random drop", seed])
    assert kept["random drop", 5] != kept["random drop", 9]
    assert [(t.removed, t.seed) for t in found.trials] == [(r, s) for s in (5, 9) for r in (0, 8, 8, 5, 0)]
    again, _ = run(audit, true_labels=data()[2], seeds=[5, 9])
    assert [t.value for t in again.trials] == [t.value for t in found.trials]


def test_without_true_labels_there_is_no_oracle(audit):
    assert run(audit, seeds=1)[0].arms == ["no change", "random drop", "drop"]


def test_finished_trials_are_not_trained_again(audit, tmp_path):
    first, train = run(audit, output=tmp_path / "t.jsonl")
    assert len(train.calls) == 9
    second, train = run(audit, output=tmp_path / "t.jsonl")
    assert train.calls == []
    assert second.trials == first.trials
    more, train = run(audit, output=tmp_path / "t.jsonl", seeds=4, true_labels=data()[2])
    assert len(train.calls) == 2 * 4 + 3  # both oracles of all seeds, the others of the new one
    assert first.values("drop").items() <= more.values("drop").items()


def test_a_killed_verification_goes_on_where_it_stopped(audit, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(audit, Train(dies_at=4), output=tmp_path / "t.jsonl")
    found, train = run(audit, output=tmp_path / "t.jsonl")
    assert len(train.calls) == 5
    assert [t.value for t in found.trials] == [t.value for t in run(audit)[0].trials]


def test_trials_of_another_audit_are_left_out(audit, tmp_path):
    run(audit, output=tmp_path / "t.jsonl", seeds=1)
    other, train = run(audit_of(0.1), output=tmp_path / "t.jsonl", seeds=1)
    assert len(train.calls) == 2  # no change of the data does not depend on the audit
    assert other.removed == 4
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 5


def test_trials_of_other_true_labels_are_left_out(audit, tmp_path):
    run(audit, output=tmp_path / "t.jsonl", seeds=1, true_labels=data()[2])
    found, train = run(audit, output=tmp_path / "t.jsonl", seeds=1, true_labels=np.roll(data()[1], 1))
    assert len(train.calls) == 2  # the oracles'; the other arms do not depend on true labels
    assert found.trials[-2].removed == N - len(train.calls[0][1]) > 5


def test_a_half_written_last_line_costs_one_trial_alone(audit, tmp_path):
    path = tmp_path / "t.jsonl"
    first, _ = run(audit, output=path)
    path.write_text(path.read_text()[:-30])
    second, train = run(audit, output=path)
    assert len(train.calls) == 1
    assert [t.value for t in second.trials] == [t.value for t in first.trials]
    _, train = run(audit, output=path)
    assert train.calls == []


def test_a_line_with_a_flipped_bit_costs_one_trial_alone(audit, tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    first, _ = run(audit, output=path, seeds=1)
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    for place in range(second, second + 60, 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :])
        again, train = run(audit, output=path, seeds=1)
        assert len(train.calls) == 1
        assert [t.value for t in again.trials] == [t.value for t in first.trials]
    assert "line 2 is damaged or cut off, it is left out" in caplog.text


@pytest.mark.parametrize("left", ["{", '{"key', '{"key": "ab'])
def test_a_first_trial_that_was_cut_off_stands_in_nobodys_way(audit, tmp_path, left):
    (tmp_path / "t.jsonl").write_text(left)
    verification, _ = run(audit, output=tmp_path / "t.jsonl", seeds=1)
    assert len(verification.trials) == 3
    assert (tmp_path / "t.jsonl").read_text().count('"arm"') == 3


@pytest.mark.parametrize("other", ["{\n", "{\n}\n", "x"])
def test_a_short_file_of_somebody_else_stays_as_it_is(audit, tmp_path, other):
    (tmp_path / "t.jsonl").write_text(other)
    with pytest.raises(GradsiftError, match="holds no trials of gradsift"):
        run(audit, output=tmp_path / "t.jsonl", seeds=1)
    assert (tmp_path / "t.jsonl").read_text() == other


def test_nothing_is_added_to_a_file_of_somebody_else(audit, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "mine", "label": 1}\n')
    with pytest.raises(GradsiftError, match="holds no trials of gradsift"):
        run(audit, output=tmp_path / "train.jsonl", seeds=1)
    assert (tmp_path / "train.jsonl").read_text() == '{"text": "mine", "label": 1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_the_folder_of_the_output_is_made(audit, tmp_path):
    run(audit, output=tmp_path / "deep" / "t.jsonl", seeds=1)
    assert len((tmp_path / "deep" / "t.jsonl").read_text().splitlines()) == 3


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_trained(audit, tmp_path):
    (tmp_path / "file").touch()
    train = Train()
    with pytest.raises(GradsiftError, match="write"):
        run(audit, train, output=tmp_path / "file" / "t.jsonl")
    assert train.calls == []


def test_what_returns_no_model_is_refused(audit):
    with pytest.raises(SettingError, match="train_fn returned None"):
        run(audit, lambda dataset, *, seed: None)
    for returned in (0.93, {"weight": torch.zeros(2)}):
        with pytest.raises(ModelError, match=f"got a {type(returned).__name__}"):
            gradsift.verify(
                lambda dataset, *, seed, returned=returned: returned, audit.train_set, audit, audit.train_set,
                gradsift.accuracy, seeds=1, show_progress=False,
            )  # fmt: skip


def test_an_audit_that_flags_nothing_has_nothing_to_verify():
    with pytest.raises(DataError, match="flags no sample"):
        run(audit_of(0.001))


@pytest.mark.parametrize("shape", [(N - 1,), (N, 1), (N, 3)])
def test_true_labels_of_wrong_shape_are_refused(audit, shape):
    with pytest.raises(DataError, match=r"true_labels has shape"):
        run(audit, true_labels=np.zeros(shape))


def test_no_seeds_and_another_data_set_are_refused(audit):
    for seeds in (0, []):
        with pytest.raises(SettingError, match="at least one seed"):
            run(audit, seeds=seeds)
    x, _, true = data()
    with pytest.raises(DataError, match="not the one that was audited"):
        verify(Train(), (x, true), audit, (x, true), accuracy, show_progress=False)


def test_detectors_are_measured_by_name(audit):
    wrong = np.isin(np.arange(N), WRONG)
    found = detection(audit, wrong)
    assert found.keys() == {"l2", "loss"}
    assert found["loss"] == detection_measures(audit.table["score_loss"].to_numpy(), wrong)


def test_accuracy_is_in_percent_over_all_batches_and_in_eval_mode():
    logits = torch.eye(4)[[0, 1, 2, 3, 0]]
    labels = torch.tensor([0, 1, 2, 0, 0])
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.9), nn.Linear(4, 4, bias=False))
    nn.init.eye_(model[2].weight)
    for size in (1, 2, 512):
        model.train()
        assert accuracy(model, (logits, labels), batch_size=size) == 80.0
    one = nn.Linear(1, 1, bias=False)
    nn.init.ones_(one.weight)
    assert accuracy(
        one, {"x": torch.tensor([[1.0], [-1.0], [2.0]]), "label": torch.tensor([1, 0, 0])}
    ) == pytest.approx(200 / 3)
    assert len(Samples((logits, labels))) == 5


def test_finished_trials_of_another_metric_are_not_reused(audit, tmp_path):
    def one(model, test_set):
        return 1.0

    def two(model, test_set):
        return 2.0

    def train(dataset, *, seed):
        return torch.nn.Linear(1, 1)

    arguments = {"seeds": 2, "output": tmp_path / "trials.jsonl", "show_progress": False}
    first = verify(train, audit.train_set, audit, None, one, **arguments)
    second = verify(train, audit.train_set, audit, None, two, **arguments)
    assert set(first.values("no change").values()) == {1.0}
    assert set(second.values("no change").values()) == {2.0}
