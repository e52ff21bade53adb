"""The scripts of ``make check``: links that lead nowhere, sentences that need a second reading."""

import runpy
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"


def test_links_lead_to_pages_and_to_headings():
    assert runpy.run_path(str(SCRIPTS / "check_links.py"))["broken"]() == []


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/there.md").write_text("# Two words\n\n```sh\n[no](link.md)\n```\n")
    (tmp_path / "README.md").write_text(
        "[a](docs/there.md) [b](docs/there.md#two-words) [c](docs/gone.md) [d](docs/there.md#three) [e](https://x.org)\n"
    )
    assert runpy.run_path(str(SCRIPTS / "check_links.py"))["broken"](tmp_path) == [
        "README.md: docs/gone.md is not there",
        "README.md: docs/there.md#three names no heading",
    ]


def test_no_sentence_is_too_long():
    script = runpy.run_path(str(SCRIPTS / "check_words.py"))
    for sentences in (script["of_pages"](), script["of_code"]()):
        found = list(sentences)
        assert len(found) > 1000
        assert [one for one in found if one.words > one.limit] == []


def test_a_sentence_is_counted_as_a_reader_counts():
    script = runpy.run_path(str(SCRIPTS / "check_words.py"))
    text = (
        "# Head\n\nOne `two three` [four five](six.md), 7 %. Next one.\n\n* an entry\n| a | table |\n\n```\ncode\n```\n"
    )
    found = [script["Sentence"]("", sentence, 9) for sentence in script["sentences_of"](text)]
    assert [(one.text, one.words) for one in found] == [
        ("One Code four five, 7 %.", 5), ("Next one.", 2), ("an entry", 2),
    ]  # fmt: skip
