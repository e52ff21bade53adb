"""The list of everything that is flagged, in the page and in the browser."""

import csv
import json
import re

import numpy as np
import pyarrow as pa
import pytest

import gradsift
from gradsift.report.listing import listing
from tests.report.test_report import CHROMIUM

NAMES = ["</script><script>document.title='owned'</script>", "=1+1", "fox"]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """200 samples of which 100 are flagged, with ids and class names that are code elsewhere."""
    generator = np.random.default_rng(0)
    given = generator.integers(0, 3, 200)
    probabilities = np.eye(3)[np.where(np.arange(200) < 120, (given + 1) % 3, given)] * 0.7 + 0.1
    audit = gradsift.audit_predictions(
        given, probabilities, class_names=NAMES, contamination=0.5, output=tmp_path_factory.mktemp("listing") / "run",
        show_progress=False,
    )  # fmt: skip
    ids = pa.array([f'@{place},"<b>\x1b' for place in range(200)])
    return audit.with_table(audit.table.set_column(1, "id", ids))


@pytest.fixture(scope="module")
def page(audit, tmp_path_factory):
    return audit.report(tmp_path_factory.mktemp("page") / "page.html")


def test_all_that_is_flagged_is_in_the_page_and_none_of_it_is_markup(audit, page):
    text = page.read_text()
    (data,) = re.findall(r'<script type="application/json" id="flagged-data">(.*?)</script>', text, re.DOTALL)
    listed = json.loads(data)
    assert listed["position"] == audit.flagged_positions.tolist()
    table = audit.table.take(audit.flagged_positions)
    for key in ("given", "suggested"):
        words = [listed[key]["names"][one] for one in listed[key]["of"]]
        assert words == [NAMES[one] if one is not None else "" for one in table[f"{key}_label"].to_pylist()]
    assert listed["score"] == pytest.approx(table["score"].to_pylist(), rel=1e-4)
    assert "<script>document" not in text
    assert "\x1b" not in text
    assert "gradsift review" in text


def test_of_very_many_that_are_flagged_the_first_are_listed_and_the_page_says_so(audit, monkeypatch, tmp_path):
    monkeypatch.setattr("gradsift.report.listing.MOST", 30)
    assert listing(audit, str)["position"] == audit.flagged_positions[:30].tolist()
    text = audit.report(tmp_path / "page.html").read_text()
    assert "The 30 most detrimental of 100 flagged samples" in text
    assert "All 100 flagged samples" not in text


def test_ids_that_are_positions_are_left_out_and_nothing_flagged_is_no_list(audit):
    plain = audit.with_table(audit.table.set_column(1, "id", pa.array([str(one) for one in range(200)])))
    assert listing(plain, str)["id"] is None
    place = audit.table.schema.get_field_index("flagged")
    none = audit.with_table(audit.table.set_column(place, "flagged", pa.array(np.zeros(200, dtype=bool))))
    assert listing(none, str) is None


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
def test_the_list_is_paged_filtered_searched_and_saved_offline(browser, audit, page, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    tab = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme="dark").new_page()
    troubles, requests = [], []
    tab.on("console", lambda message: troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    rows, told = tab.locator("#flagged-rows tr"), tab.locator("#flagged-page")
    assert told.inner_text() == "1 to 50 of 100"
    tab.locator("#flagged-forth").click()
    assert told.inner_text() == "51 to 100 of 100"
    assert tab.locator("#flagged-forth").is_disabled()
    tab.locator("select[name=given]").select_option("fox")
    wanted = [one for one in audit.flagged_positions.tolist() if audit.table["given_label"][one].as_py() == 2]
    assert told.inner_text().endswith(f" of {len(wanted)}")
    with tab.expect_download() as saving:
        tab.locator("#flagged-save").click()
    saving.value.save_as(tmp_path / "flagged.csv")
    saved = list(csv.DictReader((tmp_path / "flagged.csv").open(newline="")))
    assert [int(row["position"]) for row in saved] == wanted
    assert saved[0]["id"].startswith("'@")  # no formula for a spreadsheet
    assert {row["given_label"] for row in saved} == {"fox"}
    tab.locator("#flagged-filters input").fill(f"@{wanted[0]},")
    assert rows.count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.title() != "owned"
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    assert not troubles
    found = Axe().run(tab).response["violations"]
    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]
    tab.context.close()
