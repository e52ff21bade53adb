import pytest

from gradsift.printable import printable
from tests.support.hostile import HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_steers_a_terminal_is_left(text):
    shown = printable(text)
    assert all(char.isprintable() for char in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["Löwe", "猫", "قطة", "👩‍👩‍👧", "naïve “x”", "a b"])
def test_words_of_all_languages_stay(text):
    assert printable(text) == text


def test_what_becomes_of_them():
    assert printable("cat\x1b[31m\u202e\ud800\n") == "cat\\x1b[31m\\u202e\\ud800\\n"
    assert printable("two\nlines\x00", keep="\n\t") == "two\nlines\\x00"
    assert printable(ValueError("\a")) == "\\x07"
