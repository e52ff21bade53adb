import json
import sys
import tempfile
import time

import numpy as np
import pytest
import torch
from torch import nn

import gradsift
from gradsift.plan.batches import Seconds, _spread, _weight
from gradsift.settings import AuditSettings
from tests.support.in_process import gradsift as gradsift_command

STAGES = ["prepare", "gradients", "scores", "report"]


class Slow(torch.utils.data.Dataset):
    """Samples that take their time by a clock of their own, which stands still meanwhile."""

    def __init__(self, seconds):
        self.seconds, self.read, self.now = np.asarray(seconds), [], 0.0

    def __len__(self):
        return len(self.seconds)

    def __getitem__(self, position):
        if position >= len(self):
            raise IndexError(position)
        self.read.append(position)
        self.now += self.seconds[position]
        return torch.tensor([position / len(self), 1.0]), position % 3

    def perf_counter(self):
        return self.now


def planned(monkeypatch, model, data, **settings):
    monkeypatch.setattr(time, "perf_counter", data.perf_counter)
    return gradsift.plan(model, data, settings=AuditSettings(**settings))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def sizes_of(path):
    sizes = {file: file.stat().st_size for file in path.rglob("*") if file.is_file()}
    shards = sum(size for file, size in sizes.items() if file.suffix == ".npy")
    return shards, sum(sizes.values()) - shards


@pytest.mark.parametrize(
    ("layers", "size", "shard_size"), [("last", 7, 2048), ("last", 500, 128), ("all", 700, 2048), ("all", 9000, 4000)]
)
def test_shards_are_counted_to_the_byte_and_the_rest_nearly(model, tmp_path, layers, size, shard_size):
    generator = np.random.default_rng(0)
    data = generator.normal(size=(size, 2)).astype(np.float32), generator.integers(0, 3, size)
    settings = AuditSettings(layers=layers, shard_size=shard_size, projection=32)
    plan = gradsift.plan(model, data, settings=settings)
    audit = gradsift.audit(
        model, data, layers=layers, shard_size=shard_size, projection=32, output=tmp_path / "x", show_progress=False
    )
    shards, rest = sizes_of(audit.run.path)
    assert plan.disk_bytes == shards
    assert plan.table_bytes == pytest.approx(rest, rel=0.25)
    assert plan.samples == size
    assert plan.coverage == audit.details["coverage"]
    assert plan.batch_size == audit.run.config["settings"]["batch_size"]


def test_ids_and_labels_of_several_numbers_are_counted(model, tmp_path):
    data = {"x": np.zeros((40, 2), np.float32), "y": np.eye(3)[np.arange(40) % 3], "id": np.array(["abc"] * 40)}
    plan = gradsift.plan(model, data, task="multilabel")
    audit = gradsift.audit(model, data, task="multilabel", output=tmp_path / "x", show_progress=False)
    assert plan.disk_bytes == sizes_of(audit.run.path)[0]


def test_stages_are_those_of_the_timing_and_add_up(model):
    plan = gradsift.plan(model, (np.zeros((50, 2), np.float32), np.arange(50) % 3))
    assert list(plan.stages) == STAGES
    assert all(seconds > 0 for seconds in plan.stages.values())
    assert plan.seconds == pytest.approx(sum(plan.stages.values()))
    assert 0 < plan.seconds_low < plan.seconds < plan.seconds_high
    assert plan.device_memory_bytes is None
    assert json.loads(json.dumps(plan.to_dict())) == plan.to_dict()


def test_samples_that_grow_towards_the_end_are_not_taken_for_short_ones(model, monkeypatch):
    data = Slow(np.linspace(0, 0.01, 2000))
    plan = planned(monkeypatch, model, data, batch_size=20)
    assert plan.stages["gradients"] == pytest.approx(10, rel=0.1)
    assert plan.probed < 1000
    assert max(data.read[:-1]) >= 1600


def test_lengths_that_come_at_random_are_known_within_the_interval(model, monkeypatch):
    for seed in range(4):
        data = Slow(0.002 * np.random.default_rng(seed).lognormal(0, 1, 5000))
        plan = planned(monkeypatch, model, data, batch_size=32)
        assert plan.probed < 4000
        off = abs(plan.stages["gradients"] - data.seconds.sum())
        assert off < min(0.25 * data.seconds.sum(), plan.seconds_high - plan.seconds)


def test_a_small_data_set_is_run_as_it_is(model, monkeypatch):
    plan = planned(monkeypatch, model, Slow(np.full(60, 0.01)), batch_size=20)
    assert plan.probed == 60
    assert plan.stages["gradients"] == pytest.approx(0.6)


def test_a_data_set_sorted_by_label_whose_probes_are_of_one_class(model, monkeypatch):
    monkeypatch.setattr(sys.modules["gradsift.plan.batches"], "BUDGET", 0.0)
    data = np.zeros((9000, 2), np.float32), np.repeat([0, 1], [8990, 10])
    plan = gradsift.plan(model, data, settings=AuditSettings(batch_size=16))
    assert plan.probed == 16
    assert plan.seconds_high > 1.1 * plan.seconds


def test_memory_holds_what_the_passes_take_for_a_while():
    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, 3)

        def forward(self, x):
            torch.ones(208 * 2**18).sum()  # 208 MiB; pages that were free before are not seen to be taken
            return self.last(x)

    plan = gradsift.plan(Hungry().eval(), (np.zeros((20, 2), np.float32), np.arange(20) % 3))
    if sys.platform == "linux":
        assert 200 * 2**20 < plan.memory_bytes < 400 * 2**20


