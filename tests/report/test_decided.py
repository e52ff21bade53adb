"""The page says what people decided."""

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.report.decided import what_was_decided
from tests.support.reviewed import audited, decided


def test_a_page_without_decisions_says_nothing_of_them(tmp_path):
    audit, data, _ = audited(tmp_path / "run")
    assert what_was_decided(audit, data) is None
    assert "What people decided" not in audit.report().read_text()
    Decisions.open(tmp_path / "run").close()
    assert what_was_decided(audit, data) is None


def test_the_page_tells_what_was_decided_and_what_no_longer_matches(tmp_path):
    audit, data, true = audited(tmp_path / "run")
    first = audit.flagged_positions[:4].tolist()
    with Decisions.open(tmp_path / "run") as decisions:
        decisions.add([decided(audit, place, "relabel", int(true[place])) for place in first[:3]])
        decisions.add([decided(audit, first[3])])
        decisions.add([Decision(50, "50", "data:0", "<b>eve</b>", "drop")])
        decisions.add([decided(audit, first[3], "drop", reviewer="ben", blind=True)])
    told = what_was_decided(audit, data)
    assert told["counts"] == {"keep": 1, "relabel": 3, "drop": 1, "ambiguous": 0, "skip": 0}
    assert (told["reviewers"], told["unmatched"]) == (["<b>eve</b>", "ann", "ben"], [50])
    assert "Of 4 flagged samples 3 had a wrong label (75 %)." in told["sentences"]
    assert "Reviewers differ about 1 samples." in told["sentences"]
    assert sum(one.found.size for one in told["calibration"]) == 5
    page = audit.report().read_text()
    assert "What people decided" in page
    assert "1 decisions are about samples that are no longer what they were" in page
    assert "<b>eve" not in page
