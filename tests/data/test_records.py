"""Readers of records: what is counted is what is copied, byte for byte."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradsift.data.files import load, load_column
from gradsift.data.records import FileRows, open_records, open_table
from gradsift.errors import DataError, OutputError


def written(tmp_path, content, suffix):
    path = tmp_path / f"source{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def trimmed(path, keep, tmp_path):
    """Bytes of a copy with some of the records."""
    output = tmp_path / f"kept-{len(list(tmp_path.iterdir()))}{path.suffix}"
    open_records(path).write(np.array(keep, dtype=bool), output)
    return output.read_bytes()


CSV = {
    "plain": (b"a,label\n", [b"1,x\n", b"2,y\n", b"3,z\n"], b""),
    "no newline at the end": (b"a,label\n", [b"1,x\n", b"2,y\n", b"3,z"], b""),
    "windows": (b"a,label\r\n", [b"1,x\r\n", b"2,y\r\n", b"3,z\r\n"], b""),
    "newlines in quotes": (b"a,label\n", [b'1,"x\n\nx"\n', b'2,"y\r\ny"\n', b'3,"z ""q"", z"\n'], b""),
    "mark": (b"\xef\xbb\xbfa,label\n", [b"1,x\n", b"2,y\n", b"3,z\n"], b""),
    "blank lines": (b"a,label\n", [b"1,x\n", b"2,y\n", b"3,z\n"], b"\n\r\n"),
    "semicolons": (b"a;label\n", [b"1;x,x\n", b'2;"y"\n', b"3;z\n"], b""),
    "leading zeros": (b"a,label\n", [b"007,x\n", b'"008",y\n', b"1e0,z\n"], b""),
    "quoted header": (b'"a","label"\n', [b"1,x\n", b"2,y\n", b"3,z\n"], b""),
}


@pytest.mark.parametrize("name", CSV)
@pytest.mark.parametrize("block", [8, 2**20])
def test_a_csv_is_copied_byte_for_byte(name, block, tmp_path, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.csv.BLOCK", block)
    head, rows, between = CSV[name]
    path = written(tmp_path, head + between + between.join(rows), ".csv")
    assert len(open_records(path)) == 3
    assert len(load(path).dataset[1]) == 3
    for keep in ([1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]):
        assert trimmed(path, keep, tmp_path) == head + b"".join(
            row for row, kept in zip(rows, keep, strict=True) if kept
        )


JSONL = {
    "plain": [b'{"a": 1, "label": "x"}\n', b'{"a": 2, "label": "y"}\n', b'{"a": 3, "label": "z"}\n'],
    "no newline at the end": [b'{"a": 1, "label": "x"}\n', b'{"a": 2, "label": "y"}\n', b'{"a": 3, "label": "z"}'],
    "objects over lines": [
        b'{"a": 1,\n "label": "x }"}\n',
        b'{\n  "a": 2,\n\n  "label": "y",\n  "more": [{"b": "\\"{"}\n  ]\n}\n',
        b'{"a": 3, "label": "z"}\n',
    ],
    "windows": [b'{"a": 1, "label": "x"}\r\n', b'{"a": 2, "label": "y"}\r\n', b'{"a": 3, "label": "z"}\r\n'],
    "spelling": [
        b'{"a":1.00,"label":"x"}\n',
        b' {"label": "\\u00e9", "a": 2e0}\n',
        '{"a": 3, "label": "é"}\n'.encode(),
    ],
    "keys and kinds": [
        b'{"a": 1, "label": "x", "n": {"k": [1, {"m": null}]}}\n',
        b'{"label": "y", "a": 2, "n": "text", "big": 123456789012345678901234567890}\n',
        b'{"a": 3, "label": "z", "note": NaN}\n',
    ],
}


@pytest.mark.parametrize("name", JSONL)
@pytest.mark.parametrize("blank", [b"", b"\n", b"  \n"])
def test_json_lines_are_copied_byte_for_byte(name, blank, tmp_path):
    rows = JSONL[name]
    path = written(tmp_path, blank.join([b"", *rows]), ".jsonl")
    assert [row["a"] for row in FileRows(open_table(path))] == [1, 2, 3]
    assert load(path, ignore=("big", "note")).dataset[0][:, 0].tolist() == [1, 2, 3]
    for keep in ([1, 0, 1], [0, 1, 1], [1, 1, 0]):
        assert trimmed(path, keep, tmp_path) == b"".join(row for row, kept in zip(rows, keep, strict=True) if kept)


def test_values_of_json_lines_stay_as_they_are(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbf" + b"".join(JSONL["keys and kinds"]), ".jsonl")
    rows = list(FileRows(open_table(path)))
    assert rows[0] == {"a": 1, "label": "x", "n": {"k": [1, {"m": None}]}, "big": None, "note": None}
    assert rows[1]["big"] == 123456789012345678901234567890
    assert trimmed(path, [0, 1, 0], tmp_path) == b"\xef\xbb\xbf" + JSONL["keys and kinds"][1]


def nested():
    images = [{"bytes": bytes([i] * 50), "path": None} for i in range(20)]
    return pa.table(
        {
            "label": pa.array(["a", "b"] * 10).dictionary_encode(),
            "x": np.arange(20.0),
            "words": [[f"w{i}"] * (i % 3) for i in range(20)],
            "image": images,
            "big": pa.array([2**63 - 1] * 20, pa.int64()),
            "when": pa.array([i * 10**6 for i in range(20)], pa.timestamp("us", "UTC")),
            "empty": pa.nulls(20),
            "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(80.0).reshape(20, 2, 2)),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {}}}), "own": "kept"})


@pytest.mark.parametrize("rows", [1, 7, 20, 100])
@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_parquet_keeps_columns_metadata_and_compression(rows, codec, tmp_path, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.parquet.MOST_ROWS", 3)
    path = tmp_path / "source.parquet"
    pq.write_table(nested(), path, row_group_size=rows, compression=codec)
    keep = np.arange(20) % 3 != 1
    open_records(path).write(keep, tmp_path / "kept.parquet")
    found = pq.read_table(tmp_path / "kept.parquet")
    assert found.equals(pq.read_table(path).filter(pa.array(keep)), check_metadata=True)
    group = pq.ParquetFile(tmp_path / "kept.parquet").metadata.row_group(0)
    assert group.column(1).compression == {"zstd": "ZSTD", "none": "UNCOMPRESSED"}[codec]


def test_a_pandas_index_survives(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "label": [0, 1, 0]}, index=["p", "q", "r"])
    frame.to_parquet(tmp_path / "source.parquet")
    open_records(tmp_path / "source.parquet").write(np.array([True, False, True]), tmp_path / "kept.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "kept.parquet"), frame.iloc[[0, 2]])


@pytest.mark.parametrize("kind", ["parquet", "huge row groups", "csv"])
def test_rows_are_read_by_position_in_any_order(kind, tmp_path, monkeypatch):
    table = pa.table({"text": [f"text {i}" for i in range(50)], "label": np.arange(50) % 3})
    path = tmp_path / ("a.csv" if kind == "csv" else "a.parquet")
    if kind == "csv":
        path.write_text("text,label\n" + "".join(f"text {i},{i % 3}\n" for i in range(50)))
        monkeypatch.setattr("gradsift.data.records.csv.BLOCK", 64)
    else:
        pq.write_table(table, path, row_group_size=7)
        monkeypatch.setattr("gradsift.data.records.parquet.MOST_ROWS", 4)
        if kind == "huge row groups":
            monkeypatch.setattr("gradsift.data.records.parquet.LARGE_GROUP", 10)
    rows = FileRows(open_table(path))
    order = np.random.default_rng(0).permutation(50)
    assert [rows[int(i)] for i in order] == [{"text": f"text {i}", "label": i % 3} for i in order]
    assert rows[-1]["text"] == "text 49"
    with pytest.raises(IndexError):
        rows[50]


def test_a_file_of_another_length_is_refused_and_nothing_is_written(tmp_path):
    for suffix, content in ((".csv", "a,label\n1,x\n2,y\n"), (".jsonl", '{"a": 1, "label": "x"}\n' * 2)):
        path = written(tmp_path, content, suffix)
        with pytest.raises(DataError, match="holds 2 records and 3 were audited"):
            open_records(path).write(np.ones(3, dtype=bool), tmp_path / f"kept{suffix}")
        assert not (tmp_path / f"kept{suffix}").exists()


def test_a_file_that_grows_while_it_is_copied_is_refused_before_it_has_its_name(tmp_path):
    path = written(tmp_path, "a,label\n1,x\n2,y\n", ".csv")
    records = open_records(path)
    path.write_text(path.read_text() + "3,z\n")
    with pytest.raises(DataError, match="holds 3 records and 2 were audited"):
        records.write(np.ones(2, dtype=bool), tmp_path / "kept.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["source.csv"]


REFUSED = {
    "ragged": (b"a,label\n1,x\n2,y,z\n", ".csv", r"3 values on line 3 and 2 columns"),
    "comment": (b"a,label\n# note\n1,x\n", ".csv", r"comments are no records"),
    "twice": (b"a,a,label\n1,2,x\n", ".csv", r"several columns named 'a'"),
    "header only": (b"a,label\n", ".csv", r"holds no records"),
    "empty": (b"", ".csv", r"is empty"),
    "latin-1": (b"a,label\n1,x\n2,caf\xe9\n", ".csv", r"byte 0xe9 on line 3.*iconv"),
    "utf-16": ("a,label\n1,x\n".encode("utf-16"), ".csv", r"UTF-16.*iconv"),
    "open quote": (b'a,label\n1,x\n2,"y\n3,z\n', ".csv", r"opens a value on line 3 is not closed"),
    "open quote before another": (b'a,label\n1,"x\n2,y\n3,"z"\n', ".csv", r"opens a value on line 2 is not closed"),
    "decimal comma": (b"a;b;label\n1,5;1;x\n2,5;2;y\n", ".csv", r"decimal comma in the columns a"),
    "empty cell": (b"a,label\n1,x\n,y\n3,z\n", ".csv", r"column 'a' at positions 1"),
    "no label": (b"a,label\n1,x\n2,\n", ".csv", r"no label in column 'label' at positions 1"),
    "packed": (b"\x1f\x8b", ".csv.gz", r"is packed: unpack it first"),
    "old mac": (b"a,label\r1,x\r2,y\r", ".csv", r"ends its lines with .r alone"),
    "no object": (b'{"a": 1, "label": 1}\n[1, 2]\n', ".jsonl", r"line 2 begins a JSON list"),
    "two objects": (b'{"a": 1, "label": 1}{"a": 2, "label": 1}\n', ".jsonl", r"line 1 begins no whole JSON object"),
    "cut off": (b'{"a": 1, "label": 1}\n{"a": 2, "la\n', ".jsonl", r"line 2 begins no whole JSON object"),
    "jsonl latin-1": (b'{"a": 1, "label": "caf\xe9"}\n', ".jsonl", r"not UTF-8 on line 1"),
    "jsonl empty": (b"\n", ".jsonl", r"holds no records"),
    "list labels": (b'{"a": 1, "label": [1, 2]}\n{"a": 1, "label": 3}\n', ".jsonl", "lists or objects"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_rightly_is_refused_by_name(name, tmp_path):
    content, suffix, message = REFUSED[name]
    path = written(tmp_path, content, suffix)
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize("block", [1, 8, 2**20])
def test_quotation_marks_within_a_value_are_part_of_it(block, tmp_path, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.csv.BLOCK", block)
    rows = [b'1,5" disk\n', b'2,6""\n', b'3,"a ""b""\n, c"\n', b'4,"d" e\n', b'5,x"\r\n', b'6,""\n', b'7,"""q"""\n']
    path = written(tmp_path, b"a,text\n" + b"".join(rows), ".csv")
    texts = [row["text"] for row in FileRows(open_table(path))]
    assert texts == ['5" disk', '6""', 'a "b"\n, c', "d e", 'x"', "", '"q"']
    assert trimmed(path, [1, 0, 1, 0, 1, 0, 1], tmp_path) == b"a,text\n" + b"".join(rows[::2])


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    if not hasattr(os, "mkfifo"):
        assert os.name == "nt"  # which has no such files
        return
    for name in ("a.csv", "a.parquet", "pipe"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="is a pipe, a socket or a device"):
            load(tmp_path / name)


SERVED = {
    "semicolon": (b"a;b;label\n1.5;2;x\n3;4;y\n", ".csv"),
    "tabs": (b"a\tb\tlabel\n1.5\t2\tx\n3\t4\ty\n", ".csv"),
    "tsv": (b"a\tb\tlabel\n1.5\t2\tx\n3\t4\ty\n", ".tsv"),
    "bars": (b"a|b|label\n1.5|2|x\n3|4|y\n", ".csv"),
    "upper case": (b"a,b,label\n1.5,2,x\n3,4,y\n", ".CSV"),
    "spaces in the header": (b"a, b , label\n1.5,2,x\n3,4,y\n", ".csv"),
    "mark": (b"\xef\xbb\xbfa,b,label\n1.5,2,x\n3,4,y\n", ".csv"),
    "ints, then floats": (b"a,b,label\n1.5,2,x\n3,4,y\n", ".csv"),
}


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("block", [1, 2**20])
def test_usual_csv_files_are_read_rightly(name, block, tmp_path, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.csv.BLOCK", block)
    content, suffix = SERVED[name]
    loaded = load(written(tmp_path, content, suffix))
    assert loaded.dataset[0].tolist() == [[1.5, 2], [3, 4]]
    assert (loaded.dataset[1].tolist(), loaded.class_names, loaded.feature_names) == ([0, 1], ["x", "y"], ["a", "b"])


def test_columns_without_numbers_are_named(tmp_path, caplog):
    content = "a,note,when,sure,label\n1,text,2020-01-01,true,x\n2,more,2020-01-02,false,y\n"
    loaded = load(written(tmp_path, content, ".csv"))
    assert loaded.left_out == ["note", "when", "sure"]
    assert (
        "note (string), when (date32[day]), sure (bool). Write them as numbers to use them (true and false as 1 and 0)"
        in caplog.text
    )
    assert load_column(tmp_path / "source.csv", "sure").tolist() == [True, False]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_is_copied_a_few_rows_at_a_time(compress, order, tmp_path, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.npz.BLOCK", 40)
    x = np.asarray(np.arange(60).reshape(10, 3, 2), order=order)
    path = tmp_path / "a.npz"
    (np.savez_compressed if compress else np.savez)(
        path, x=x, y=np.arange(10) % 3, version=np.array(3), long=np.arange(99)
    )
    assert (load(path, ignore=("version", "long")).dataset[0] == x).all()
    keep = np.arange(10) % 4 != 1
    open_records(path).write(keep, tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz") as kept:
        assert (kept["x"] == x[keep]).all()
        assert kept["y"].tolist() == (np.arange(10) % 3)[keep].tolist()
        assert (int(kept["version"]), len(kept["long"])) == (3, 99)


def test_npz_of_unequal_lengths_and_single_values_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((5, 2)), y=np.arange(4))
    with pytest.raises(DataError, match=r"\(5, 2\) and 'y' has \(4,\): both need one row"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.ones((5, 2)), y=np.array(4))
    with pytest.raises(DataError, match="'y' is a single value"):
        load(tmp_path / "b.npz")


def test_an_image_folder_is_copied_whole_or_not_at_all(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (4, 4)).save(tmp_path / "images" / name)
    records = open_records(tmp_path / "images")
    (tmp_path / "images" / "a" / "2.png").unlink()  # gone meanwhile
    with pytest.raises(OutputError):
        records.write(np.array([True, True, False]), tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
