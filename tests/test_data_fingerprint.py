import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from gradsift.data import Samples, fingerprint_samples


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
    assert len(first[0]) == 64


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
