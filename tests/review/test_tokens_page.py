"""Token labels, several labels and values, edited on the page in a real browser, and written into the data set."""

import json

import numpy as np
import pytest
import torch

import gradsift
from gradsift.cleaning.decisions import Decisions
from tests.review.test_browser import press, serious, shown
from tests.support.browser import CHROMIUM
from tests.support.review_page import client_of, desk_of, page_on, ready, served
from tests.support.tagged import NAMES, UNUSUAL, audited_sentences, sentences

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
OUTSIDE, B_LOC, I_LOC = 0, 3, 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return audited_sentences(tmp_path_factory.mktemp("tokens") / "run")


def numbers(tags):
    return [NAMES.index(tag) for tag in tags]


def chosen(tab):
    """Places of the selected tokens."""
    return tab.evaluate(
        """() => [...document.querySelectorAll("#words [aria-selected=true]")].map((one) => Number(one.id.slice(5)))"""
    )


@in_a_browser
def test_tokens_get_labels_by_keyboard_alone(browser, run, tmp_path):
    rows, right = sentences()
    with desk_of(run) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        assert serious(tab) == []
        press(tab, "s")  # what is suggested, of all flagged tokens at once
        assert desk.book.decisions.decision(first).label == numbers(right[first])
        second = shown(tab)
        press(tab, "l")
        assert chosen(tab) == [1]  # the flagged token
        assert tab.evaluate("document.activeElement.id") == "words"
        assert serious(tab) == []
        for key in ("ArrowRight", "ArrowLeft", "Shift+ArrowRight"):
            tab.keyboard.press(key)
        assert chosen(tab) == [1, 2]
        tab.keyboard.type("LO")
        tab.keyboard.press("Enter")  # the typed name
        tab.keyboard.press("Home")
        tab.keyboard.press("Enter")
        ready(tab)
        tab.wait_for_selector(f"#status:has-text('Saved {second}')")
        expected = numbers(rows[second]["tags"])
        expected[1:3] = B_LOC, I_LOC
        if expected == numbers(rows[second]["tags"]):
            assert desk.book.decisions.decision(second).kind == "keep"
        else:
            assert desk.book.decisions.decision(second).label == expected
        press(tab, "z")
        assert shown(tab) == second
        assert desk.book.decisions.decision(second) is None
        assert not tab.troubles
    new = gradsift.correct(run, run.train_set, "reviewed").raw
    assert new[first]["tags"] == right[first]


@in_a_browser
@pytest.mark.slow
def test_a_choice_keeps_names_whole_and_a_change_is_taken_back(browser, run):
    with desk_of(run) as desk, served(desk) as link, page_on(browser, link) as tab:
        position = shown(tab)
        press(tab, "l")
        tab.keyboard.press("Home")
        tab.keyboard.press("End")  # the last token is inside of a name
        offered = tab.locator("#tag-choices button").all_inner_texts()
        kind = sentences()[0][position]["tags"][-1][2:]
        assert any(one.endswith(f"{kind}, continued") for one in offered)
        assert sum("continued" in one for one in offered) == 1
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("0")  # O: what follows begins a name now
        labels = tab.locator("#words small").all_inner_texts()
        assert labels[-2].startswith("O")
        assert labels[-1].startswith(f"B-{kind}")
        tab.keyboard.press("Shift+End")
        tab.keyboard.press("Backspace")
        assert tab.locator("#words .changed").count() == 0
        tab.keyboard.press("Escape")
        assert shown(tab) == position
        assert desk.book.decisions.decision(position) is None
        assert not tab.troubles


@in_a_browser
@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_on_a_phone_tokens_are_tapped(browser, run, scheme):
    with (
        desk_of(run) as desk,
        served(desk) as link,
        page_on(browser, link, width=360, height=740, scheme=scheme, touch=True) as tab,
    ):
        position = shown(tab)
        tab.locator("#sample [data-token='4']").tap()
        assert chosen(tab) == [4]
        tab.locator("#tag-extend").tap()
        tab.locator("#word-5").tap()
        assert chosen(tab) == [4, 5]
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate(
            "document.getElementById('tags').scrollWidth <= document.getElementById('tags').clientWidth"
        )
        assert serious(tab) == []
        tab.locator("#tag-choices button", has_text="O").first.tap()
        tab.locator("#tags button[value=give]").tap()
        tab.wait_for_selector(f"#status:has-text('Saved {position}')")
        expected = numbers(sentences()[0][position]["tags"])
        expected[4:6] = OUTSIDE, OUTSIDE
        assert desk.book.decisions.decision(position).label == expected
        press(tab, "z")
        assert not tab.troubles


@in_a_browser
@pytest.mark.slow
def test_emoji_right_to_left_and_markup_are_shown_as_they_are(browser, tmp_path):
    rows, _ = sentences(size=40, wrong=4)
    for row in rows:
        row["tokens"] = [*UNUSUAL, *row["tokens"]]
        row["tags"] = ["O"] * len(UNUSUAL) + row["tags"]
    rows[0]["tags"][1] = "B-PER"
    audit = audited_sentences(tmp_path / "run", rows, wrong=4)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        tab.evaluate("location.hash = ''")
        press(tab, "l")
        texts = tab.locator("#words li > span").all_inner_texts()
        assert texts[: len(UNUSUAL)] == [UNUSUAL[0], UNUSUAL[1], UNUSUAL[2], "\\u202egnp", "<b>x</b>"]
        assert tab.locator("#words b, #sample .words span b").count() == 0
        tab.keyboard.press("Escape")
        tab.evaluate("document.getElementById('words').dir = 'rtl'")
        press(tab, "l")
        start = chosen(tab)[0]
        tab.keyboard.press("ArrowLeft")  # forth, where text runs to the left
        assert chosen(tab) == [start + 1]
        assert not tab.troubles


