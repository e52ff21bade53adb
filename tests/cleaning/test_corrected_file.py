"""Cures written to files of every kind: records that do not change stand as they stood, given labels beside."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradsift.cleaning import cure as cures
from gradsift.cleaning.corrected_file import write_corrected
from gradsift.data.files import load
from gradsift.errors import DataError, OutputError

GIVEN = np.array([0, 1, 0, 1, 0])
NEW = np.array([0, 0, 0, 1, 1])
POSTERIOR = np.float32([[0.9, 0.1], [0.75, 0.25], [1, 0], [0, 1], [0.123456789, 0.876543211]])
SCORES = np.array([0.1, 0.8, 0.0, 0.2, 0.9])
CURES = {
    "drop": cures.drop(SCORES, GIVEN, 2),
    "relabel": cures.relabel(POSTERIOR, SCORES, GIVEN, 2),
    "soft": cures.soft(POSTERIOR, GIVEN),
    "weight": cures.weight(SCORES, GIVEN),
}
ROWS = ['007,"a, ""b""",ant', "1e0,x,bee", "2,y,ant", '3,"two\nlines",bee', "4,z,ant"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_csv(tmp_path, end, last):
    text = end.join(["n,text,label", *ROWS]) + (end if last else "")
    source = tmp_path / "train.csv"
    source.write_bytes(text.encode())
    for how, cure in CURES.items():
        write_corrected(source, cure, tmp_path / f"{how}.csv")
    assert source.read_bytes() == text.encode()
    relabelled = (tmp_path / "relabel.csv").read_bytes().decode()
    assert relabelled == end.join(
        [
            "n,text,label,gradsift_given_label", ROWS[0] + ",ant", "1e0,x,ant,bee", ROWS[2] + ",ant", ROWS[3] + ",bee",
            "4,z,bee,ant",
        ]
    ) + (end if last else "")  # fmt: skip
    softened = pd.read_csv(tmp_path / "soft.csv")
    np.testing.assert_allclose([json.loads(one) for one in softened["gradsift_target"]], POSTERIOR, rtol=1e-6)
    assert softened["label"].tolist() == ["ant", "bee", "ant", "bee", "ant"]
    np.testing.assert_allclose(pd.read_csv(tmp_path / "weight.csv")["gradsift_weight"], 1 - SCORES, rtol=1e-6)
    assert (tmp_path / "drop.csv").read_text().count("bee") == 1


def test_a_csv_keeps_its_separator_and_its_first_given_labels(tmp_path):
    (tmp_path / "a.csv").write_text("n;label\n" + "".join(f"{i};{y}\n" for i, y in enumerate(GIVEN)))
    write_corrected(tmp_path / "a.csv", CURES["relabel"], tmp_path / "b.csv")
    again = cures.relabel(POSTERIOR[:, ::-1], SCORES, NEW, 1)
    write_corrected(tmp_path / "b.csv", again, tmp_path / "c.csv")
    found = pd.read_csv(tmp_path / "c.csv", sep=";")
    assert found["label"].tolist() == again.labels.tolist()
    assert found["gradsift_given_label"].tolist() == GIVEN.tolist()
    write_corrected(tmp_path / "b.csv", CURES["soft"], tmp_path / "d.csv")
    with pytest.raises(DataError, match="has a column 'gradsift_target' already"):
        write_corrected(tmp_path / "d.csv", CURES["soft"], tmp_path / "e.csv")


def test_jsonl(tmp_path):
    lines = [json.dumps({"n": i, "label": ["ä", "b"][y], "more": {"a": [1]}}) for i, y in enumerate(GIVEN)]
    source = tmp_path / "train.jsonl"
    source.write_text("\n".join(lines))
    for how, cure in CURES.items():
        write_corrected(source, cure, tmp_path / f"{how}.jsonl")
    read = {how: [json.loads(line) for line in (tmp_path / f"{how}.jsonl").read_text().splitlines()] for how in CURES}
    assert [row["label"] for row in read["relabel"]] == [["ä", "b"][y] for y in NEW]
    assert [row["gradsift_given_label"] for row in read["relabel"]] == [["ä", "b"][y] for y in GIVEN]
    np.testing.assert_allclose([row["gradsift_target"] for row in read["soft"]], POSTERIOR, rtol=1e-6)
    np.testing.assert_allclose([row["gradsift_weight"] for row in read["weight"]], 1 - SCORES, rtol=1e-6)
    assert all(row["more"] == {"a": [1]} for row in read["relabel"])
    assert (tmp_path / "soft.jsonl").read_text().startswith(lines[0][:-1])  # as it stood
    assert len(read["drop"]) == 3


