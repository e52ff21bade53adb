"""Data sets of many files."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gradsift.cleaning.corrected_file import write_corrected
from gradsift.cleaning.cure import Cure
from gradsift.data import Samples, fingerprint_samples
from gradsift.data.files import load, load_column, write_kept
from gradsift.data.records import FileRows, open_records, tar_shards
from gradsift.data.records.parts import parts_of
from gradsift.errors import DataError, OutputError
from gradsift.integrations.rows import load_rows
from gradsift.locations import RemotePath, as_location
from gradsift.writing import remove

SIZES = (30, 0, 25, 45)


@pytest.fixture
def whole():
    generator = np.random.default_rng(0)
    return pa.table({"x": generator.random(100), "text": [f"text {place}" for place in range(100)],
                     "label": generator.choice(["cat", "dog"], 100)})  # fmt: skip


@pytest.fixture(params=["folder", "pattern", "memory"])
def source(request, tmp_path, whole):
    """The table in four files, one of which is empty, in two folders; beside files that are no part of it."""
    folder = tmp_path / "train"
    start = 0
    for number, size in enumerate(SIZES):
        place = folder / f"part-{number // 2}" / f"{number:05d}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(whole.slice(start, size), place, row_group_size=10)
        start += size
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.crc").touch()
    if request.param == "folder":
        yield folder
    elif request.param == "pattern":
        yield f"{folder}/part-*/{{00000..00003}}.parquet"
    else:
        place = as_location(f"memory://parts-{tmp_path.name}/train")
        for file in folder.rglob("*"):
            if file.is_file():
                (place / file.relative_to(folder).as_posix()).upload(file)
        yield str(place)
        remove(place)


def test_rows_are_read_by_position_in_the_order_of_names(source, whole):
    rows = load_rows(source)
    assert isinstance(rows, FileRows)
    assert len(rows) == 100
    for position in (0, 29, 30, 54, 55, 99):
        assert {name: rows[position][name] for name in whole.column_names} == whole.slice(position, 1).to_pylist()[0]
    assert len({rows[position]["id"] for position in range(100)}) == 100
    assert rows[7]["id"] == load_rows(source)[7]["id"]
    assert load_column(source, "text").tolist() == whole["text"].to_pylist()


def test_it_is_the_same_data_set_as_in_one_file(source, whole, tmp_path):
    pq.write_table(whole, tmp_path / "one.parquet")
    loaded, one = load(source), load(tmp_path / "one.parquet")
    assert np.array_equal(loaded.dataset[0], one.dataset[0])
    assert np.array_equal(loaded.dataset[1], one.dataset[1])
    known = [fingerprint_samples(Samples(load_rows(place))) for place in (source, tmp_path / "one.parquet")]
    assert known[0] == known[1]


def test_a_trim_is_a_data_set_of_as_many_files(source, whole, tmp_path):
    kept = np.flatnonzero(np.arange(100) % 3)
    write_kept(source, kept, tmp_path / "kept", 100)
    assert [file.name for file in parts_of(tmp_path / "kept")] == [f"{number:05d}.parquet" for number in range(4)]
    assert pq.read_table(tmp_path / "kept", partitioning=None).equals(whole.take(kept))
    with pytest.raises(OutputError, match="exists and is not replaced"):
        write_kept(source, kept, tmp_path / "kept", 100)


def test_a_correction_is_a_data_set_of_as_many_files(source, whole, tmp_path):
    given = (np.asarray(whole["label"]) == "dog").astype(int)
    other = np.where(np.arange(100) % 10 == 4, 1 - given, given)
    write_corrected(source, cure(given, other), tmp_path / "better")
    better = pq.read_table(tmp_path / "better", partitioning=None)
    assert better["label"].to_pylist() == [("cat", "dog")[label] for label in other]
    assert better["gradsift_given_label"].equals(whole["label"])


def cure(given, labels):
    return Cure("relabel", given, np.arange(len(given)), labels=labels)


def test_files_are_listed_once_and_each_end_is_read_once(tmp_path, whole, monkeypatch):
    place = as_location(f"memory://once-{tmp_path.name}")
    for number in range(20):
        pq.write_table(whole, tmp_path / "part.parquet", row_group_size=50)
        (place / f"{number:02d}.parquet").upload(tmp_path / "part.parquet")
    listed, read = [], []
    files, ranges = RemotePath.files, RemotePath.read_range
    monkeypatch.setattr(RemotePath, "files", lambda self: (listed.append(self), files(self))[1])
    monkeypatch.setattr(RemotePath, "read_range", lambda self, *ends: (read.append(self.name), ranges(self, *ends))[1])
    rows = FileRows(open_records(str(place)))
    assert len(rows) == 2000
    assert (len(listed), len(read)) == (1, 20)
    read.clear()
    assert rows[1050]["text"] == "text 50"
    assert set(read) == {"10.parquet"}
    remove(place)


@pytest.mark.parametrize("beginning", ["", "memory://"])
def test_a_readme_beside_the_parts_does_not_count(tmp_path, whole, beginning):
    (tmp_path / "data").mkdir()
    pq.write_table(whole, tmp_path / "data/0.parquet")
    (tmp_path / "README.md").write_text("what it is")
    (tmp_path / "data/0.idx").write_text("where samples begin")
    place = as_location(f"{beginning}{tmp_path}")
    if beginning:
        for file in (tmp_path / "README.md", tmp_path / "data/0.idx", tmp_path / "data/0.parquet"):
            (place / file.relative_to(tmp_path).as_posix()).upload(file)
    assert len(open_records(place)) == len(whole)
    if beginning:
        remove(place)
    else:
        (tmp_path / "data/0.parquet").unlink()
        with pytest.raises(DataError, match=r"no \.parquet files, no \.tar shards and no images"):
            open_records(place)


def test_what_is_no_data_set_is_refused(tmp_path, whole):
    pq.write_table(whole, tmp_path / "a.parquet")
    pq.write_table(whole.drop_columns(["x"]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has other columns than .*a.parquet .x: double and none"):
        open_records(tmp_path)
    with pytest.raises(DataError, match="no file matches"):
        open_records(tmp_path / "c-*.parquet")
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(DataError, match="would become a part of it"):
        write_kept(tmp_path, np.arange(5), tmp_path / "kept", 100)


@pytest.fixture(params=["local", "memory"])
def shards(request, tmp_path):
    """Three shards of ten images with labels; the third has a sample without one, and a folder."""
    place = as_location(f"memory://shards-{tmp_path.name}") if request.param == "memory" else tmp_path / "shards"
    (tmp_path / "shards").mkdir()
    for number in range(3):
        with tarfile.open(tmp_path / f"shards/{number:03d}.tar", "w") as archive:
            for sample in range(10 * number, 10 * number + 10):
                picture = io.BytesIO()
                Image.fromarray(np.full((4, 4, 3), 8 * sample, dtype=np.uint8)).save(picture, "png")
                for ending, content in (
                    ("png", picture.getvalue()),
                    ("cls", b"%d\n" % (sample % 3)),
                    ("txt", b"a" * 2000),
                ):
                    member = tarfile.TarInfo(f"{number}/{'long' * 40}-{sample:04d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        if request.param == "memory":
            (place / f"{number:03d}.tar").upload(tmp_path / f"shards/{number:03d}.tar")
    yield place
    remove(place)


def test_samples_of_tar_shards_are_read_by_position(shards, monkeypatch):
    monkeypatch.setattr(tar_shards, "BLOCK", 12_000)
    records = open_records(shards)
    assert len(records) == 30
    assert [str(field.type) for field in records.schema] == ["string", "binary", "int64", "string"]
    assert records.names == ["id", "png", "label", "txt"]
    rows = FileRows(records)
    for position in (17, 0, 29, 9, 10):
        assert rows[position]["id"].endswith(f"-{position:04d}")
        assert (rows[position]["label"], len(rows[position]["txt"])) == (position % 3, 2000)
    loaded = load(shards)
    assert (loaded.dataset[29][0][0] * 255).int().unique().tolist() == [232]
    assert loaded.dataset[29][1] == 2


def test_tar_shards_are_trimmed_byte_for_byte(shards, tmp_path, monkeypatch):
    read, piece = [], tar_shards._bytes
    monkeypatch.setattr(tar_shards, "_bytes", lambda *place: read.append(place) or piece(*place))
    write_kept(shards, np.arange(0, 30, 2), tmp_path / "kept", 30)
    monkeypatch.undo()
    before, after = FileRows(open_records(shards)), FileRows(open_records(tmp_path / "kept"))
    assert [after[place] for place in range(15)] == [before[place] for place in range(0, 30, 2)]
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["000.tar", "001.tar", "002.tar"]
    assert len(read) == 3  # one piece of each shard, not one of each sample
    labels = np.arange(30) % 3
    with pytest.raises(DataError, match="samples can be dropped from them"):
        write_corrected(shards, cure(labels, labels[::-1].copy()), tmp_path / "better")


def test_a_broken_shard_is_named(shards, tmp_path):
    if isinstance(shards, RemotePath):
        (shards / "001.tar").write_bytes(b"no archive" * 100)
    else:
        (shards / "001.tar").write_bytes((shards / "001.tar").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"001\.tar is no readable tar file"):
        FileRows(open_records(shards)).content()
