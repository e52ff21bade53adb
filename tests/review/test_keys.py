"""Keys of the review page, and a file that sets them."""

import pytest

from gradsift.errors import SettingError
from gradsift.review.keys import ACTIONS, default_keys, read_keys


def test_keys_do_one_thing_each():
    keys = [key for own in default_keys().values() for key in own]
    assert len(keys) == len(set(keys))
    assert not any(key.isdecimal() for key in keys)
    assert default_keys().keys() == ACTIONS.keys()


def test_a_file_sets_some_keys_and_leaves_the_others(tmp_path):
    (tmp_path / "keys.yaml").write_text("keep: g\ndrop: [d, Delete]\n")
    keys = read_keys(tmp_path / "keys.yaml")
    assert keys == default_keys() | {"keep": ["g"], "drop": ["d", "Delete"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keep: d", "'d' does two things, keep and drop"),
        ("keep: g\ndrop: g", "'g' does two things"),
        ("kepe: g", "unknown actions kepe; there are next"),
        ("keep: 3", "digits give labels"),
        ("keep: Tab", "Tab, Enter"),
        ("keep: ' '", "Tab, Enter"),
        ("keep: ctrl+k", "one character, or a key's name"),
        ("keep: ''", "one character"),
        ("- keep", "no actions"),
        ("keep: [", "cannot be read"),
        ("", "no actions"),
    ],
)
def test_a_file_that_does_not_work_is_refused(tmp_path, text, words):
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(SettingError, match=words):
        read_keys(tmp_path / "keys.yaml")


def test_a_file_that_is_missing_says_so(tmp_path):
    with pytest.raises(SettingError, match=r"none\.yaml cannot be read"):
        read_keys(tmp_path / "none.yaml")
