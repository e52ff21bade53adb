"""The review page in Debian's Chromium: by keys, by finger, killed in between, and for everybody."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from gradsift.cleaning.decisions import Decisions
from tests.support.browser import CHROMIUM
from tests.support.review_page import HOSTILE, desk_of, page_on, ready, run_on_images, run_on_texts, served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")


def press(tab, *keys):
    for key in keys:
        ready(tab)
        tab.keyboard.press(key)
    tab.wait_for_selector("body[data-waiting='0']")


def shown(tab):
    ready(tab)
    return int(tab.locator("#sample").get_attribute("data-position"))


def serious(tab):
    """What axe-core finds that is serious or worse."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_keys_decide_move_and_undo_and_everybody_can_read_it(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        suggested = audit.table["suggested_label"][first].as_py()
        press(tab, "s")
        second = shown(tab)
        assert second != first
        press(tab, "j", "k")
        assert shown(tab) == second
        press(tab, "f", "d", "a", "1", "x")
        mine = {position: one.kind for position, one in desk.book.decisions.current("ann").items()}
        assert list(mine.values())[:4] == ["relabel", "keep", "drop", "ambiguous"]
        assert desk.book.decisions.decision(first).label == suggested
        press(tab, "z", "z", "z", "z", "z", "z")
        assert shown(tab) == first
        assert len(desk.book.decisions) == 0
        press(tab, "Z")
        assert len(desk.book.decisions) == 1
        assert serious(tab) == []
        tab.keyboard.press("?")
        assert "undo, to any depth" in tab.locator("#help").inner_text()
        assert serious(tab) == []
        tab.keyboard.press("Escape")
        assert not tab.troubles
        assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in tab.requests)


