"""The main job, from model and data to the table, in one process and in killed ones."""

import json
import logging
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradsift
from gradsift.errors import SettingError
from gradsift.evaluation import detection_measures
from gradsift.store import RunDirectory
from tests.support.killed import ends_as

DATA = Path(os.environ.get("GRADSIFT_DATA", "does-not-exist"))


def test_the_flipped_labels_come_first(blobs, trained):
    inputs, given, wrong = blobs
    audit = gradsift.audit(trained, (inputs, given), contamination=0.1, show_progress=False)
    assert audit.table.num_rows == 180
    assert len(audit.flagged_positions) == 18
    assert wrong[audit.flagged_positions].mean() > 0.8
    for name in ("l2", "l1", "isolation_forest", "loss", "self_confidence", "normalized_margin"):
        assert detection_measures(audit.table[f"score_{name}"].to_numpy(), wrong)["ap"] > 0.7, name
    assert re.fullmatch(r"probably \d: model \d+ %, neighbours \d+ of \d+", audit.worst(1)["reason"][0].as_py())
    assert audit.details["coverage"].endswith("100 % by closed form")


def test_the_posterior_finds_the_flips_and_layers_can_be_kept_apart(blobs, trained):
    inputs, given, wrong = blobs
    audit = gradsift.audit(trained, (inputs, given), detector="posterior", contamination=0.1, show_progress=False)
    assert wrong[audit.flagged_positions].mean() > 0.8
    apart = gradsift.audit(
        trained, (inputs, given), layers="all", projection=16, projection_per_layer=True, show_progress=False
    )
    layers = {name.rpartition(".")[0] for name in apart.details["parameters"]}
    assert apart.gradients.shape == (180, 16 * len(layers))


def test_classes_and_the_last_layer_are_ranked_by_the_posterior_others_by_norms(blobs, trained):
    inputs, given, _ = blobs
    recorder = gradsift.Recorder(trained, (inputs, given), show_progress=False)
    recorder.evaluate()
    by = {"show_progress": False, "contamination": 0.1}
    assert gradsift.audit(trained, (inputs, given), **by).detector == "posterior"
    assert gradsift.audit(trained, (inputs, given), trajectory=recorder, **by).detector == "posterior_along_training"
    assert gradsift.audit(trained, (inputs, given), layers="all", **by).detector == "l2"
    deep = gradsift.audit(trained, (inputs, given), layers="all", trajectory=recorder, **by)
    assert deep.detector == "l2_along_training"
    assert gradsift.audit(trained, (inputs, given), detectors=("loss", "l2"), **by).detector == "loss"
    regression = gradsift.audit(trained, (inputs, np.eye(3, dtype=np.float32)[given]), task="regression", **by)
    assert regression.detector == "value_posterior"


def test_shares_of_classes_and_groups_are_held(blobs, trained):
    inputs, given, _ = blobs
    groups = np.where(np.arange(180) % 4 == 0, "few", "many")
    by = {"contamination": 0.1, "show_progress": False}
    held = gradsift.audit(trained, (inputs, given), hold_classes=True, **by)
    lost = np.bincount(given[held.flagged_positions], minlength=3) / np.bincount(given)
    assert np.ptp(lost) < 1 / np.bincount(given).min()
    assert len(held.flagged_positions) == 18
    assert "Every one of 3 groups" in held.summary()
    both = gradsift.audit(trained, (inputs, given), hold_classes=True, groups=groups, **by)
    assert "Every one of 6 groups" in both.summary()
    assert len(both.flagged_positions) == 18
    assert abs((groups[both.flagged_positions] == "few").mean() - 0.25) <= 3 / 18
    with pytest.raises(SettingError, match="180 samples"):
        gradsift.audit(trained, (inputs, given), groups=groups[:5], **by)


def test_the_automatic_cut_is_near_the_truth_and_says_how_sure_it_is(blobs, trained):
    inputs, given, wrong = blobs
    audit = gradsift.audit(trained, (inputs, given), show_progress=False)
    decision = audit.details["contamination"]
    assert decision["low"] <= wrong.mean() <= decision["high"]
    assert wrong[audit.flagged_positions].mean() > 0.8
    assert "confidently disagrees" in audit.summary()


