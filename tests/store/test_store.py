import errno
import json
import logging
import random
import shutil
import sqlite3
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradsift.data import Samples
from gradsift.errors import DataError, RunDirectoryError, SettingError
from gradsift.gradients import Batcher, PerSampleGradients, Projection, Reductions
from gradsift.store import (
    ArrayMatrix,
    FactoredMatrix,
    GradientMatrix,
    RunDirectory,
    ShardedArray,
    StoredMatrix,
    as_gradient_matrix,
    collect,
    fingerprint_model,
    fingerprint_settings,
    gradient_matrix,
)
from gradsift.store.collect import ReadAhead
from gradsift.tasks import Classification

CONFIG = {"settings": {"batch_size": 4}}


def write(run, lengths=(3, 2), **more):
    for shard, length in enumerate(lengths):
        values = np.arange(length, dtype=np.float32) + 10 * shard
        run.write_shard(0, shard, {"loss": values, "l2": 2 * values} | more)
    run.record_shards(lengths)
    return run


def whole(place, fingerprint="f"):
    run = write(RunDirectory.begin(place, fingerprint, CONFIG))
    run.finish()
    return run


def sharded(folder, array, cuts):
    bounds = [0, *cuts, len(array)]
    paths, lengths = [], []
    for start, stop in pairwise(bounds):
        paths.append(folder / f"{start}.npy")
        lengths.append(stop - start)
        np.save(paths[-1], array[start:stop])
    return ShardedArray(paths, lengths)


def test_a_run_is_written_as_part_and_renamed_when_whole(tmp_path):
    place = tmp_path / "deep" / "x"
    run = RunDirectory.begin(place, "f", CONFIG)
    assert not place.exists()
    assert run.path == tmp_path / "deep" / "x.part"
    assert run.read_json("manifest.json") == {
        "format": 2, "fingerprint": "f", "complete": False, "batch_size": 4,
    }  # fmt: skip
    assert run.config == CONFIG
    assert not run.has_shard(0, 0)
    write(run)
    assert run.has_shard(0, 1)
    run.finish()
    assert run.path == place
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["x"]
    opened = RunDirectory.open(place)
    assert opened.read_json("manifest.json")["complete"]
    assert opened.stored() == {"loss", "l2"}
    assert opened.statistic("loss").load().tolist() == [0, 1, 2, 10, 11]
    assert opened.statistic("l2").rows([4, 0]).tolist() == [22, 0]


def test_the_same_run_takes_up_its_part_with_the_config_it_began_with(tmp_path):
    write(RunDirectory.begin(tmp_path / "x", "f", CONFIG))
    again = RunDirectory.begin(tmp_path / "x", "f", {"settings": {"batch_size": 99}})
    assert again.has_shard(0, 1)
    assert again.config == CONFIG


def test_a_part_of_another_run_is_refused_and_left_unless_it_is_to_be_replaced(tmp_path):
    write(RunDirectory.begin(tmp_path / "x", "f", CONFIG))
    with pytest.raises(RunDirectoryError, match=r"x\.part was begun with another model.*pass --overwrite"):
        RunDirectory.begin(tmp_path / "x", "other", CONFIG)
    assert RunDirectory.begin(tmp_path / "x", "f", CONFIG).has_shard(0, 1)
    assert not RunDirectory.begin(tmp_path / "x", "other", CONFIG, overwrite=True).has_shard(0, 1)


def test_a_whole_run_is_refused_without_overwrite_and_replaced_only_when_the_new_one_is_whole(tmp_path):
    place = whole(tmp_path / "x").path
    with pytest.raises(RunDirectoryError, match="--overwrite"):
        RunDirectory.begin(place, "f", CONFIG)
    run = RunDirectory.begin(place, "new", CONFIG, overwrite=True)
    assert RunDirectory.open(place).read_json("manifest.json")["fingerprint"] == "f"
    write(run, lengths=(2,))
    run.finish()
    assert RunDirectory.open(place).read_json("manifest.json")["fingerprint"] == "new"
    assert len(RunDirectory.open(place).statistic("loss")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_directory_is_never_touched(tmp_path, overwrite):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("folder", "file"):
        with pytest.raises(RunDirectoryError, match="is no run directory: choose another place"):
            RunDirectory.begin(tmp_path / name, "f", CONFIG, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "precious"


def test_a_foreign_part_is_refused(tmp_path):
    (tmp_path / "x.part").mkdir()
    (tmp_path / "x.part" / "notes").write_text("precious")
    with pytest.raises(RunDirectoryError, match=r"x\.part is no run directory"):
        RunDirectory.begin(tmp_path / "x", "f", CONFIG)
    assert (tmp_path / "x.part" / "notes").exists()


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "x").mkdir()
    assert whole(tmp_path / "x").path.is_dir()


def test_the_working_directory_itself_gives_a_clear_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"choose another place|name"):
        RunDirectory.begin(".", "f", CONFIG)


