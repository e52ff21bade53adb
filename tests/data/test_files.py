import io
import json
import pickle
from contextlib import suppress
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradsift.data import Samples
from gradsift.data.files import load, load_column, write_kept
from gradsift.data.images import ImageBytes, to_tensor
from gradsift.errors import DataError, GradsiftError, OutputError, UnsafeFileError

X = np.arange(12, dtype=np.float32).reshape(6, 2)
WORDS = ["cat", "dog", "ant", "cat", "ant", "dog"]
CODES = [1, 2, 0, 1, 0, 2]
KEPT = np.array([0, 3, 4])


def columns(**more):
    return pa.table({"width": X[:, 0], "note": [f"n{i}" for i in range(6)], "height": X[:, 1], "label": WORDS} | more)


def pixels(i, size=4):
    return np.full((size, size, 3), 40 * i, dtype=np.uint8)


def png(i):
    image, held = pytest.importorskip("PIL.Image"), io.BytesIO()
    image.fromarray(pixels(i)).save(held, format="png")
    return held.getvalue()


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.array(CODES), weight=np.arange(6.0))
    return tmp_path / "a.npz"


@pytest.fixture
def csv(tmp_path):
    pa_csv.write_csv(columns(), tmp_path / "a.csv")
    return tmp_path / "a.csv"


@pytest.fixture
def parquet(tmp_path):
    pq.write_table(columns(), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


@pytest.fixture
def folder(tmp_path):
    for i, word in enumerate(WORDS):
        (tmp_path / "images" / word).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / word / f"{i}.{'PNG' if i == 5 else 'png'}").write_bytes(png(i))
    (tmp_path / "images" / "cat" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def images_parquet(tmp_path, form):
    content = [png(i) for i in range(6)]
    column = {
        "binary": pa.array(content, pa.binary()),
        "large binary": pa.array(content, pa.large_binary()),
        "struct": pa.array([{"bytes": one, "path": None} for one in content]),
    }[form]
    pq.write_table(pa.table({"image": column, "label": WORDS, "width": X[:, 0]}), tmp_path / "images.parquet")
    return tmp_path / "images.parquet"


def test_npz_gives_inputs_and_labels(npz):
    loaded = load(npz)
    features, labels = loaded.dataset
    assert features.dtype == np.float32
    assert (features == X).all()
    assert labels.tolist() == CODES
    assert loaded.class_names is None
    assert load(npz, label="weight").dataset[1].tolist() == [0, 1, 2, 3, 4, 5]


def test_npz_takes_the_only_other_array_for_inputs_and_words_for_classes(tmp_path):
    np.savez(tmp_path / "b.npz", pictures=np.ones((6, 3, 4, 4), dtype=np.uint8), Label=np.array(WORDS))
    loaded = load(tmp_path / "b.npz")
    assert loaded.dataset[0].shape == (6, 3, 4, 4)
    assert loaded.dataset[0].dtype == np.float32
    assert (loaded.dataset[1].tolist(), loaded.class_names) == (CODES, ["ant", "cat", "dog"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numeric_columns_are_features_and_words_are_labels(kind, request):
    loaded = load(request.getfixturevalue(kind))
    features, labels = loaded.dataset
    assert (features == X).all()
    assert labels.tolist() == CODES
    assert loaded.class_names == ["ant", "cat", "dog"]
    assert loaded.feature_names == ["width", "height"]
    features, values = load(request.getfixturevalue(kind), label="height").dataset
    assert features.shape == (6, 1)
    assert values.tolist() == X[:, 1].tolist()


def test_dictionary_encoded_words_are_classes(tmp_path):
    pq.write_table(columns(label=pa.array(WORDS).dictionary_encode()), tmp_path / "d.parquet")
    assert load(tmp_path / "d.parquet").dataset[1].tolist() == CODES


def test_missing_words_are_no_class_of_their_own(tmp_path):
    pq.write_table(columns(label=pa.array([*WORDS[:5], None])), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"position.* 5|missing"):
        load(tmp_path / "d.parquet")


@pytest.mark.parametrize("form", ["binary", "large binary", "struct"])
def test_parquet_with_image_bytes(tmp_path, form):
    loaded = load(images_parquet(tmp_path, form))
    assert isinstance(loaded.dataset, ImageBytes)
    assert Samples(loaded.dataset).class_names == loaded.class_names == ["ant", "cat", "dog"]
    image, label = loaded.dataset[2]
    assert (image.shape, label) == ((3, 4, 4), CODES[2])
    assert torch.allclose(image, torch.full((3, 4, 4), 80 / 255))
    named = load(tmp_path / "images.parquet", image="image", label="width", transform=lambda one: one.size).dataset
    assert named[3] == ((4, 4), 6)


def test_values_to_predict_from_images_are_not_rounded(tmp_path):
    pq.write_table(pa.table({"image": [png(0), png(1)], "label": [0.25, 1.75]}), tmp_path / "v.parquet")
    assert [label for _, label in load(tmp_path / "v.parquet").dataset] == [0.25, 1.75]


def test_a_broken_image_is_named_as_such(tmp_path):
    pytest.importorskip("PIL")
    pq.write_table(pa.table({"image": [b"no image", None], "label": [0, 1]}), tmp_path / "b.parquet")
    for position in range(2):
        with pytest.raises(DataError, match="no readable image"):
            load(tmp_path / "b.parquet").dataset[position]


def test_a_folder_of_images(folder):
    loaded = load(folder)
    assert loaded.class_names == ["ant", "cat", "dog"]
    assert [file.name for file in loaded.dataset.files] == ["2.png", "4.png", "0.png", "3.png", "1.png", "5.PNG"]
    assert [label for _, label in loaded.dataset] == [0, 0, 1, 1, 2, 2]
    assert torch.allclose(loaded.dataset[3][0], torch.full((3, 4, 4), 120 / 255))
    assert len(load(folder, transform=lambda image: image.size).dataset[0][0]) == 2


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3), ("1", 3)])
def test_images_become_tensors_between_zero_and_one(mode, channels):
    tensor = to_tensor(pytest.importorskip("PIL.Image").new(mode, (5, 4)))
    assert tensor.shape == (channels, 4, 5)
    assert tensor.dtype == torch.float32
    assert 0 <= tensor.min() <= tensor.max() <= 1