@pytest.mark.parametrize("kind", ["words", "numbers", "dictionary"])
def test_parquet(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("gradsift.data.records.parquet.MOST_ROWS", 2)
    labels = {
        "words": pa.array(np.array(["ant", "bee"])[GIVEN]),
        "numbers": pa.array(GIVEN, pa.int16()),
        "dictionary": pa.array(np.array(["ant", "bee"])[GIVEN]).dictionary_encode(),
    }[kind]
    table = pa.table({"n": range(5), "label": labels, "x": [[1.0]] * 5}).replace_schema_metadata({"a": "b"})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)
    for how, cure in CURES.items():
        write_corrected(tmp_path / "train.parquet", cure, tmp_path / f"{how}.parquet")
    relabelled, softened = pq.read_table(tmp_path / "relabel.parquet"), pq.read_table(tmp_path / "soft.parquet")
    assert relabelled["gradsift_given_label"].to_pylist() == labels.to_pylist()
    assert relabelled["label"].to_pylist() == [labels.to_pylist()[place] for place in (0, 0, 0, 3, 1)]
    assert relabelled.schema.field("label").type == labels.type
    assert softened.schema.metadata[b"a"] == b"b"
    assert softened.select(table.column_names).to_pylist() == table.to_pylist()
    np.testing.assert_array_equal(softened["gradsift_target"].to_pylist(), POSTERIOR)
    weights = pq.read_table(tmp_path / "weight.parquet")["gradsift_weight"]
    assert weights.type == pa.float32()
    np.testing.assert_allclose(weights.to_numpy(), 1 - SCORES, rtol=1e-6)
    assert pq.read_table(tmp_path / "drop.parquet")["n"].to_pylist() == CURES["drop"].kept.tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    x = np.arange(10.0).reshape(5, 2)
    save(tmp_path / "train.npz", x=x, label=GIVEN, names=np.array(["ant", "bee"]))
    for how, cure in CURES.items():
        write_corrected(tmp_path / "train.npz", cure, tmp_path / f"{how}.npz")
    with np.load(tmp_path / "relabel.npz") as found:
        assert found["label"].tolist() == NEW.tolist()
        assert found["gradsift_given_label"].tolist() == GIVEN.tolist()
        assert found["names"].tolist() == ["ant", "bee"]
    with np.load(tmp_path / "soft.npz") as found:
        assert found["gradsift_target"].dtype == np.float32
        np.testing.assert_array_equal(found["gradsift_target"], POSTERIOR)
        np.testing.assert_array_equal(found["x"], x)
    with np.load(tmp_path / "weight.npz") as found:
        assert found["gradsift_weight"].shape == (5,)


def test_folder(tmp_path):
    for number, name in enumerate(["a/0.png", "a/1.png", "a/2.png", "b/1.png", "b/3.png"]):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(bytes([number]))
    given = np.array([0, 0, 0, 1, 1])
    cure = cures.relabel(np.eye(2)[[0, 1, 0, 0, 1]], np.array([0, 1.0, 0, 0.9, 0]), given, 2)
    write_corrected(tmp_path / "train", cure, tmp_path / "better")
    files = {p.relative_to(tmp_path / "better").as_posix(): p for p in (tmp_path / "better").rglob("*.png")}
    assert set(files) == {"a/0.png", "a/2.png", "b/3.png", "b/1-from-a.png", "a/1-from-b.png"}
    assert files["b/1-from-a.png"].read_bytes() == bytes([1])
    with (tmp_path / "better/gradsift_given_label.csv").open() as listing:
        assert list(csv.reader(listing))[1:] == [["b/1-from-a.png", "a"], ["a/1-from-b.png", "b"]]
    with pytest.raises(DataError, match="no place for gradsift_target: drop or relabel"):
        write_corrected(tmp_path / "train", cures.soft(np.eye(2)[given], given), tmp_path / "soft")
    with pytest.raises(DataError, match="lies inside"):
        write_corrected(tmp_path / "train", cure, tmp_path / "train/better")


def test_bad_input_is_refused(tmp_path):
    source = tmp_path / "train.csv"
    source.write_text("n,label\n" + "".join(f"{i},{y}\n" for i, y in enumerate(GIVEN)))
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(OutputError):
        write_corrected(source, CURES["soft"], tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    with pytest.raises(DataError, match=r"name it \*\.csv"):
        write_corrected(source, CURES["soft"], tmp_path / "better.parquet")
    with pytest.raises(DataError, match="holds 5 records and 4 were audited"):
        write_corrected(source, CURES["soft"].of(np.arange(4)), tmp_path / "b.csv")
    with pytest.raises(DataError, match="no column 'kind'"):
        write_corrected(source, CURES["relabel"], tmp_path / "b.csv", label="kind")
    third = cures.relabel(np.eye(3)[[2, 1, 0, 1, 0]], np.array([1.0, 0, 0, 0, 0]), GIVEN, 1)
    with pytest.raises(DataError, match="the class 2, which no sample of the file has"):
        write_corrected(source, third, tmp_path / "b.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.csv", "train.csv"]
    assert load(source).dataset[0].shape == (5, 1)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".npz"])
def test_what_was_added_is_no_feature_of_the_new_file(tmp_path, suffix):
    source = tmp_path / f"train{suffix}"
    columns = {"x": np.arange(5.0), "label": GIVEN}
    if suffix == ".csv":
        pd.DataFrame(columns).to_csv(source, index=False)
    elif suffix == ".parquet":
        pq.write_table(pa.table(columns), source)
    elif suffix == ".jsonl":
        pd.DataFrame(columns).to_json(source, orient="records", lines=True)
    else:
        np.savez(source, x=columns["x"][:, None], label=GIVEN)
    for how in ("relabel", "soft", "weight"):
        write_corrected(source, CURES[how], tmp_path / f"{how}{suffix}")
        inputs, labels = load(tmp_path / f"{how}{suffix}").dataset
        assert np.asarray(inputs).tolist() == np.arange(5.0)[:, None].tolist()
        assert labels.tolist() == (NEW if how == "relabel" else GIVEN).tolist()
