"""The neighbours that workers find, against those of one process."""

import numpy as np
import pytest
import torch

import gradsift
from gradsift.detectors.found_neighbours import FoundNeighbourhood, Search
from gradsift.detectors.neighbours import CHUNK, Neighbourhood
from gradsift.engines import Local, neighbours
from gradsift.engines.neighbours import FOLDER, FindNeighbours, forget_neighbours
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix, RunDirectory
from gradsift.store.partition import Partition
from gradsift.store.shards import shard_folder
from tests.support.run_bytes import bytes_of

SAMPLES = 2 * CHUNK + 300
SEARCH = Search(count=7, references=500, seed=3)


class TwoWorkers:
    """An engine whose workers share nothing but the run directory."""

    load = None

    def __init__(self):
        self.stages = []

    def map(self, stage, partition, *, show_progress=True):
        self.stages.append(type(stage).__name__)
        shares = []
        for first in (1, 0):
            stage.setup()
            shares.append(stage.run(range(first, len(partition), 2)))
        return shares


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((SAMPLES, 9)).astype(np.float32)


@pytest.fixture
def run(tmp_path, features):
    partition = Partition(SAMPLES, 500)
    with RunDirectory.begin(tmp_path / "run", "f" * 64, {"settings": {"batch_size": 1}}) as run:
        for shard in range(len(partition)):
            run.write_shard(0, shard, {"features": features[partition.rows(shard)]})
        run.record_shards(partition.lengths)
        yield run


def found_by_workers(run, search=SEARCH):
    stage = FindNeighbours.of(run, search, SAMPLES)
    stage.partition = Partition(SAMPLES, CHUNK)
    shares = TwoWorkers().map(stage, stage.partition)
    folders = [shard_folder(run.path, FOLDER, block) for block in range(len(stage.partition))]
    return FoundNeighbourhood(search, folders, stage.partition.lengths), sum(share.computed for share in shares)


def test_workers_find_to_the_last_bit_what_one_process_finds(run, features):
    found, computed = found_by_workers(run)
    assert computed == 3
    expected = Neighbourhood(ArrayMatrix(features), SEARCH.count, references=SEARCH.references, seed=SEARCH.seed)
    everyone = np.arange(SAMPLES)
    assert np.array_equal(found.references, expected.references)
    assert np.array_equal(found.numbers.rows(everyone), expected.numbers.rows(everyone))
    assert np.array_equal(found.cosines, expected.cosines)


def test_what_is_whole_is_kept_and_what_is_damaged_or_of_another_search_is_found_again(run):
    found_by_workers(run)
    assert found_by_workers(run)[1] == 0
    damaged = shard_folder(run.path, FOLDER, 1) / "neighbour.npy"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"gone")
    assert found_by_workers(run)[1] == 1
    assert found_by_workers(run, Search(count=7, references=500, seed=4))[1] == 3
    forget_neighbours(run)
    assert not shard_folder(run.path, FOLDER, 0).parent.exists()


def test_a_belief_asks_found_neighbours_only_where_it_would_search_the_same(run, features):
    found, _ = found_by_workers(run)
    predictions = np.full((SAMPLES, 2), 0.5)
    evidence = Evidence(predictions, features, neighbourhood=found)
    for references, same in ((500, True), (400, False)):
        detector = gradsift.detectors.WrongLabelPosterior(neighbours=7, references=references, random_state=3)
        detector.fit(evidence, np.arange(SAMPLES) % 2)
        assert (detector.belief_.neighbourhood is found) is same


def test_the_run_of_an_engine_that_finds_neighbours_is_that_of_one_process(tmp_path, monkeypatch, features):
    monkeypatch.setattr(neighbours, "WORTH", 1000)
    monkeypatch.setattr(neighbours, "BLOCK", CHUNK)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)).eval()
    data, options = (features, np.arange(SAMPLES) % 2), {"show_progress": False, "detectors": ["posterior"]}
    engine = TwoWorkers()
    gradsift.audit(model, data, output=tmp_path / "workers", engine=engine, **options)
    gradsift.audit(model, data, output=tmp_path / "alone", engine=Local(), **options)
    assert engine.stages == ["CollectShards", "FindNeighbours"]
    assert bytes_of(tmp_path / "workers") == bytes_of(tmp_path / "alone")