def test_kept_npz_has_all_arrays_and_the_source_stays(npz, tmp_path):
    before = npz.read_bytes()
    write_kept(npz, KEPT, tmp_path / "deep" / "kept.npz", 6)
    with np.load(tmp_path / "deep" / "kept.npz") as kept:
        assert {name: kept[name].tolist() for name in kept.files} == {
            "x": X[KEPT].tolist(),
            "y": [CODES[i] for i in KEPT],
            "weight": [0.0, 3.0, 4.0],
        }
    assert npz.read_bytes() == before


def test_kept_npz_keeps_arrays_without_sample_axis_whole(tmp_path):
    np.savez(tmp_path / "c.npz", x=X, y=np.array(CODES), names=np.array(["ant", "cat", "dog"]), version=np.array(3))
    write_kept(tmp_path / "c.npz", KEPT, tmp_path / "kept.npz", 6)
    with np.load(tmp_path / "kept.npz") as kept:
        assert (len(kept["x"]), kept["names"].tolist(), int(kept["version"])) == (3, ["ant", "cat", "dog"], 3)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_kept_tables_have_all_columns(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    write_kept(source, KEPT, tmp_path / f"kept.{kind}", 6)
    kept = pa_csv.read_csv(tmp_path / "kept.csv") if kind == "csv" else pq.read_table(tmp_path / "kept.parquet")
    assert kept.to_pylist() == columns().take(pa.array(KEPT)).to_pylist()
    assert load(tmp_path / f"kept.{kind}").dataset[1].tolist() == [1, 1, 0]


@pytest.mark.parametrize("form", ["binary", "struct"])
def test_kept_image_bytes_keep_bytes_and_columns(tmp_path, form):
    source = images_parquet(tmp_path, form)
    write_kept(source, KEPT, tmp_path / "kept.parquet", 6)
    assert pq.read_table(tmp_path / "kept.parquet").equals(pq.read_table(source).take(pa.array(KEPT)))


def test_kept_folder_holds_the_kept_files(folder, tmp_path):
    files = load(folder).dataset.files
    write_kept(folder, KEPT, tmp_path / "kept", 6)
    kept = load(tmp_path / "kept").dataset.files
    assert [file.relative_to(tmp_path / "kept") for file in kept] == [files[i].relative_to(folder) for i in KEPT]
    assert [file.read_bytes() for file in kept] == [files[i].read_bytes() for i in KEPT]
    assert all(file.exists() for file in files)


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet", "folder"])
def test_nothing_is_ever_overwritten(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    taken = tmp_path / f"taken{source.suffix}"
    taken.write_text("precious")
    for output in (taken, source):
        with pytest.raises(OutputError, match="is not replaced"):
            write_kept(source, KEPT, output, 6)
    assert taken.read_text() == "precious"


def test_another_kind_of_output_is_refused(npz, tmp_path):
    with pytest.raises(DataError, match=r"\*\.npz"):
        write_kept(npz, KEPT, tmp_path / "kept.csv", 6)
    assert not (tmp_path / "kept.csv").exists()


@pytest.mark.parametrize(
    ("kind", "name", "values"), [("npz", "y", CODES), ("csv", "label", WORDS), ("parquet", "note", None)]
)
def test_one_column_is_read_as_it_stands(kind, name, values, request):
    column = load_column(request.getfixturevalue(kind), name)
    assert column.tolist() == (values or [f"n{i}" for i in range(6)])
    with pytest.raises(DataError, match="no column 'absent'"):
        load_column(request.getfixturevalue(kind), "absent")


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt", ".pth"])
def test_pickles_are_refused(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(pickle.dumps((X, CODES)))
    with pytest.raises(UnsafeFileError, match="pickle"):
        load(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    "read",
    [load, lambda path: load_column(path, "y"), lambda path: write_kept(path, KEPT, path.with_name("kept.npz"), 6)],
    ids=["load", "load_column", "write_kept"],
)
def test_an_npz_with_pickled_objects_is_refused(tmp_path, read):
    np.savez(tmp_path / "o.npz", x=X, y=np.array([object] * 6, dtype=object))
    with pytest.raises(UnsafeFileError, match="pickled objects"):
        read(tmp_path / "o.npz")
    assert not (tmp_path / "kept.npz").exists()


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_a_missing_file_is_named(tmp_path, suffix):
    path = tmp_path / f"absent{suffix}"
    for read in (load, lambda p: load_column(p, "y"), lambda p: write_kept(p, KEPT, tmp_path / f"kept{suffix}", 6)):
        with pytest.raises(DataError, match=r"absent.* does not exist"):
            read(path)


def test_missing_columns_are_named(npz, csv, parquet, tmp_path):
    for path in (npz, csv, parquet):
        with pytest.raises(DataError, match="no column 'absent'"):
            load(path, label="absent")
    with pytest.raises(DataError, match="no column 'absent'"):
        load(parquet, image="absent")
    pq.write_table(columns().drop_columns("label"), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="--label"):
        load(tmp_path / "b.parquet")
    pq.write_table(columns().select(["note", "label"]), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="no numeric column besides 'label'"):
        load(tmp_path / "c.parquet")
    np.savez(tmp_path / "d.npz", a=X, b=X, y=CODES)
    with pytest.raises(DataError, match="name the inputs x"):
        load(tmp_path / "d.npz")


def test_an_unknown_kind_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=r"unknown kind '\.xlsx'"):
        load(tmp_path / "a.xlsx")
    (tmp_path / "folder" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="no images in subfolders"):
        load(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_truncated_file_is_named(kind, request):
    path = request.getfixturevalue(kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=path.name):
        load(path)


@pytest.mark.parametrize(
    "content", [b"", b"a,label\n1,2\n1,2,3\n", b"a,label\n1,\xff\xfe\n"], ids=["empty", "ragged", "bytes"]
)
def test_a_broken_csv_is_named(tmp_path, content):
    (tmp_path / "broken.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.csv"):
        load(tmp_path / "broken.csv")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda b: b"PK\x03\x04" + b)),
    suffix=st.sampled_from([".npz", ".csv", ".parquet"]),
)
def test_random_bytes_end_in_an_error_of_ours(tmp_path, content, suffix):
    (tmp_path / f"fuzz{suffix}").write_bytes(content)
    with suppress(GradsiftError):
        load(tmp_path / f"fuzz{suffix}")


