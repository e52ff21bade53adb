from typing import Any, Literal

import pytest

from gradsift.ranges import NOTHING, SWITCH, TEXT, TEXTS, fits, one_of, share, whole


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (whole(1, 9), [1, 9], [0, 10, True, 1.0, "1", None, float("nan"), 10**400]),
        (whole(1) | one_of("auto"), [1, "auto"], ["automatic", 0, ["auto"], {}]),
        (share(0.5, "a share"), [0.5, 1e-9], [0, 0.6, True, "0.1", float("nan"), float("inf"), -1, 10**400]),
        (TEXT, ["a", " ", "é"], ["", 3, None, b"a", "\ud800", "\0", ["a"]]),
        (TEXT | NOTHING, ["a", None], ["", 0, False]),
        (TEXTS, [("a",), ()], [["a"], "a", (1,), ("\ud800",), None]),
        (SWITCH, [True, False], [0, 1, "true", None]),
    ],
)
def test_ranges(allowed, good, bad):
    assert all(allowed.holds(value) for value in good)
    assert not any(allowed.holds(value) for value in bad)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True), (True, int, False), (1.5, int, False), (1, float, True), ("a", float, False),
        (None, int | None, True), ("auto", float | Literal["auto"], True), ("other", float | Literal["auto"], False),
        ("x", bool, False), (True, bool, True), (object(), Any, True), ([1], dict, True),
    ],
)  # fmt: skip
def test_plain_values_and_type_hints(value, hint, expected):
    assert fits(value, hint) is expected
