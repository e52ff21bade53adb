import errno
import json
import os
import pickle
import tempfile
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

import gradsift
from gradsift import Audit
from gradsift.data.files import load
from gradsift.errors import DataError, ModelError, RunDirectoryError, SettingError, UnsafeFileError
from gradsift.loading import load_weights

N = 40
PROBED = [0, N - 1]  # positions that the checks before a run look at
UNPROBED = [1, 7, N - 2]


def arrays(n=N):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 2


def linear(classes=2):
    torch.manual_seed(0)
    return nn.Linear(3, classes).eval()


def audit(train_set=None, model=None, **more):
    more = {"detectors": ("l2",), "show_progress": False, "shard_size": 16} | more
    return gradsift.audit(model or linear(), arrays() if train_set is None else train_set, **more)


def full(*_args, **_keywords):
    raise OSError(errno.ENOSPC, "No space left on device")


class Map(Dataset):
    def __init__(self, noise=0.0):
        (self.x, self.y), self.noise = arrays(), noise

    def __len__(self):
        return N

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]) + self.noise * torch.randn(3), int(self.y[i])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Map())


class Own:
    """A task of the user's own whose losses are spoilt in some way."""

    def __init__(self, spoil):
        self.spoil = spoil

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return self.spoil(F.cross_entropy(outputs, batch[1], reduction="none"), batch[0])


def test_what_is_good_passes():
    found = audit(contamination=0.1)
    assert len(found) == N
    assert len(found.flagged_positions) == 4


@pytest.mark.parametrize(
    ("train_set", "telling"),
    [
        ((np.zeros((0, 3), np.float32), np.zeros(0)), "is empty: there is no sample to audit"),
        ([], "is empty"),
        ((arrays()[0], arrays()[1][:-1]), r"different lengths \[40, 39\]"),
        (DataLoader(Map(), shuffle=True), r"pass DataLoader\(dataset, shuffle=False\)"),
        (Stream(), "has no length or no positions"),
        (DataLoader(Stream()), "over an IterableDataset, which has no length"),
        (arrays()[0], "no label|labels"),
        ({"x": arrays()[0], "z": arrays()[1]}, r"no label in a sample with the keys \['x', 'z'\]"),
        ([(x, "cat") for x in arrays()[0]], "words|text|strings|numbers"),
        ((arrays()[0], arrays()[1].tolist()), "arrays?"),
    ],
    ids=[
        "empty",
        "empty list",
        "lengths",
        "shuffles",
        "stream",
        "stream loader",
        "array",
        "keys",
        "list of words",
        "list",
    ],
)
def test_data_sets_that_cannot_be_audited_are_refused(train_set, telling):
    with pytest.raises(DataError, match=telling):
        audit(train_set)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label):
    x, y = arrays()
    with pytest.raises(DataError, match=f"all 40 samples have the label {label}"):
        audit((x, np.full_like(y, label)))


@pytest.mark.parametrize("position", PROBED + UNPROBED)
@pytest.mark.parametrize("label", [2, -1])
def test_labels_out_of_range_are_named_by_position(position, label):
    x, y = arrays()
    y[position] = label
    with pytest.raises(
        DataError, match=rf"labels are outside 0 \.\.\. 1.*at positions {position}\. Number the classes"
    ):
        audit((x, y))


@pytest.mark.parametrize("position", PROBED + UNPROBED)
def test_labels_that_are_nan_are_named_by_position(position):
    x, y = arrays()
    y = y.astype(np.float32)
    y[position] = np.nan
    for task in ("classification", "regression"):
        with pytest.raises(DataError, match=rf"NaN.*|.*positions {position}") as caught:
            audit((x, y), linear(1 if task == "regression" else 2), task=task)
        assert f"positions {position}" in str(caught.value)


@pytest.mark.parametrize("position", PROBED + UNPROBED)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_named_by_position(position, value):
    x, y = arrays()
    x[position, 1] = value
    with pytest.raises(DataError, match=f"positions {position} hold NaN or infinite numbers"):
        audit((x, y))


@pytest.mark.parametrize("position", PROBED + UNPROBED)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_losses_and_gradients_that_are_not_finite_are_named_by_position(position, value):
    x, y = arrays()
    task = Own(lambda losses, inputs: losses * torch.where((inputs == torch.tensor(x[position])).all(1), value, 1.0))
    with pytest.raises(DataError, match=f"is NaN or infinite for the samples at positions {position}:"):
        audit((x, y), task=task)


def test_a_finite_loss_with_an_infinite_gradient_is_named_by_position():
    x, y = arrays()

    def spoil(losses, inputs):
        here = (inputs == torch.tensor(x[7])).all(1)
        return losses + torch.where(here, losses - losses.detach(), 1.0).sqrt()

    with pytest.raises(DataError, match="is NaN or infinite for the samples at positions 7:"):
        audit((x, y), task=Own(spoil))