def test_opening_an_unfinished_run_says_to_repeat_the_command(tmp_path):
    run = write(RunDirectory.begin(tmp_path / "x", "f", CONFIG))
    with pytest.raises(RunDirectoryError, match=r"x\.part is an unfinished run, give the same command again"):
        RunDirectory.open(tmp_path / "x")
    with pytest.raises(RunDirectoryError, match=r"not a whole run: give the same audit command again"):
        RunDirectory.open(run.path)
    with pytest.raises(RunDirectoryError, match=r"is no run directory: it is absent$"):
        RunDirectory.open(tmp_path / "absent")


@pytest.mark.parametrize("content", ["", "{", '{"complete": tru', "[1, 2]", "null"])
def test_a_corrupt_manifest_is_named(tmp_path, content):
    place = whole(tmp_path / "x").path
    (place / "manifest.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"manifest\.json"):
        RunDirectory.open(place)


def test_a_missing_manifest_and_another_format_are_named(tmp_path):
    place = whole(tmp_path / "x").path
    (place / "manifest.json").write_text(json.dumps({"format": 99, "complete": True}))
    with pytest.raises(RunDirectoryError, match="format 99, this gradsift reads 1 and 2"):
        RunDirectory.open(place)
    (place / "manifest.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"manifest\.json cannot be read"):
        RunDirectory.open(place)


@pytest.mark.parametrize("content", ["- 1\n", "", "a: [", None])
def test_a_corrupt_config_is_named(tmp_path, content):
    run = whole(tmp_path / "x")
    path = run.path / "config.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunDirectoryError, match=r"config\.yaml"):
        _ = run.config


def test_missing_statistics_and_shards_are_named(tmp_path):
    run = whole(tmp_path / "x")
    with pytest.raises(RunDirectoryError, match="has no 'l1'"):
        run.statistic("l1")
    (run.path / "gradients" / "checkpoint-000" / "shard-00001" / "loss.npy").unlink()
    with pytest.raises(RunDirectoryError, match=r"'loss' \(1 shards are missing\): audit again"):
        run.statistic("loss")


@pytest.mark.parametrize("size", [0, 4, 60, 130])
def test_a_truncated_shard_is_named(tmp_path, size):
    run = whole(tmp_path / "x")
    path = run.path / "gradients" / "checkpoint-000" / "shard-00001" / "loss.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunDirectoryError, match=r"shard-00001.*loss\.npy cannot be read"):
        run.statistic("loss").load()


def test_a_shard_of_another_length_or_with_objects_is_named(tmp_path):
    run = whole(tmp_path / "x")
    path = run.path / "gradients" / "checkpoint-000" / "shard-00000" / "loss.npy"
    np.save(path, np.zeros(7))
    with pytest.raises(RunDirectoryError, match="does not fit its checksum"):
        run.statistic("loss")
    with pytest.raises(RunDirectoryError, match="7 rows instead of 3"):
        ShardedArray([path], [3])
    np.save(path, np.array([object] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        ShardedArray([path], [3])


def test_a_shard_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    run, save = RunDirectory.begin(tmp_path / "x", "f", CONFIG), np.save

    def full(path, array, **keywords):
        if "l2" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, array, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(RunDirectoryError, match=r"the disk is full: free some space.*it resumes"):
            write(run)
    assert not run.has_shard(0, 0)
    run.close()
    assert write(RunDirectory.begin(tmp_path / "x", "f", CONFIG)).has_shard(0, 0)


def test_a_full_disk_at_the_very_start_can_be_tried_again(tmp_path, monkeypatch):
    def full(*_args, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(RunDirectoryError, match="the disk is full"):
            RunDirectory.begin(tmp_path / "x", "f", CONFIG)
    assert whole(tmp_path / "x").path.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_json_is_replaced_whole(tmp_path, monkeypatch):
    run = RunDirectory.begin(tmp_path / "x", "f", CONFIG)
    run.write_json("timing.json", {"a": 1})

    def cut(self, text, **_keywords):
        self.write_bytes(text[:3].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(RunDirectoryError, match="disk is full"):
        run.write_json("timing.json", {"a": 2})
    assert run.read_json("timing.json") == {"a": 1}


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="choose a directory that you can write"):
        RunDirectory.begin(tmp_path / "file" / "x", "f", CONFIG)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_in_any_order_across_shards_equal_those_of_numpy(tmp_path_factory, data):
    size = data.draw(st.integers(1, 12))
    cuts = sorted(data.draw(st.sets(st.integers(1, size - 1))) if size > 1 else [])
    shape = data.draw(st.sampled_from([(), (3,), (2, 2)]))
    array = np.random.default_rng(0).normal(size=(size, *shape)).astype(np.float32)
    stored = sharded(tmp_path_factory.mktemp("shards"), array, cuts)
    positions = data.draw(st.lists(st.integers(0, size - 1), max_size=20))
    assert stored.shape == array.shape
    assert len(stored) == size
    assert stored.dtype == np.float32
    assert (stored.load() == array).all()
    found = stored.rows(positions)
    assert found.shape == (len(positions), *shape)
    assert (found == array[np.array(positions, dtype=int)]).all()


def test_words_of_different_length_are_not_cut_off_at_the_first_shard(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["a", "b"]))
    np.save(tmp_path / "b.npy", np.array(["long", "longer"]))
    stored = ShardedArray([tmp_path / "a.npy", tmp_path / "b.npy"], [2, 2])
    assert stored.load().tolist() == ["a", "b", "long", "longer"]
    assert stored.rows([3, 0]).tolist() == ["longer", "a"]


def test_a_shard_that_goes_missing_while_it_is_read_is_named(tmp_path):
    stored = sharded(tmp_path, np.arange(6.0).reshape(3, 2), [1])
    (tmp_path / "1.npy").unlink()
    with pytest.raises(RunDirectoryError, match=r"1\.npy cannot be read"):
        stored.load()


GENERATOR = np.random.default_rng(1)
DENSE = GENERATOR.normal(size=(11, 6)).astype(np.float32)
RESIDUAL, FEATURES = GENERATOR.normal(size=(11, 3)), GENERATOR.normal(size=(11, 4))
PRODUCT = np.einsum("nk,nd->nkd", RESIDUAL, FEATURES).reshape(11, 12)


def matrices(folder):
    norms = {o: sharded(folder, np.linalg.norm(DENSE, o, axis=1), [3]) for o in (1,)}
    (folder / "l2").mkdir()
    norms[2] = sharded(folder / "l2", np.linalg.norm(DENSE, 2, axis=1), [6])
    for name in ("rows", "residual", "features"):
        (folder / name).mkdir()
    np.save(folder / "mapped.npy", DENSE)
    return {
        "array": (ArrayMatrix(DENSE), DENSE),
        "mapped": (ArrayMatrix(np.load(folder / "mapped.npy", mmap_mode="r")), DENSE),
        "sharded": (ArrayMatrix(sharded(folder / "rows", DENSE, [4, 9])), DENSE),
        "factored": (FactoredMatrix(RESIDUAL, FEATURES), PRODUCT),
        "factored, sharded": (
            FactoredMatrix(sharded(folder / "residual", RESIDUAL, [5]), sharded(folder / "features", FEATURES, [2, 8])),
            PRODUCT,
        ),
        "stored": (StoredMatrix(ArrayMatrix(DENSE), norms, 11), DENSE),
        "subset of a subset": (
            ArrayMatrix(DENSE).subset(np.arange(10)[::-1]).subset(np.array([9, 0, 4])),
            DENSE[[0, 9, 5]],
        ),
    }


NAMES = ["array", "mapped", "sharded", "factored", "factored, sharded", "stored", "subset of a subset"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small", [False, True], ids=["one chunk", "many chunks"])
def test_every_matrix_agrees_with_the_dense_one(tmp_path, monkeypatch, name, small):
    if small:
        monkeypatch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 12)
    matrix, dense = matrices(tmp_path)[name]
    assert isinstance(matrix, GradientMatrix)
    assert matrix.shape == dense.shape
    assert len(matrix) == len(dense)
    for order in (1, 2):
        norms = matrix.norms(order)
        assert norms.dtype == np.float64
        np.testing.assert_allclose(norms, np.linalg.norm(dense, order, axis=1), rtol=1e-6)
    positions = np.array([2, 0, 2, len(dense) - 1])
    np.testing.assert_allclose(matrix.rows(positions), dense[positions], rtol=1e-6)
    np.testing.assert_allclose(matrix.rows([1]), dense[[1]], rtol=1e-6)
    pieces = list(matrix.chunks())
    assert (len(pieces) > 1) == small
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(rows) for _, rows in pieces[:-1])]).tolist()
    np.testing.assert_allclose(np.concatenate([rows for _, rows in pieces]), dense, rtol=1e-6)
    part = matrix.subset(positions)
    assert part.shape == (4, dense.shape[1])
    np.testing.assert_allclose(part.rows([3, 0]), dense[positions[[3, 0]]], rtol=1e-6)
    np.testing.assert_allclose(part.norms(2), np.linalg.norm(dense[positions], axis=1), rtol=1e-6)
    np.testing.assert_allclose(part.norms(1, [3, 0]), np.abs(dense[positions[[3, 0]]]).sum(axis=1), rtol=1e-6)
    assert part.subset(np.array([], dtype=int)).norms(2).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small", [False, True], ids=["one piece", "many pieces"])
def test_single_numbers_are_those_of_the_dense_matrix(tmp_path, monkeypatch, name, small):
    if small:
        monkeypatch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 12)
    matrix, dense = matrices(tmp_path)[name]
    (size, width), generator = dense.shape, np.random.default_rng(0)
    rows, columns = generator.integers(0, size, (4, 9)), generator.integers(0, width, (4, 9))
    assert (matrix.entries(rows, columns) == dense[rows, columns]).all()
    assert (matrix.entries(np.arange(size)[:, None], np.arange(width)) == dense).all()
    assert matrix.entries(np.array([2, 0]), np.array(1)).tolist() == dense[[2, 0], 1].tolist()
    held = matrix.load([2, 0, 2])
    assert held.shape == (3, width)
    assert held.width == matrix.width
    assert (held.entries(np.arange(3)[:, None], np.arange(width)) == dense[[2, 0, 2]]).all()
    pieces = list(matrix.pieces())
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(piece) for _, piece in pieces[:-1])]).tolist()
    assert (np.concatenate([piece.rows(np.arange(len(piece))) for _, piece in pieces]) == dense).all()
    assert (len(pieces) > 1) == (small and not matrix.in_memory)
    assert matrix.in_memory == (name not in ("mapped", "sharded", "factored, sharded"))