def test_an_array_file_that_is_named_npz_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"a\.npz"):
        load(tmp_path / "a.npz")


def test_a_test_set_follows_the_training_set_in_classes_and_columns(tmp_path):
    (tmp_path / "train.csv").write_text("width,height,id,label\n1,2,7,ash\n3,4,8,birch\n5,6,9,cedar\n")
    (tmp_path / "test.csv").write_text("height,label,width\n2,cedar,1\n4,ash,3\n")
    train = load(tmp_path / "train.csv")
    test = load(tmp_path / "test.csv", like=train)
    assert train.feature_names == ["width", "height"]  # the id is no feature
    assert test.dataset[0].tolist() == [[1, 2], [3, 4]]
    assert test.dataset[1].tolist() == [2, 0]
    (tmp_path / "more.csv").write_text("height,label,width\n2,yew,1\n")
    with pytest.raises(DataError, match="yew"):
        load(tmp_path / "more.csv", like=train)
    (tmp_path / "less.csv").write_text("height,label\n2,ash\n")
    with pytest.raises(DataError, match="width"):
        load(tmp_path / "less.csv", like=train)


def test_columns_can_be_ignored_and_two_label_columns_must_be_told_apart(tmp_path):
    (tmp_path / "train.csv").write_text("x1,leak,label,y\n1,9,0,0\n2,9,1,1\n")
    with pytest.raises(DataError, match="--label"):
        load(tmp_path / "train.csv")
    assert load(tmp_path / "train.csv", label="label", ignore=["leak", "y"]).feature_names == ["x1"]