@pytest.mark.parametrize(
    ("spoil", "given"),
    [(lambda losses, _: losses.mean(), r"shape \(\)"), (lambda losses, _: losses[:, None], r"shape \(1, 1\)")],
    ids=["mean", "column"],
)
def test_a_loss_that_is_not_one_value_a_sample_is_refused(spoil, given):
    with pytest.raises(ModelError, match=rf'gave {given} for 1 samples.*reduction="none"'):
        audit(task=Own(spoil))


def test_layers_in_train_mode_are_named():
    for layer in (nn.BatchNorm1d(3), nn.Dropout(0.5)):
        with pytest.raises(
            ModelError, match=rf"layer '0' \({type(layer).__name__}\) is in train mode.*model\.eval\(\)"
        ):
            audit(model=nn.Sequential(layer, nn.Linear(3, 2)))
    with pytest.raises(ModelError, match="no running statistics"):
        audit(model=nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 2)).eval())


def test_a_model_split_over_devices_is_refused():
    split = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2, device="meta")).eval()
    with pytest.raises(ModelError, match=r"\['cpu', 'meta'\], one device is needed"):
        audit(model=split)
    with pytest.raises(ModelError, match="there are none"):
        audit(model=nn.Identity())


class MixesSamples(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Tuple(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


class Random(nn.Linear):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, training=True))


@pytest.mark.parametrize("kind", [MixesSamples, Random])
@pytest.mark.parametrize("last", [False, True], ids=["in the last layer", "before the last layer"])
def test_models_whose_samples_depend_on_each_other_or_on_chance_are_refused(kind, last):
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 3), nn.Linear(3, 2)) if last else kind(3, 2)
    with pytest.raises(ModelError, match="of a sample alone differs from"):
        audit(model=model.eval())


def test_models_that_do_not_serve_are_refused():
    with pytest.raises(ModelError, match="returns a tuple"):
        audit(model=Tuple(3, 2).eval())
    with pytest.raises(ModelError, match='task="binary"'):
        audit(model=linear(1))
    with pytest.raises(ModelError, match="no trainable parameter"):
        audit(model=linear().requires_grad_(False))


@pytest.mark.parametrize("model", [lambda x: x, "model.pt", nn.Linear], ids=["function", "path", "class"])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ModelError, match=r"nn\.Module"):
        gradsift.audit(model, arrays(), show_progress=False)


def test_a_data_set_that_gives_another_sample_on_the_second_read_is_refused():
    with pytest.raises(DataError, match=r"another sample at position 0 when it is read a second time.*augmentation"):
        audit(Map(noise=1.0))


def test_a_refused_data_set_leaves_nothing_in_the_way_of_the_mended_one(tmp_path):
    with pytest.raises(DataError, match="second time"):
        audit(Map(noise=1.0), output=tmp_path / "x")
    assert len(audit(Map(), output=tmp_path / "x")) == N


@pytest.mark.parametrize("share", [0, 0.6, 1, -1, -0.1, "half", None, float("nan")])
def test_shares_outside_their_range_are_refused(share):
    with pytest.raises(SettingError, match=r"contamination is the share of samples to flag, in \(0, 0\.5\]"):
        audit(contamination=share)


