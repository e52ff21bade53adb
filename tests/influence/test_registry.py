"""Influence methods by name."""

import pytest

from gradsift.errors import SettingError
from gradsift.influence import METHODS, Influence, get_method


@pytest.mark.parametrize("name", METHODS)
def test_every_name_makes_a_method(name):
    settings = {"checkpoints": ["a.safetensors"]} if name == "tracin" else {}
    assert isinstance(get_method(name, settings), Influence)


def test_settings_reach_the_method():
    assert get_method("datainf", {"damping": 0.3}).damping == 0.3
    assert get_method("gradsift.influence:DataInf", {"layers": "last"}).layers == "last"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("nothing", {}, "choose among inner_product"),
        ("no.such.module:Class", {}, "cannot be imported"),
        ("datainf", {"dumping": 1}, "does not take these settings"),
        ("builtins:dict", {}, "is no Influence"),
    ],
)
def test_what_does_not_exist_is_refused(name, settings, words):
    with pytest.raises(SettingError, match=words):
        get_method(name, settings)