def test_single_numbers_of_arrays_in_another_order_of_memory():
    for array in (np.asfortranarray(DENSE), DENSE[::2, ::-1]):
        matrix = ArrayMatrix(array)
        rows, columns = np.array([[1], [3]]), np.array([5, 0])
        assert (matrix.entries(rows, columns) == array[rows, columns]).all()
        assert all((piece.rows(np.arange(len(piece))) == array).all() for _, piece in matrix.pieces())


def test_what_a_run_has_not_stored_is_asked_for_by_name(tmp_path):
    matrix = StoredMatrix(None, {2: sharded(tmp_path, np.ones(5, dtype=np.float32), [2])}, 5)
    assert matrix.shape == (5, 0)
    assert matrix.norms(2).tolist() == [1.0] * 5
    with pytest.raises(SettingError, match="no L1 norms: audit again with the detector l1"):
        matrix.norms(1)
    with pytest.raises(SettingError, match="gradient norms alone"):
        matrix.rows([0])
    with pytest.raises(SettingError, match="gradient norms alone"):
        list(matrix.chunks())
    with pytest.raises(SettingError, match="gradient norms alone"):
        list(matrix.pieces())
    with pytest.raises(SettingError, match="gradient norms alone"):
        matrix.entries(np.array([0]), np.array([0]))
    assert matrix.subset(np.array([3, 1])).norms(2).tolist() == [1.0, 1.0]