@pytest.mark.parametrize(
    ("settings", "telling"),
    [
        ({"detector": "l3"}, "unknown detector 'l3': choose among l2, l1"),
        ({"detectors": ("l2", "zscore")}, "unknown detector 'zscore'"),
        ({"detector": "sklearn.absent:Thing"}, "sklearn.absent"),
        ({"detector": "sklearn.ensemble:AbsentForest"}, "AbsentForest"),
        ({"task": "classify"}, "unknown task 'classify'"),
        ({"task": nn.CrossEntropyLoss()}, r"outputs\(model, batch\)"),
        ({"layers": "head.*"}, r"no trainable parameter matches layers='head\.\*'"),
        ({"batch_size": 0}, "batch_size"),
        ({"shard_size": 0}, "shard_size"),
        ({"precision": "int8"}, "precision"),
        ({"layers": "all", "projection": 0, "detector": "isolation_forest"}, "at least 1 dimension"),
        (
            {"layers": "all", "projection_kind": "dense", "detector": "isolation_forest"},
            "projection_kind is kronecker, sparse or gaussian; given 'dense'",
        ),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_settings_that_are_unknown_or_out_of_range_are_refused(settings, telling):
    with pytest.raises(SettingError, match=telling):
        audit(**settings)


@pytest.mark.parametrize(
    "detector", ["self_confidence", "normalized_margin", "confidence_weighted_entropy", "l2_per_class"]
)
def test_detectors_of_labels_are_refused_where_there_are_no_classes(detector):
    x, y = arrays()
    with pytest.raises(
        SettingError, match=f"detector '{detector}' needs class labels, and the task Regression has none"
    ):
        audit((x, y.astype(np.float32)), linear(1), task="regression", detector=detector)
    with pytest.raises(SettingError, match="task Own has none"):
        audit(task=Own(lambda losses, _: losses), detector=detector)


def test_names_and_shares_of_numpy_are_taken(tmp_path):
    share, names = (np.arange(N) % 10 == 0).mean(), np.array(["cat", "dog"])
    found = audit(contamination=share, class_names=names, output=tmp_path / "x")
    assert len(found.flagged_positions) == 4
    assert Audit.open(tmp_path / "x").class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    "change", [torch.Tensor.bfloat16, torch.Tensor.half, torch.Tensor.double, torch.Tensor.requires_grad_]
)
def test_inputs_of_every_floating_type_are_taken(change):
    x, y = arrays()
    inputs = change(torch.from_numpy(x))
    assert len(audit((inputs, torch.from_numpy(y)))) == N
    assert len(audit([(inputs[i], int(y[i])) for i in range(N)])) == N


def test_ids_that_are_words_reach_the_table():
    x, y = arrays()
    ids = [f"sample {i}" for i in range(N)]
    for train_set in (
        [{"x": torch.from_numpy(a), "label": int(b), "id": c} for a, b, c in zip(x, y, ids, strict=True)],
        {"x": x, "label": y, "id": np.array(ids)},
    ):
        assert audit(train_set).table["id"].to_pylist() == ids


@pytest.mark.parametrize("kind", ["file", "folder", "below a file"])
def test_outputs_that_are_taken_or_cannot_be_written_are_refused(tmp_path, kind):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("precious")
    output = {"file": "file", "folder": "folder", "below a file": "file/x"}[kind]
    for overwrite in (False, True):
        with pytest.raises(RunDirectoryError, match=r"choose (another place|a directory that you can write)"):
            audit(output=tmp_path / output, overwrite=overwrite)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.tex").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_output_is_refused_before_the_data_are_read(tmp_path, monkeypatch):
    class Unread:
        def __len__(self):
            return 40

    (tmp_path / "file").write_text("precious")
    audit(output=tmp_path / "x")
    model = torch.nn.Linear(4, 2).eval()
    for name, words in (("x", "holds a whole run"), ("file/x", "is no folder that you can write")):
        with pytest.raises(RunDirectoryError, match=words):
            gradsift.audit(model, Unread(), output=tmp_path / name)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunDirectoryError, match="is no folder that you can write"):
        gradsift.audit_part(model, Unread(), (1, 2), output=tmp_path / "y/z")


def test_a_whole_run_is_refused_without_overwrite(tmp_path):
    audit(output=tmp_path / "x", contamination=0.1)
    with pytest.raises(RunDirectoryError, match=r"holds a whole run: pass --overwrite \(overwrite=True\)"):
        audit(output=tmp_path / "x")
    audit(output=tmp_path / "x", contamination=0.25, overwrite=True)
    assert len(Audit.open(tmp_path / "x").flagged_positions) == 10


def test_an_unfinished_run_of_another_model_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(RunDirectoryError, match="disk is full"):
            audit(output=tmp_path / "x")
    torch.manual_seed(1)
    with pytest.raises(RunDirectoryError, match=r"x\.part was begun with another model, data set or settings"):
        audit(model=nn.Linear(3, 2).eval(), output=tmp_path / "x")
    with pytest.raises(RunDirectoryError, match="give the same command again"):
        Audit.open(tmp_path / "x")