def test_every_kind_of_input_gives_the_same_table(blobs, trained):
    inputs, given, _ = blobs
    tensors = torch.from_numpy(inputs), torch.from_numpy(given)
    kinds = [
        (inputs, given),
        tensors,
        {"x": inputs, "label": given},
        TensorDataset(*tensors),
        list(zip(*tensors, strict=True)),
        DataLoader(TensorDataset(*tensors), batch_size=7),
    ]
    tables = [gradsift.audit(trained, kind, show_progress=False).table for kind in kinds]
    assert all(table.equals(tables[0]) for table in tables[1:])


def test_ids_of_samples_are_kept(blobs, trained):
    inputs, given, _ = blobs
    named = [
        {"x": torch.from_numpy(x), "label": int(y), "id": f"s{i}"}
        for i, (x, y) in enumerate(zip(inputs, given, strict=True))
    ]
    audit = gradsift.audit(trained, named, show_progress=False, shard_size=50)
    assert audit.table["id"].to_pylist() == [f"s{i}" for i in range(180)]


def test_shards_and_batches_do_not_change_scores(blobs, trained):
    inputs, given, _ = blobs
    whole = gradsift.audit(trained, (inputs, given), show_progress=False)
    parts = gradsift.audit(trained, (inputs, given), batch_size=7, shard_size=25, show_progress=False)
    for name in ("score_l2", "score_l1", "loss"):
        assert np.allclose(whole.table[name], parts.table[name], rtol=1e-5)


@pytest.mark.parametrize("layers", ["all", "0.*", ("0.weight", "2.bias")])
def test_other_layers(blobs, trained, layers):
    inputs, given, wrong = blobs
    audit = gradsift.audit(
        trained, (inputs, given), layers=layers, projection=32, contamination=0.1, show_progress=False
    )
    assert wrong[audit.flagged_positions].mean() > 0.5
    assert audit.gradients.rows([0, 1]).shape == (2, 32)
    assert "layer rules" in audit.details["coverage"]


def test_a_task_of_ones_own(blobs, trained):
    class Focal:
        def outputs(self, model, batch):
            return model(batch[0])

        def losses(self, outputs, batch):
            likelihood = outputs.log_softmax(1).gather(1, batch[1][:, None])[:, 0]
            return -((1 - likelihood.exp()) ** 2) * likelihood

    inputs, given, wrong = blobs
    audit = gradsift.audit(trained, (inputs, given), task=Focal(), contamination=0.1, show_progress=False)
    assert wrong[audit.flagged_positions].mean() > 0.8
    assert audit.table["given_label"].null_count == 180
    assert "score_self_confidence" not in audit.table.column_names
    assert "times the median" in audit.worst(1)["reason"][0].as_py()


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression"])
def test_other_tasks(task, tmp_path):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(120, 4)).astype(np.float32)
    weights = generator.normal(size=(4, 3)).astype(np.float32)
    values = inputs @ weights
    labels = {"binary": values[:, 0] > 0, "multilabel": values > 0, "regression": values[:, 0]}[task].copy()
    wrong = np.isin(np.arange(120), np.argsort(-np.abs(values).min(axis=1))[:8])  # far from every boundary
    labels[wrong] = labels[wrong] + 8 if task == "regression" else ~labels[wrong]
    labels = labels.astype(np.float32 if task == "regression" else np.int64)
    model = nn.Linear(4, 3 if task == "multilabel" else 1)
    with torch.no_grad():
        model.weight.copy_(
            torch.from_numpy((weights if task == "multilabel" else weights[:, :1]).T)
            * (1 if task == "regression" else 3)
        )
        model.bias.zero_()
    audit = gradsift.audit(model, (inputs, labels), task=task, output=tmp_path / "run", show_progress=False)
    assert wrong[audit.worst(8)["position"].to_numpy()].mean() >= 0.75
    assert (tmp_path / "run" / "report.html").stat().st_size > 5000
    assert audit.details["contamination"]["words"]


def test_half_precision_shows_its_noise(blobs, trained):
    inputs, given, _ = blobs
    audit = gradsift.audit(trained, (inputs, given), precision="bfloat16", show_progress=False)
    assert 0 < audit.details["probe"]["precision_noise"] < 0.1
    exact = gradsift.audit(trained, (inputs, given), show_progress=False)
    assert np.corrcoef(audit.table["score_l2"], exact.table["score_l2"])[0, 1] > 0.99