def test_plain_arrays_are_taken_for_gradient_matrices():
    for plain in (DENSE, torch.from_numpy(DENSE), DENSE.tolist()):
        np.testing.assert_allclose(as_gradient_matrix(plain).rows(np.arange(11)), DENSE)
    matrix = ArrayMatrix(DENSE)
    assert as_gradient_matrix(matrix) is matrix


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (0, 3), (3, 0), ()])
def test_gradients_of_wrong_shape_are_refused(shape):
    with pytest.raises(DataError, match=r"shape \(n, p\)"):
        as_gradient_matrix(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("small", [False, True], ids=["one chunk", "many chunks"])
def test_rows_that_are_not_finite_are_named(monkeypatch, value, small):
    if small:
        monkeypatch.setattr(gradient_matrix, "CHUNK_BYTES", 4 * 6)
    broken = DENSE.copy()
    broken[[7, 9], [0, 5]] = value
    with pytest.raises(DataError, match=r"rows \[7\]" if small else r"rows \[7, 9\]"):
        as_gradient_matrix(broken)


def test_a_model_is_told_by_its_weights_buffers_and_names():
    def made(seed=0, **keywords):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 2, **keywords), nn.BatchNorm1d(2))

    first = fingerprint_model(made())
    assert fingerprint_model(made()) == first
    assert fingerprint_model(made().eval()) == first
    moved = made()
    moved[1].running_mean += 1
    others = [
        made(1),
        made(dtype=torch.float64),
        made(bias=False),
        moved,
        made().bfloat16(),
        nn.Sequential(*made(), nn.ReLU()),
    ]
    assert len({first, *(fingerprint_model(other) for other in others[:5])}) == 6
    assert len(fingerprint_model(others[5])) == 64


