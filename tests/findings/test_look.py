"""Inputs that are looked at together look as they do alone."""

import numpy as np
import pytest
import torch

from gradsift.data import Samples
from gradsift.findings.inputs import read_inputs
from gradsift.findings.look import CONSTANT, EMPTY, NOT_FINITE, UNREAD, UNREADABLE, kind_of, looks_of

GENERATOR = np.random.default_rng(0)
SIZE = 7
ROWS = GENERATOR.standard_normal((SIZE, 10)).astype(np.float32)
PIXELS = GENERATOR.integers(0, 255, (SIZE, 16, 16, 3), dtype=np.uint8)
KINDS = {
    "rows": ROWS,
    "rows in float64": ROWS.astype(np.float64),
    "rows as tensors": torch.from_numpy(ROWS),
    "half precision": torch.from_numpy(ROWS).half(),
    "bfloat16": torch.from_numpy(ROWS).bfloat16(),
    "integers": (100 * ROWS).astype(np.int64),
    "truth values": ROWS > 0,
    "a dict with rows": [{"x": row} for row in ROWS],
    "named numbers": [dict(zip("abcdefghij", row, strict=True)) for row in ROWS.astype(np.float64).tolist()],
    "named integers": [{"a": place, "b": 2**60 + place} for place in range(SIZE)],
    "integers and floats": [{"a": place, "b": place / 3} for place in range(SIZE)],
    "too large integers": [{"a": place, "b": 2**63 + place} for place in range(SIZE)],
    "colours last": PIXELS,
    "colours first": torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float(),
    "grey": PIXELS[..., 0],
    "one channel": PIXELS[..., :1].astype(np.float64),
    "signals": GENERATOR.standard_normal((SIZE, 3, 400)),
    "signals, time first": torch.from_numpy(GENERATOR.standard_normal((SIZE, 400, 3))),
    "long rows": GENERATOR.standard_normal((SIZE, 300)),
    "other byte order": ROWS.astype(">f4"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_together_and_alone(kind):
    inputs = list(KINDS[kind])
    together = looks_of(inputs)
    alone = [looks_of([shown])[0] for shown in inputs]
    as_words = [looks_of([(shown,)])[0] for shown in inputs]  # a tuple is looked at alone
    for one, other, plain in zip(together, alone, as_words, strict=True):
        assert (one.digest, one.form, one.fault) == (other.digest, other.form, other.fault)
        np.testing.assert_array_equal(one.vector, other.vector)
        assert (plain.form, plain.fault) == (one.form, one.fault)
        np.testing.assert_array_equal(one.vector, plain.vector)
    assert len({one.digest for one in together}) == SIZE


def test_faults_are_told_apart():
    rows = GENERATOR.standard_normal((5, 10))
    rows[1, 2], rows[2, 3], rows[3], rows[4, 0] = np.nan, np.inf, 5.0, 1e300
    looks = looks_of(list(rows))
    assert [look.fault for look in looks] == ["", NOT_FINITE, NOT_FINITE, CONSTANT, ""]
    assert [look.vector is None for look in looks] == [False, True, True, True, True]  # 1e300 is no float32
    assert [look.fault for look in looks_of([np.zeros((0,)), np.zeros((0,))])] == [EMPTY, EMPTY]
    assert looks_of([UNREAD])[0].fault == UNREADABLE


def test_only_what_is_alike_is_looked_at_together():
    assert kind_of(ROWS[0]) == kind_of(ROWS[1]) != kind_of(ROWS[0][:5])
    assert kind_of({"a": 1, "b": 2.0}) != kind_of({"a": 1.0, "b": 2.0})
    assert kind_of({"a": 1, "b": 2.0}) != kind_of({"b": 1, "a": 2.0})
    assert [kind_of(shown) for shown in ("a text", {"text": "a text"}, {"a": True}, {}, (1, 2), UNREAD)] == [None] * 6


@pytest.mark.parametrize(
    "samples",
    [
        [({"id": i, "a": 1.5 * i, "b": 2.0}, i % 2) for i in range(20)],
        [({"target": i, "a": 1.5 * i, "b": 2.0}, i % 2) for i in range(20)],
        [({"y": torch.full((3, 8, 8), float(i))}, i % 2) for i in range(5)],
        [(torch.randn(600, dtype=torch.complex64), i % 2) for i in range(4)],
        [{"chosen": i, "rejected": i + 1} for i in range(20)],
    ],
    ids=["id", "label", "picture under a label's name", "complex", "pair"],
)
def test_inputs_whose_content_is_less_than_their_numbers_are_looked_at_one_by_one(samples):
    found = read_inputs(Samples(samples), show_progress=False)
    assert len(found.digests) == len(samples)
