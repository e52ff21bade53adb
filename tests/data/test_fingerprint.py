import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from gradsift.data import Samples, fingerprint_samples, has_fingerprint
from gradsift.data.fingerprint import VERSION, update_digest
from gradsift.data.images import ImageFolder
from gradsift.data.records import FileRows, open_table


def hash_of(source):
    return fingerprint_samples(Samples(source))[0]


def arrays(n=10):
    return np.arange(4.0 * n, dtype=np.float32).reshape(n, 2, 2), np.arange(n) % 3


class Map(Dataset):
    def __init__(self, n, changed=None):
        self.n, self.changed = n, changed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"x": torch.full((3,), float(i)), "label": 9 if i == self.changed else i % 2, "words": f"text {i}"}


FORMS = {
    "numpy": lambda x, y: (x, y),
    "tensors": lambda x, y: (torch.tensor(x), torch.tensor(y)),
    "dict": lambda x, y: {"x": x, "label": y},
    "TensorDataset": lambda x, y: TensorDataset(torch.tensor(x), torch.tensor(y)),
    "DataLoader": lambda x, y: DataLoader(TensorDataset(torch.tensor(x), torch.tensor(y))),
    "list": lambda x, y: list(zip(x, y, strict=True)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_data_have_the_same_hash_and_all_samples_are_covered(form):
    first, second = (fingerprint_samples(Samples(FORMS[form](*arrays()))) for _ in range(2))
    assert first == second
    assert first[1] == "all samples"
    assert len(first[0].removeprefix(VERSION)) == 64


@settings(max_examples=40, deadline=None)
@given(form=st.sampled_from(sorted(FORMS)), place=st.integers(0, 39), pixel=st.booleans())
def test_one_changed_label_or_pixel_changes_it(form, place, pixel):
    x, y = arrays()
    before = hash_of(FORMS[form](x, y))
    if pixel:
        x.flat[place] += 1
    else:
        y[place % 10] += 1
    assert hash_of(FORMS[form](x, y)) != before


@pytest.mark.parametrize("form", FORMS)
def test_order_and_length_matter(form):
    x, y = arrays()
    found = {hash_of(FORMS[form](x[order], y[order])) for order in (np.arange(10), np.arange(10)[::-1], np.arange(9))}
    assert len(found) == 3


def test_type_shape_and_names_matter():
    x, y = arrays()
    sources = [(x, y), (x.astype(np.float64), y), (x.reshape(10, 4), y), {"x": x, "y": y}, {"y": x, "x": y}]
    assert len({hash_of(source) for source in sources[:3]}) == 3
    assert hash_of(sources[3]) != hash_of(sources[4])


def test_memory_layout_does_not_matter():
    x, y = arrays()
    assert hash_of((np.asfortranarray(x), y)) == hash_of((x, y))
    assert hash_of((torch.tensor(x).transpose(1, 2).contiguous().transpose(1, 2), torch.tensor(y))) == hash_of(
        (torch.tensor(x), torch.tensor(y))
    )


def test_a_large_data_set_is_sampled_and_says_so():
    whole, covered = fingerprint_samples(Samples(Map(1000)))
    assert covered == "256 of 1000 samples"
    assert fingerprint_samples(Samples(Map(100)))[1] == "all samples"
    assert hash_of(Map(1000)) == whole
    assert hash_of(Map(1001)) != whole
    assert hash_of(Map(1000, changed=0)) != whole
    assert hash_of(Map(1000, changed=999)) != whole


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(4, dtype=torch.bfloat16),
        torch.arange(4, dtype=torch.float16),
        torch.arange(4.0).requires_grad_(),
        torch.arange(4) > 1,
        torch.zeros(4, dtype=torch.complex64),
        np.arange(4, dtype=">f4"),
        np.array(["a", "bc", "d", "e"]),
        np.arange("2020-01-01", "2020-01-05", dtype="M8[D]"),
    ],
    ids=["bfloat16", "float16", "requires grad", "bool", "complex", "big-endian", "words", "dates"],
)
def test_every_type_of_array_can_be_hashed(values):
    source = [{"x": values, "label": 0}]
    assert hash_of(source) == hash_of(
        [{"x": values.copy() if isinstance(values, np.ndarray) else values.clone(), "label": 0}]
    )
    assert hash_of(source) != hash_of([{"x": values[:3], "label": 0}])


def test_objects_are_hashed_by_what_they_say_and_not_by_where_they_lie():
    held = [np.array([("a" + str(i))[:2], 2], dtype=object) for i in (1, 1, 2)]
    first, second, other = (hash_of([{"x": one, "label": 0}]) for one in held)
    assert first == second
    assert first != other


def test_undecoded_images_are_hashed_by_their_pixels():
    image = pytest.importorskip("PIL.Image")
    black, again, white = (image.new("L", (4, 4), shade) for shade in (0, 0, 255))
    first, second, other = (hash_of([(one, 0)]) for one in (black, again, white))
    assert first == second
    assert first != other


def table(changed=None, chunks=1, n=1000):
    rows = [{"text": f"text {i}", "more": {"a": [i, None][: i % 3]}, "label": i % 2} for i in range(n)]
    if changed is not None:
        rows[changed]["more"] = {"a": [7]}
    size = -(-n // chunks)
    schema = pa.Table.from_pylist(rows[:3]).schema
    return pa.concat_tables(pa.Table.from_pylist(rows[start : start + size], schema) for start in range(0, n, size))


def hub(source):
    return pytest.importorskip("datasets").Dataset(source)


@pytest.mark.parametrize("kind", ["table", "hub", "hub with indices", "list"])
def test_every_row_of_a_table_counts(kind):
    made = {
        "table": lambda rows: rows,
        "hub": hub,
        "hub with indices": lambda rows: hub(rows).select(range(999, -1, -1)),
        "list": lambda rows: rows.to_pylist(),
    }[kind]
    before, covered = fingerprint_samples(Samples(made(table())))
    assert covered == "all samples"
    assert {hash_of(made(table(changed=place))) for place in (1, 501, 998)}.isdisjoint({before})
    assert hash_of(made(table(chunks=7))) == before


def test_a_table_has_one_hash_in_every_library_and_file(tmp_path):
    rows = table()
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=99)
    found = {hash_of(rows), hash_of(hub(rows)), hash_of(rows.to_pylist())}
    found.add(hash_of(FileRows(open_table(tmp_path / "a.parquet"))))
    assert len(found) == 1


def test_every_image_of_a_folder_counts_wherever_it_lies(tmp_path):
    image = pytest.importorskip("PIL.Image")

    def make(name, changed=None):
        for place in range(400):
            file = tmp_path / name / "ab"[place % 2] / f"{place}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.new("L", (2, 2), 99 if place == changed else place % 256).save(file)
        return ImageFolder(tmp_path / name, None)

    before, covered = fingerprint_samples(Samples(make("first")))
    assert covered == "all samples"
    assert hash_of(make("second")) == before
    assert hash_of(make("third", changed=201)) != before
    assert hash_of(ImageFolder(tmp_path / "first", lambda picture: torch.zeros(1))) != before


def test_fingerprints_of_the_first_version_still_tell():
    first = "dbd3bb7e6d9c9e9b16a1b4a6a1b6f3b0"  # any hash of the first version
    x, y = arrays()
    assert not has_fingerprint(Samples((x, y)), first)
    digest = hashlib.sha256(b"10")
    update_digest(digest, (x, y))
    assert has_fingerprint(Samples((x, y)), digest.hexdigest())