@pytest.mark.slow
def test_a_decision_whose_answer_is_lost_is_sent_again_and_saved_once(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        for key, action in (("d", "decide"), ("z", "undo"), ("Z", "redo")):

            def saved_without_an_answer(route):
                route.fetch()
                route.abort()

            tab.route(f"**/{action}", saved_without_an_answer, times=1)
            ready(tab)
            tab.keyboard.press(key)
            tab.get_by_role("button", name="Try again").click()
            tab.wait_for_selector("body[data-waiting='0']")
            assert tab.locator("#alert").is_hidden()
        assert [entry.action for entry in desk.book.decisions.history(first)] == ["decide", "undo", "redo"]


@pytest.mark.slow
def test_labels_notes_and_shares_are_typed(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        press(tab, "n")
        tab.keyboard.type("seen j d z")  # letters that are keys elsewhere
        tab.locator("#note button[value=give]").click()
        press(tab, "l")
        tab.keyboard.type("ather")
        tab.keyboard.press("Enter")
        second = shown(tab)
        decision = desk.book.decisions.decision(first)
        assert (decision.kind, decision.note) in {("relabel", "seen j d z"), ("keep", "seen j d z")}
        press(tab, "A")
        tab.locator("#share-rows input").nth(0).fill("3")
        tab.locator("#share-rows input").nth(2).fill("1")
        tab.keyboard.press("Enter")
        ready(tab)
        assert desk.book.decisions.decision(second).label == [0.75, 0, 0.25]
        tab.keyboard.press("/")
        tab.keyboard.type("no such text")
        tab.wait_for_selector("text=Nothing left here")
        assert len(desk.book.decisions) == 2
        assert not tab.troubles


@pytest.mark.slow
def test_several_are_decided_in_the_table_and_a_flip_pair_on_the_card(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=200, wrong=60)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        tab.on("dialog", lambda dialog: dialog.accept())
        first = shown(tab)
        press(tab, "p")
        tab.wait_for_selector("#picked:has-text('selected')")
        told = int(re.search(r"[\d,]+", tab.locator("#picked").inner_text())[0].replace(",", ""))
        press(tab, "d")
        tab.wait_for_selector("#status:has-text('Saved')")
        pair = (audit.table["given_label"][first].as_py(), audit.table["suggested_label"][first].as_py())
        dropped = list(desk.book.decisions.current("ann"))
        assert len(dropped) == told > 5
        assert {
            (audit.table["given_label"][one].as_py(), audit.table["suggested_label"][one].as_py()) for one in dropped
        } == {pair}
        press(tab, "t")
        tab.wait_for_selector("#rows tr")
        tab.keyboard.press("d")
        assert "Select samples" in tab.locator("#status").inner_text()
        for row in (0, 2):
            tab.locator("#rows input").nth(row).check()
        assert serious(tab) == []
        tab.keyboard.press("f")
        tab.wait_for_selector("#status:has-text('Saved 2 samples')")
        assert desk.book.decisions.counts()["keep"] == 2
        tab.keyboard.press("z")
        tab.wait_for_selector("#status:has-text('Undone')")
        assert desk.book.decisions.counts()["keep"] == 0


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_a_phone_by_finger(browser, tmp_path, scheme):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with (
        desk_of(audit) as desk,
        served(desk) as link,
        page_on(browser, link, width=360, height=740, scheme=scheme, touch=True) as tab,
    ):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        first = shown(tab)
        swipe(tab, 60, 300)
        tab.wait_for_selector("#status:has-text('Saved')")
        assert desk.book.decisions.decision(first).kind == "keep"
        second = shown(tab)
        swipe(tab, 300, 60)
        tab.wait_for_selector(f"#status:has-text('Saved {second}')")
        assert desk.book.decisions.decision(second).kind == "relabel"
        assert serious(tab) == []
        tab.locator("[data-action=table]").click()
        tab.wait_for_selector("#rows tr")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not tab.troubles


def swipe(tab, start, end):
    ready(tab)
    tab.evaluate(
        """([start, end]) => {
            const at = (kind, x) => document.getElementById("card").dispatchEvent(
                new PointerEvent(kind, { pointerType: "touch", clientX: x, clientY: 200, bubbles: true }));
            at("pointerdown", start); at("pointerup", end);
        }""",
        [start, end],
    )


@pytest.mark.slow
def test_a_hostile_sample_is_shown_as_text(browser, tmp_path):
    with desk_of(run_on_texts(tmp_path / "run")) as desk, served(desk, "<i>eve") as link, page_on(browser, link) as tab:
        tab.locator("#filters").evaluate(
            "form => { form.scope.value = 'flagged'; form.dispatchEvent(new Event('input')); }"
        )
        ready(tab)
        tab.wait_for_selector("#sample")
        assert HOSTILE.split("\x1b")[0] in tab.locator("#sample .look").inner_text()
        press(tab, "0")
        tab.keyboard.press("t")
        tab.wait_for_selector("#rows tr")
        assert "owned" not in tab.title()
        assert tab.locator("#sample script, #rows script, #rows img").count() == 0
        assert not tab.troubles


@pytest.mark.slow
def test_a_decision_that_does_not_arrive_is_told_and_sent_again(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        tab.route("**/decide", lambda route: route.abort())
        first = shown(tab)
        tab.keyboard.press("d")
        tab.wait_for_selector("#alert:has-text('Not saved: 1 step')")
        assert len(desk.book.decisions) == 0
        tab.unroute("**/decide")
        tab.get_by_role("button", name="Try again").click()
        tab.wait_for_selector(f"#status:has-text('Saved {first}')")
        assert tab.locator("#alert").is_hidden()
        assert desk.book.decisions.decision(first).kind == "drop"


@pytest.mark.slow
def test_three_hundred_keys_and_all_undone(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=1000, wrong=400)
    with desk_of(audit) as desk, served(desk) as link, page_on(browser, link) as tab:
        keys = np.random.default_rng(0).choice(list("fsda012"), 300)
        seen = []
        for key in keys:
            seen.append(shown(tab))
            tab.keyboard.press(key)
        ready(tab)
        assert len(set(seen)) == 300
        assert list(desk.book.decisions.current("ann")) == seen
        tab.reload()
        ready(tab)
        tab.wait_for_selector("#done:has-text('300')")
        assert shown(tab) not in seen
        for _ in range(300):
            press(tab, "z")
        assert len(desk.book.decisions) == 0
        assert shown(tab) == seen[0]
        tab.reload()
        assert shown(tab) == seen[0]
        assert not tab.troubles


@pytest.mark.slow
def test_what_is_shown_as_saved_outlives_a_kill(browser, tmp_path):
    audit = run_on_images(tmp_path / "run", size=200, wrong=60)
    run, saved = audit.run.path, {}
    for _ in range(3):
        server = subprocess.Popen(
            [sys.executable, "-m", "gradsift", "review", str(run), "--no-browser", "--reviewer", "ann"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ,
        )  # fmt: skip
        try:
            link = re.search(r"http://\S+", server.stdout.readline())[0]
            with page_on(browser, link) as tab:
                for key in "dfsa":
                    position = shown(tab)
                    assert position not in saved
                    tab.keyboard.press(key)
                    tab.wait_for_selector(f"#status:has-text('Saved {position}')")
                    saved[position] = key
                shown(tab)
                tab.keyboard.press("d")  # killed while it may be under way
                server.send_signal(signal.SIGKILL)
                server.wait()
        finally:
            server.kill()
            server.stdout.close()
    with Decisions.open(run) as decisions:
        found = decisions.current("ann")
        assert set(saved) <= set(found)
        assert len(found) <= len(saved) + 3
        kinds = {"d": "drop", "f": "keep", "s": "relabel", "a": "ambiguous"}
        assert all(found[position].kind == kinds[key] for position, key in saved.items() if key != "s")