def test_kept_csv_keeps_words_as_they_stand(tmp_path):
    (tmp_path / "train.csv").write_text("code,label\n00123,0\n00456,1\n")
    write_kept(tmp_path / "train.csv", np.array([1]), tmp_path / "clean.csv", 2)
    assert "00456" in (tmp_path / "clean.csv").read_text()


@pytest.mark.parametrize("labels", [[[0], [1]], [{"a": 0}, {"a": 1}]])
def test_labels_that_are_lists_or_objects_are_refused(tmp_path, labels):
    rows = [json.dumps({"x": 1.0, "label": label}) for label in labels]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match="lists or objects in the label column 'label'"):
        load(tmp_path / "rows.jsonl")


def test_decimal_columns_are_features(tmp_path):
    table = pa.table({"price": pa.array([Decimal("1.50"), Decimal("2.25")]), "label": [0, 1]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet").dataset[0][:].tolist() == [[1.5], [2.25]]


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(DataError, match="no valid text"):
        load("rows\udcff.parquet")


def test_ids_of_tokens_stay_whole_numbers(tmp_path):
    ids, tags = np.arange(12).reshape(3, 4), np.array([[0, 1, 0, -100]] * 3)
    np.savez(tmp_path / "tokens.npz", x=ids, label=tags)
    assert load(tmp_path / "tokens.npz").dataset[0].dtype == np.float32
    x, y = load(tmp_path / "tokens.npz", token_ids=True).dataset
    assert x.dtype == ids.dtype
    assert np.array_equal(x, ids)
    assert np.array_equal(y, tags)