def test_memory_that_runs_out_halves_the_batch(model, monkeypatch):
    real = model.forward

    def scarce(x):
        if len(x) > 16:
            raise torch.OutOfMemoryError("out of memory")
        return real(x)

    monkeypatch.setattr(model, "forward", scarce)
    plan = gradsift.plan(
        model, (np.zeros((100, 2), np.float32), np.arange(100) % 3), settings=AuditSettings(batch_size=64)
    )
    assert plan.batch_size == 16
    assert plan.probed == 100


def test_nothing_is_left_on_disk(model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gradsift.plan(model, (np.zeros((700, 2), np.float32), np.arange(700) % 3))
    assert not list(tmp_path.iterdir())


def test_what_the_audit_would_refuse_is_refused(model):
    inputs = np.zeros((50, 2), np.float32)
    inputs[49] = np.nan
    with pytest.raises(gradsift.DataError, match="positions 49 hold NaN"):
        gradsift.plan(model, (inputs, np.arange(50) % 3))
    with pytest.raises(gradsift.ModelError, match="train mode"):
        gradsift.plan(nn.Sequential(nn.Dropout(), *model), (np.zeros((9, 2), np.float32), np.arange(9) % 3))


class Words(torch.utils.data.Dataset):
    """Samples of different lengths, padded to the longest of a batch."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, position):
        if position >= len(self):
            raise IndexError(position)
        return [position % 7 + 1] * int(self.lengths[position]), position % 3

    def collate(self, samples):
        words = [torch.tensor(words) for words, _ in samples]
        return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor([label for _, label in samples])


def test_memory_holds_the_longest_sample_wherever_it_lies():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.last = nn.Embedding(8, 64, padding_idx=0), nn.Linear(64, 3)

        def forward(self, x):
            return self.last(self.words(x).sum(dim=1))

    torch.manual_seed(0)
    lengths = np.full(2000, 5)
    lengths[1234] = 20_000
    plan = gradsift.plan(Pooled().eval(), Words(lengths), settings=AuditSettings(batch_size=20))
    if sys.platform == "linux":
        assert plan.memory_bytes > 20 * 20_000 * 64 * 4


def filled(size, sizes, weights, seconds, places=None):
    found = Seconds(size, np.array(sizes), np.array(weights))
    for place, one in zip(range(len(seconds)) if places is None else places, seconds, strict=True):
        found.add(place, one)
    return found


def test_batches_of_one_weight_are_followed_by_their_mean():
    sizes = [10] * 99 + [5]
    even = filled(995, sizes, sizes, [5.0, 1.0, 1.0, 0.5], [0, 1, 2, 99])
    assert even.total == pytest.approx(99.5 + 4)  # the first batch came cold, once
    assert even.unsure == pytest.approx(0, abs=1e-6)
    uneven = filled(1000, [10] * 100, [10] * 100, [1.0, 1.0, 2.0, 3.0])
    assert uneven.total == pytest.approx(200)
    assert uneven.unsure == pytest.approx(4.303 * 1 / 3**0.5 / 2, rel=1e-3)  # Student's t of two degrees of freedom
    assert filled(1000, [10] * 100, [10] * 100, [1.0, 2.0]).unsure == 0.5


def test_all_batches_are_added_up():
    found = filled(20, [10, 10], [10, 30], [5.0, 1.0])
    assert (found.whole, found.total, found.unsure, found.probed) == (True, 6, 0, 20)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_batches_that_weigh_more_cost_more(power):
    sizes, weights = np.full(200, 8), 8 * np.arange(1, 201)
    cost = 0.5 + (weights / 800.0) ** power
    places = [100, 199, *range(0, 200, 40)]
    found = filled(1600, sizes, weights, cost[places], places)
    assert found.total == pytest.approx(cost.sum(), rel=1e-6)
    assert found.unsure < 0.01
    known = filled(3200, sizes, weights, cost[places], places)  # as many batches again, of which nothing is known
    assert known.total == pytest.approx(2 * cost.sum(), rel=1e-6)
    assert known.unsure > found.unsure or power == 0


def test_the_weight_of_a_sample_is_what_it_holds():
    assert _weight((torch.zeros(3, 4), 1)) == 13
    assert _weight({"ids": [1, 2, 3], "text": "four", "array": np.zeros((2, 2)), "number": np.float32(1)}) == 12


@pytest.mark.parametrize("count", [1, 2, 7, 100, 5000])
def test_an_order_is_spread_evenly_wherever_it_ends(count):
    order = _spread(count)
    assert len(set(order)) == len(order) == min(count, 4096)
    some = np.sort(order[:50])
    assert np.diff(some, prepend=0, append=count).max() <= max(2, count / 15)


def test_the_command_says_it_in_words(tmp_path):
    (tmp_path / "maker.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n    return torch.nn.Linear(2, 3).eval()\n"
    )
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "".join(f"{i},{i % 7},{i % 3}\n" for i in range(60)))

    def run(*more):
        return gradsift_command("plan", "--model", "maker:make", "--data", "rows.csv", *more, cwd=tmp_path).stdout

    words = " ".join(run().split())
    for one in ("60 samples", "About", "to begin", "of gradients", "of scores and page", "beyond model and data set"):
        assert one in words
    options = ("--batch-size", "16", "--shard-size", "32", "--layers", "all", "--projection", "8", "--detectors", "l2")
    asked = json.loads(run("--json", *options))
    assert asked["batch_size"] == 16
    assert (
        asked["disk_bytes"] == 60 * (4 + 4 + 8 + 3 * 4) + 2 * 4 * 128
    )  # loss, l2, label, prediction: no rows are read
    found = json.loads(run("--json"))
    assert found["samples"] == 60
    assert list(found["stages"]) == STAGES
    assert found["seconds_low"] < found["seconds"] < found["seconds_high"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["maker.py", "rows.csv"]