def test_settings_are_told_by_their_values_and_not_by_their_order():
    assert fingerprint_settings({"a": 1, "b": (2,)}) == fingerprint_settings({"b": (2,), "a": 1})
    assert fingerprint_settings({"a": 1}) != fingerprint_settings({"a": 2})


def test_a_folder_with_somebody_elses_manifest_is_never_replaced(tmp_path):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"name": "a browser extension"}')
    with pytest.raises(RunDirectoryError, match="no run directory"):
        RunDirectory.begin(tmp_path / "extension", "f", {}, overwrite=True)


def test_what_appears_at_the_place_meanwhile_is_not_deleted(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", "f", {})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunDirectoryError, match="no run directory"):
        run.finish()
    assert (tmp_path / "run" / "thesis.txt").exists()


class Noted(torch.utils.data.Dataset):
    """Samples that are made when they are read; notes the threads that read, and refuses two at a time."""

    def __init__(self, size=50, before=lambda position: None):
        self.size, self.before, self.threads, self.lock = size, before, [], threading.Lock()

    def __len__(self):
        return self.size

    def __getitem__(self, position):
        if position >= self.size:
            raise IndexError(position)
        assert self.lock.acquire(blocking=False), "two threads read at a time"
        self.threads.append(threading.current_thread())
        try:
            self.before(position)
            generator = torch.Generator().manual_seed(position)
            return torch.randn(4, generator=generator), position % 3
        finally:
            self.lock.release()

    @property
    def in_other_threads(self):
        return [one for one in self.threads if one is not threading.main_thread()]


MODEL = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def collected(folder, samples, size=4, shard_size=10, before=lambda run: None, **keywords):
    gradients = PerSampleGradients(
        MODEL, "classification", (torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)), layers="all",
        reductions=Reductions(l2=True, projection=Projection(8)),
    )  # fmt: skip
    with RunDirectory.begin(folder, "f", CONFIG) as run:
        before(run)
        collect(
            run, gradients, Classification(), Samples(samples), Batcher(size),
            shard_size=shard_size, show_progress=False, **keywords,
        )  # fmt: skip
    return {str(p.relative_to(run.path)): p.read_bytes() for p in sorted(run.path.rglob("*")) if p.is_file()}