def test_a_model_that_has_memorised_its_labels_is_reported(blobs):
    _, given, _ = blobs

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 3, bias=False)
            nn.init.eye_(self.head.weight)

        def forward(self, x):
            return self.head(x)

    remembered = 12 * np.eye(3, dtype=np.float32)[given]
    audit = gradsift.audit(Memory().eval(), (remembered, given), show_progress=False)
    assert "have vanished" in audit.warnings[0]


def test_the_model_is_left_as_it_was(blobs, trained):
    inputs, given, _ = blobs
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    gradsift.audit(trained, (inputs, given), layers="all", show_progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert not any(module._forward_hooks for module in trained.modules())


def test_the_road_is_said_aloud(blobs, trained, caplog):
    inputs, given, _ = blobs
    with caplog.at_level(logging.INFO, "gradsift"):
        gradsift.audit(trained, (inputs, given), layers="all", show_progress=False)
    assert "51 selected parameters: 100 % by layer rules" in caplog.text


def test_out_of_memory_halves_later_batches(blobs, trained, monkeypatch):
    inputs, given, _ = blobs
    room = sys.modules["gradsift.store.collect"]  # the package's attribute of this name is the function
    calls, real = [], room.reduce_batch

    def scarce(gradients, task, samples, positions):
        calls.append(len(positions))
        if len(positions) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(gradients, task, samples, positions)

    monkeypatch.setattr(room, "reduce_batch", scarce)
    audit = gradsift.audit(trained, (inputs, given), batch_size=128, show_progress=False)
    assert calls[:3] == [128, 64, 32]
    assert json.loads((audit.run.path / "timing.json").read_text())["final_batch_size"] == 32


def audit_that_dies(output, stop_after):
    """Audits, and kills its own process once so many shards are written."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    generator = np.random.default_rng(0)
    data = generator.normal(size=(200, 5)).astype(np.float32), generator.integers(0, 3, 200)
    write = RunDirectory.write_shard

    def write_and_die(self, checkpoint, shard, statistics):
        write(self, checkpoint, shard, statistics)
        if shard + 1 == stop_after:
            os.kill(os.getpid(), signal.SIGKILL)

    RunDirectory.write_shard = write_and_die
    gradsift.audit(model, data, layers="all", projection=16, shard_size=30, output=output, show_progress=False)


def files_of(run):
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "timing.json"
    }


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(tmp_path):
    def run(output, stop_after):
        return ends_as(partial(audit_that_dies, output, stop_after))

    assert run(tmp_path / "whole", 0) == 0
    for shards in (2, 5):
        assert run(tmp_path / "killed", shards) == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
        with pytest.raises(gradsift.RunDirectoryError, match="unfinished run"):
            gradsift.Audit.open(tmp_path / "killed")
    done = len(list((tmp_path / "killed.part/gradients/checkpoint-000").iterdir()))
    assert done == 5
    assert run(tmp_path / "killed", 0) == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_the_run_directory_is_as_described_and_opens_again(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    audit = gradsift.audit(trained, (inputs, given), output=tmp_path / "runs" / "x", show_progress=False)
    names = {path.name for path in (tmp_path / "runs" / "x").iterdir()}
    assert names == {"config.yaml", "manifest.json", "scores.parquet", "gradients", "report.html", "timing.json"}
    again = gradsift.Audit.open(tmp_path / "runs" / "x", (inputs, given))
    assert again.table.equals(audit.table)
    assert np.array_equal(again.trim()[1], audit.trim()[1])


def test_plan_counts_what_the_audit_then_stores(blobs, trained):
    inputs, given, _ = blobs
    plan = gradsift.plan(trained, (inputs, given))
    audit = gradsift.audit(trained, (inputs, given), show_progress=False)
    stored = sum(path.stat().st_size for path in (audit.run.path / "gradients").rglob("*.npy"))
    assert plan.samples == 180
    assert plan.seconds > 0
    assert abs(plan.disk_bytes - stored) < 128 * 10  # ten file headers


@pytest.mark.skipif(not (DATA / "oga-toy").is_dir(), reason="GRADSIFT_DATA holds no oga-toy")
def test_the_linear_toy_set_of_the_authors():
    """Logistic regression without intercept, scaled on the first 112 rows: research notes, section 2.1."""
    rows = [line.split(",") for line in (DATA / "oga-toy/train.csv").read_text().split()]
    clean = [line.split(",") for line in (DATA / "oga-toy/train_clean_labels.csv").read_text().split()]
    inputs = np.array([row[:2] for row in rows], dtype=np.float64)
    labels = np.array([row[-1] == "Y" for row in rows]).astype(np.int64)
    flipped = np.flatnonzero(labels != np.array([row[-1] == "Y" for row in clean]))
    assert flipped.tolist() == [7, 15, 16, 25, 41, 62, 78, 119, 145, 149]
    inputs = StandardScaler().fit(inputs[:112]).transform(inputs)
    fitted = LogisticRegression(C=1 / 0.01, fit_intercept=False, random_state=42).fit(inputs, labels)
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(fitted.coef_))
    for seed in range(5):
        audit = gradsift.audit(
            model,
            (inputs, labels),
            task="binary",
            detector="isolation_forest",
            contamination=0.1,
            seed=seed,
            show_progress=False,
        )
        for name in ("score_l1", "score_l2"):
            assert set(np.argsort(-audit.table[name].to_numpy())[:10]) == set(flipped)
        assert len(audit.flagged_positions) == 15
        assert set(flipped) <= set(audit.flagged_positions)


def test_a_resumed_run_has_the_settings_of_the_last_try_on_record(blobs, trained, tmp_path, monkeypatch):
    inputs, given, _ = blobs
    room = sys.modules["gradsift.store.collect"]
    real = room.reduce_batch

    def stop(gradients, task, samples, positions):
        if positions[0] >= 100:
            raise KeyboardInterrupt
        return real(gradients, task, samples, positions)

    arguments = {"output": tmp_path / "run", "shard_size": 50, "show_progress": False}
    monkeypatch.setattr(room, "reduce_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        gradsift.audit(trained, (inputs, given), contamination=0.1, batch_size=50, **arguments)
    monkeypatch.setattr(room, "reduce_batch", real)
    audit = gradsift.audit(trained, (inputs, given), contamination=0.3, batch_size=25, **arguments)
    assert len(audit.flagged_positions) == 54
    assert audit.run.config["settings"]["contamination"] == 0.3
    assert audit.run.config["settings"]["batch_size"] == 50  # shards that are there were made with it


def test_shards_of_a_model_that_only_prints_differently_are_not_mixed(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    first = gradsift.audit(trained, (inputs, given), output=tmp_path / "run", show_progress=False)
    (tmp_path / "run").rename(tmp_path / "run.part")
    other = nn.Sequential(trained[0], nn.Sigmoid(), trained[2]).eval()
    with pytest.raises(gradsift.RunDirectoryError, match="another model"):
        gradsift.audit(other, (inputs, given), output=tmp_path / "run", show_progress=False)
    assert len(first) == 180


def test_a_parameter_that_sleeps_on_the_tried_samples_is_not_lost():
    class Sleeper(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.eye(3))
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(torch.relu(x @ self.first))

    torch.manual_seed(0)
    inputs = -torch.ones(40, 3)
    inputs[17] = 1.0  # the only sample for which the first layer is awake
    labels = torch.arange(40) % 2
    model = Sleeper().eval()
    audit = gradsift.audit(model, (inputs, labels), layers="all", detectors=["l2"], show_progress=False)
    loss = nn.functional.cross_entropy(model(inputs[17:18]), labels[17:18])
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm()
    assert audit.table["score_l2"][17].as_py() == pytest.approx(float(exact), rel=1e-5)


def test_a_detector_that_gives_nan_is_refused(blobs, trained, monkeypatch):
    from gradsift.detectors import L2Norm

    monkeypatch.setattr(L2Norm, "score_samples", lambda self, X, y=None: np.where(np.arange(180) == 7, np.nan, 0.0))
    with pytest.raises(gradsift.DataError, match="positions 7"):
        gradsift.audit(trained, blobs[:2], detectors=["l2"], show_progress=False)
