from dataclasses import dataclass, fields
from typing import Literal

import pytest

from gradsift.errors import SettingError
from gradsift.fields import check_settings, choices, ranges_of, setting, settings_of
from gradsift.ranges import share, whole


@dataclass(frozen=True)
class Thing:
    path: str = setting("Where.", panel="A")
    size: int | Literal["auto"] = setting("How many.", "auto", panel="A", number=whole(1, 9))
    part: float | None = setting("How much.", None, panel="B", number=share(0.5, "a share", advice="(as 0.1)"))
    kind: Literal["one", "two"] = setting("Which.", "one", panel="B")
    names: tuple[str, ...] | None = setting("Names.", None, panel="B", flags=["--all-names"])
    on: bool = setting("Whether.", False, panel="B")
    cache: object = None

    def __post_init__(self):
        check_settings(self)


def test_what_a_field_may_hold_follows_from_its_type():
    words = {name: allowed.words for name, allowed in ranges_of(Thing).items()}
    assert words == {
        "path": "a text that is valid UTF-8 and not empty",
        "size": "a whole number from 1 to 9, or 'auto'",
        "part": "a share, or left out",
        "kind": "one or two",
        "names": "a list of texts that are valid UTF-8, or left out",
        "on": "true or false",
    }
    assert Thing("x", size=9, part=0.5, kind="two", names=("a",), on=True, cache=object())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("path", "", "path is a text .* given ''"),
        ("size", 10, "size is a whole number from 1 to 9, or 'auto'; given 10"),
        ("size", "many", "or 'auto'"),
        ("part", 0.6, r"part is a share, or left out; given 0.6 \(as 0.1\)"),
        ("kind", "three", "kind is one or two"),
        ("names", "a", "names is a list"),
        ("on", 1, "on is true or false"),
    ],
)
def test_other_values_are_refused(name, value, message):
    with pytest.raises(SettingError, match=message):
        Thing(**{"path": "x", name: value})


def test_fields_say_what_the_command_line_needs():
    declared = {field.name: (field.metadata, choices(members)) for field, members in settings_of(Thing)}
    assert declared.keys() == {field.name for field in fields(Thing)} - {"cache"}
    assert declared["kind"][1] == ["one", "two"]
    assert declared["names"][0]["flags"] == ("--all-names",)
    assert {metadata["panel"] for metadata, _ in declared.values()} == {"A", "B"}
    assert all(metadata["help"].endswith(".") for metadata, _ in declared.values())