def test_reading_ahead_and_writing_behind_leave_the_same_bytes(tmp_path):
    plain, overlapped = Noted(), Noted()
    assert collected(tmp_path / "a", plain, overlap=False) == collected(tmp_path / "b", overlapped)
    assert not plain.in_other_threads
    assert len(overlapped.in_other_threads) == 50 - 4  # the first batch tells whether it is safe
    assert len(set(overlapped.in_other_threads)) == 1
    assert not any(one.name.startswith("gradsift") for one in threading.enumerate())


@pytest.mark.parametrize("there", [(0, 3), (0, 1, 2, 3, 4)])
def test_what_is_there_is_not_read_again(tmp_path, there):
    def some(run):
        for shard in there:
            source = tmp_path / "whole.part/gradients/checkpoint-000" / f"shard-{shard:05d}"
            shutil.copytree(source, run.path / "gradients/checkpoint-000" / source.name)

    whole, rest = collected(tmp_path / "whole", Noted()), Noted()
    assert collected(tmp_path / "rest", rest, before=some) == whole
    assert len(rest.threads) == 50 - 10 * len(there)


def test_a_data_set_that_another_thread_may_not_read_is_read_by_this_one(tmp_path, caplog):
    connection = sqlite3.connect(":memory:")
    connection.executescript("create table t (x); insert into t values (0)")
    samples = Noted(before=lambda _position: connection.execute("select x from t").fetchone())
    with caplog.at_level(logging.DEBUG, "gradsift"):
        found = collected(tmp_path / "a", samples)
    assert found == collected(tmp_path / "b", Noted())
    assert "read ahead no longer: ProgrammingError" in caplog.text
    assert len(samples.in_other_threads) == 1


@pytest.mark.parametrize(
    "before",
    [
        lambda _position: MODEL(torch.zeros(1, 4)),
        lambda position: torch.manual_seed(position),
        lambda position: np.random.seed(position),  # noqa: NPY002  # as data sets do
        lambda position: random.seed(position),
    ],
    ids=["the model", "torch", "numpy", "random"],
)
def test_a_data_set_that_uses_what_the_work_may_use_is_not_read_ahead(tmp_path, before):
    samples = Noted(before=before)
    assert collected(tmp_path / "a", samples) == collected(tmp_path / "b", Noted())
    assert not samples.in_other_threads


def test_arrays_are_not_read_ahead(tmp_path):
    reader = ReadAhead(Samples((np.zeros((9, 2)), np.zeros(9))), {})
    with reader:
        assert len(reader.batch(np.arange(3), np.arange(3, 6))[0]) == 3
        assert reader._ahead is None


def test_a_sample_that_cannot_be_read_is_named_and_what_was_whole_is_kept(tmp_path):
    def break_at(position):
        if position == 27:
            raise OSError("no such file")

    with pytest.raises(OSError, match="no such file") as caught:
        collected(tmp_path / "a", Noted(before=break_at))
    assert caught.value.__notes__ == ["raised by the data set, at position 27"]
    shards = sorted(path.name for path in (tmp_path / "a.part/gradients/checkpoint-000").iterdir())
    assert shards == ["shard-00000", "shard-00001"]


def test_memory_that_runs_out_while_reading_ahead_halves_the_batch(tmp_path):
    room = sys.modules["gradsift.store.collect"]
    real, sizes = room.reduce_batch, []

    def scarce(gradients, task, samples, positions):
        sizes.append(len(positions))
        if len(positions) > 4:
            raise MemoryError
        return real(gradients, task, samples, positions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "reduce_batch", scarce)
        found = collected(tmp_path / "a", Noted(), size=8)
    assert sizes[:3] == [8, 4, 4]
    assert found == collected(tmp_path / "b", Noted(), size=4)


@pytest.mark.parametrize("failing", [1, 4])
def test_a_shard_that_cannot_be_written_ends_the_run(tmp_path, failing):
    write_shard = RunDirectory.write_shard

    def full(self, checkpoint, shard, statistics):
        if shard == failing:
            raise RunDirectoryError("the disk is full")
        write_shard(self, checkpoint, shard, statistics)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "write_shard", full)
        with pytest.raises(RunDirectoryError, match="the disk is full"):
            collected(tmp_path / "a", Noted())
    assert not (tmp_path / f"a.part/gradients/checkpoint-000/shard-{failing + 1:05d}").exists()
    assert collected(tmp_path / "a", Noted()) == collected(tmp_path / "b", Noted())