def test_what_cannot_be_the_labels_of_a_sample_s_tokens_is_refused(run):
    with desk_of(run) as desk:
        client = client_of(desk)
        for label in ([0] * 8, [0] * 10, [0] * 8 + [5], [0] * 8 + [True], "O", 3, None, [[0]] * 9):
            answer = client.post("/decide", json={"positions": [0], "kind": "relabel", "label": label})
            assert answer.status_code == 400, label
            assert "nothing was saved" in answer.json()["error"]
        assert client.post("/decide", json={"positions": [0], "kind": "relabel", "label": [0] * 9}).status_code == 200
        card = client.get("/card/0").text
        assert "relabel 6 tokens: O, O, O, O, O, O" in card
        assert json.loads(client.get("/state").text)["classes"] == NAMES
        client.post("/undo", json={})
    with Decisions.open(run.run.path) as decisions:
        assert decisions.decision(0) is None


def test_without_the_data_set_tokens_are_numbered_and_with_ids_told_by_them(tmp_path):
    torch.manual_seed(0)
    ids, labels = torch.randint(0, 30, (40, 6)), torch.randint(0, 3, (40, 6))
    labels[:, 4:] = -100
    model = torch.nn.Sequential(torch.nn.Embedding(30, 8), torch.nn.Linear(8, 3)).eval()
    audit = gradsift.audit(
        model, (ids, labels), task="token-classification", contamination=0.1, output=tmp_path / "run",
        show_progress=False,
    )  # fmt: skip
    with desk_of(audit) as desk:
        card = client_of(desk).get("/card/3").text
        assert [f"<span>{one}</span>" in card for one in ids[3, :4].tolist()] == [True] * 4
    with desk_of(gradsift.Audit.open(audit.run.path)) as desk:
        assert "<span>token 3</span>" in client_of(desk).get("/card/3").text


def several(output, kind, targets=3):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 4)).astype(np.float32)
    if kind == "multilabel":
        given = (inputs[:, :targets] > 0).astype(np.float32)
        given[:6, 0] = 1 - given[:6, 0]
        model = torch.nn.Linear(4, targets).eval()
        model.weight.data, model.bias.data = 6 * torch.eye(4)[:targets], torch.zeros(targets)
    else:
        given, model = generator.normal(size=(60, targets)).astype(np.float32), torch.nn.Linear(4, targets).eval()
    task = {"multilabel": "multilabel", "value": "regression"}[kind]
    return gradsift.audit(
        model, (inputs, given), task=task, contamination=0.1, output=output, show_progress=False
    ), given


@in_a_browser
@pytest.mark.parametrize("targets", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_labels_are_ticked_with_digits_and_suggested_ones_taken(browser, tmp_path, targets):
    audit, given = several(tmp_path / "run", "multilabel", targets)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        suggested = audit.table["suggested_label"][first].as_py()
        press(tab, "s")
        assert desk.book.decisions.decision(first).label == np.flatnonzero(suggested).tolist()
        second = shown(tab)
        press(tab, "l")
        assert serious(tab) == []
        tab.keyboard.press("1")
        tab.keyboard.press("Enter")
        ready(tab)
        tab.wait_for_selector(f"#status:has-text('Saved {second}')")
        expected = given[second].copy()
        expected[1] = 1 - expected[1]
        assert desk.book.decisions.decision(second).label == np.flatnonzero(expected).tolist()
        press(tab, "k", "l")  # again: what was decided is ticked
        assert tab.locator("#several input").nth(1).is_checked() == bool(expected[1])
        tab.keyboard.press("Escape")
        assert not tab.troubles
    _, new = gradsift.correct(audit, audit.train_set, "reviewed")
    np.testing.assert_array_equal(new[second], expected)
    np.testing.assert_array_equal(new[first], suggested)


@in_a_browser
@pytest.mark.slow
def test_of_many_labels_a_typed_name_ticks_one(browser, tmp_path):
    generator = np.random.default_rng(0)
    inputs, given = generator.normal(size=(60, 4)).astype(np.float32), np.zeros((60, 40), dtype=np.float32)
    names = [f"label {number}" for number in range(40)]
    audit = gradsift.audit(
        torch.nn.Linear(4, 40).eval(), (inputs, given), task="multilabel", class_names=names, contamination=0.1,
        output=tmp_path / "run", show_progress=False,
    )  # fmt: skip
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        press(tab, "l")
        for name in ("LABEL 37", "25"):
            tab.keyboard.type(name)
            assert tab.locator("#several label:visible").count() <= 2
            tab.keyboard.press("Enter")
        assert serious(tab) == []
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f"#status:has-text('Saved {first}')")
        assert desk.book.decisions.decision(first).label == [25, 37]
        assert not tab.troubles


@in_a_browser
@pytest.mark.slow
def test_the_values_of_several_targets_are_typed(browser, tmp_path):
    audit, given = several(tmp_path / "run", "value", 2)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        press(tab, "l")
        assert [float(one.input_value()) for one in tab.locator("#numbers-of input").all()] == pytest.approx(
            given[first]
        )
        tab.locator("#numbers-of input").nth(1).fill("2.5")
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f"#status:has-text('Saved {first}')")
        assert desk.book.decisions.decision(first).label == pytest.approx([float(given[first][0]), 2.5])
        assert not tab.troubles
    _, new = gradsift.correct(audit, audit.train_set, "reviewed")
    np.testing.assert_allclose(new[first], [given[first][0], 2.5])