@pytest.mark.parametrize("shard", range(3))
def test_a_full_disk_is_reported_and_the_same_call_goes_on(tmp_path, monkeypatch, shard):
    save = np.save

    def sometimes(path, *args, **keywords):
        (full if f"shard-{shard:05d}" in str(path) else save)(path, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", sometimes)
        with pytest.raises(RunDirectoryError, match="disk is full: free some space and give the same command again"):
            audit(output=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    resumed, fresh = audit(output=tmp_path / "x"), audit(output=tmp_path / "y")
    assert resumed.table.equals(fresh.table)
    assert resumed.details == fresh.details
    for path in (tmp_path / "y" / "gradients").rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "x" / path.relative_to(tmp_path / "y")).read_bytes()


def damage_manifest(run):
    (run / "manifest.json").write_text('{"complete": tr')


def damage_table(run):
    (run / "scores.parquet").write_bytes((run / "scores.parquet").read_bytes()[:50])


def damage_shard(run):
    path = run / "gradients" / "checkpoint-000" / "shard-00001" / "l2.npy"
    path.write_bytes(path.read_bytes()[:-5])


def lose_shard(run):
    (run / "gradients" / "checkpoint-000" / "shard-00002" / "l2.npy").unlink()


def lose_table(run):
    (run / "scores.parquet").unlink()


@pytest.mark.parametrize("damage", [damage_manifest, damage_table, damage_shard, lose_shard, lose_table])
def test_a_corrupt_run_directory_is_refused(tmp_path, damage):
    audit(output=tmp_path / "x")
    damage(tmp_path / "x")
    with pytest.raises(RunDirectoryError, match=r"audit again|corrupt"):
        Audit.open(tmp_path / "x").gradients.norms(2)


def flip_in_shard(run):
    path = run / "gradients" / "checkpoint-000" / "shard-00000" / "loss.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def lose_config(run):
    (run / "config.yaml").unlink()


def cut_config(run):
    (run / "config.yaml").write_text("settings: {batch_")


def empty_manifest(run):
    (run / "manifest.json").write_text("")


def add_notes(run):
    (run / "gradients" / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    "damage",
    [damage_shard, lose_shard, flip_in_shard, lose_config, cut_config, damage_manifest, empty_manifest, add_notes],
)
def test_a_damaged_unfinished_run_heals(tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(RunDirectoryError, match="disk is full"):
            audit(output=tmp_path / "x", batch_size=8)
    damage(tmp_path / "x.part")
    healed, fresh = audit(output=tmp_path / "x", batch_size=8), audit(output=tmp_path / "y", batch_size=8)
    assert healed.table.equals(fresh.table)
    assert healed.details == fresh.details
    for path in (tmp_path / "y").rglob("*"):
        if path.is_file() and path.name != "timing.json":
            assert path.read_bytes() == (tmp_path / "x" / path.relative_to(tmp_path / "y")).read_bytes(), path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_data_mended_after_a_failed_audit_finds_nothing_in_its_way(tmp_path):
    x, y = arrays()
    broken = x.copy()
    broken[0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        audit((broken, y), output=tmp_path / "x")
    assert not list(tmp_path.iterdir())
    assert len(audit((x, y), output=tmp_path / "x")) == N


def test_a_failed_audit_without_output_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(RunDirectoryError, match="disk is full"):
            audit()
    assert not list(tmp_path.iterdir())


def test_pickles_are_refused_as_weights_and_as_data(tmp_path):
    torch.save(linear(), tmp_path / "model.pt")
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(arrays()))
    with pytest.raises(UnsafeFileError, match=r"model\.pt.* could run code: save model\.state_dict"):
        load_weights(tmp_path / "model.pt")
    with pytest.raises(UnsafeFileError, match=r"data\.pkl is a pickle, which can run code"):
        load(tmp_path / "data.pkl")


def test_a_refused_audit_leaves_the_model_as_it_was():
    model = linear()
    before = {name: (p.requires_grad, p.detach().clone()) for name, p in model.named_parameters()}
    x, y = arrays()
    y[7] = 9
    with pytest.raises(DataError):
        audit((x, y), model)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == before[name][0]
        assert torch.equal(parameter, before[name][1])
        assert parameter.grad is None
    assert not any(module._forward_hooks for module in model.modules())


@dataclass(slots=True)
class OnlySlots:
    """Has no __dict__ at all."""

    power: float = 1.0

    def outputs(self, model, batch):
        return model(batch[0])

    def losses(self, outputs, batch):
        return self.power * F.cross_entropy(outputs, batch[1], reduction="none")


def test_tasks_with_slots_are_taken_and_told_apart():
    first, second = audit(task=OnlySlots()), audit(task=OnlySlots(2.0))
    assert first.details["fingerprint"] != second.details["fingerprint"]


def test_a_task_that_holds_a_function_is_the_same_run_in_another_process():
    assert " at 0x" not in audit(task=Own(lambda losses, _: losses)).details["task"]


def test_a_whole_run_says_what_it_was_made_of(tmp_path):
    audit(output=tmp_path / "x")
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["data_fingerprint_covers"] == "all samples"
    assert manifest["shards"] == [16, 16, 8]


def test_a_model_that_does_not_fit_the_data_is_refused_with_the_shapes():
    x, y = np.zeros((20, 5), np.float32), np.arange(20) % 3
    with pytest.raises(
        gradsift.ModelError, match=r"does not run on a batch with tensors of shapes \[\(8, 5\), \(8,\)\]"
    ):
        gradsift.audit(nn.Linear(7, 3).eval(), (x, y), show_progress=False)
