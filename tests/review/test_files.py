"""Decisions as files on the page: what goes out comes in, and nobody brings what others have decided."""

import json
import shutil

import pytest

import gradsift
from gradsift.review.app import make_app
from gradsift.review.files import OFFERED
from gradsift.review.guard import Doors, Guard
from tests.review.test_browser import press, serious, shown
from tests.support.browser import CHROMIUM
from tests.support.review_page import (
    ORIGIN,
    PORT,
    client_of,
    desk_of,
    page_on,
    ready,
    run_on_images,
    served,
)

BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def run(tmp_path):
    return run_on_images(tmp_path / "run", size=60, wrong=12)


def copied(audit, place):
    path = shutil.copytree(audit.run.path, place, ignore=shutil.ignore_patterns("decisions*", ".decisions*"))
    return gradsift.Audit.open(path, audit.train_set)


def decide(client, position, kind="drop"):
    assert client.post("/decide", json={"positions": [position], "kind": kind}).status_code == 200


@pytest.mark.parametrize("name", [name for name in OFFERED if name != "issues"])
def test_what_the_page_exports_another_page_imports_once(run, tmp_path, name):
    with desk_of(run) as desk:
        client = client_of(desk)
        decide(client, 1)
        decide(client, 2, "keep")
        answer = client.get(f"/export/{name}")
        assert answer.headers["content-disposition"].startswith('attachment; filename="decisions-')
    with desk_of(copied(run, tmp_path / "copy")) as desk:
        client = client_of(desk)
        for added in (2, 0):
            told = client.post(f"/import/{name}", content=answer.content, headers=BYTES).json()["words"]
            assert told.startswith(f"{added} decisions were added")
        assert {place: one.kind for place, one in desk.book.decisions.current("ann").items()} == {1: "drop", 2: "keep"}
        assert 1 not in client.get("/queue", params={"brief": 1, "scope": "all"}).json()["rows"]


def test_the_issue_table_has_a_row_for_every_sample(run):
    with desk_of(run) as desk:
        assert len(client_of(desk).get("/export/issues").text.splitlines()) == 61


def test_files_that_are_none_are_told_and_add_nothing(run):
    with desk_of(run) as desk:
        client = client_of(desk)
        for name, content, words in (
            ("csv", b"a,b\n1,2\n", "needs position, reviewer and kind"),
            ("csv", b"position,reviewer,kind,label\n3,ann,relabel,9\n", "no class"),
            ("parquet", b"PAR1", "cannot be read as parquet"),
            ("label-studio", b"{", "no readable JSON"),
            ("datasets", b"", "knows the formats"),
            ("..%2f..%2fetc", b"", "knows the formats"),
        ):
            answer = client.post(f"/import/{name}", content=content, headers=BYTES)
            assert answer.status_code in (400, 404), name
            assert answer.status_code == 404 or words in answer.json()["error"]
        assert client.get("/export/datasets").status_code == 400
        assert len(desk.book.decisions) == 0
        huge = BYTES | {"content-length": str(2**40)}
        assert client.post("/import/csv", content=b"", headers=huge).status_code == 413


def test_who_comes_by_a_token_of_a_file_brings_their_own_decisions_alone(run):
    token = "a-token-of-more-than-thirty-two-characters"
    rows = "position,reviewer,kind\n3,bob,drop\n"
    with desk_of(run) as desk:
        from starlette.testclient import TestClient

        client = TestClient(Guard(make_app(desk), Doors(PORT, {token: "bob"}), loopback=True), base_url=ORIGIN)
        client.get(f"/?token={token}")
        client.headers["origin"] = ORIGIN
        refused = client.post("/import/csv", content=rows + "4,ann,keep\n", headers=BYTES)
        assert refused.status_code == 400
        assert "decisions of ann, and you came as bob" in refused.json()["error"]
        assert len(desk.book.decisions) == 0
        assert client.post("/import/csv", content=rows, headers=BYTES).status_code == 200
        assert desk.book.decisions.decision(3).reviewer == "bob"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
def test_files_go_out_and_in_by_the_buttons(browser, run, tmp_path):
    with desk_of(run) as desk, served(desk) as link, page_on(browser, link) as tab:
        first = shown(tab)
        press(tab, "d", "o")
        assert serious(tab) == []
        with tab.expect_download() as waiting:
            tab.get_by_role("link", name="label-studio").click()
        waiting.value.save_as(tmp_path / "tasks.json")
        tasks = json.loads((tmp_path / "tasks.json").read_text())
        kinds = {task["data"]["position"]: [one["result"][0]["value"]["choices"] for one in task["annotations"]]
                 for task in tasks}  # fmt: skip
        assert kinds[first] == [[["drop"]]] or kinds[first] == [["drop"]]
        (tmp_path / "more.csv").write_text(f"position,reviewer,kind\n{second_of(desk, first)},ben,keep\n")
        tab.locator("#import-format").select_option("csv")
        tab.locator("#import-file").set_input_files(tmp_path / "more.csv")
        tab.locator("#import").click()
        tab.wait_for_selector("#imported:has-text('1 decisions were added')")
        tab.keyboard.press("Escape")
        ready(tab)
        assert len(desk.book.decisions) == 2
        assert not tab.troubles


def second_of(desk, first):
    return next(one for one in desk.audit.flagged_positions.tolist() if one != first)
