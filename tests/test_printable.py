import pytest

from gradsift.printable import printable

HOSTILE = [
    "[INST]", "[/INST]", "[bold]x[/]", "[/]", "[link=file:///etc/passwd]x[/link]", ":smile:", "\x1b]0;title\x07",
    "\x1b[31mred", "\x9b31m", "\r\rover", "back\b\b", "null\x00", "bell\x07", "\u202egnp.exe", "\u2066x\u2069", "\u2028",
    "\ufeffmark", "\U000e0041tag", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7*7 }}", "{0}",
    "%s%n", "</pre></style>", "&lt;b&gt;", "javascript:alert(1)",
]  # fmt: skip
"""Names that a stranger may have given: to classes, files, columns, samples."""


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
