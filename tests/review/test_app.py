"""What the review server answers, without a browser."""

import re
import threading

import numpy as np
import pytest
import torch

import gradsift
from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.cleaning.learned import Learner
from gradsift.errors import DataError, RunDirectoryError
from gradsift.review.desk import seconds_by_kind, turns
from tests.support.review_page import client_of, desk_of, images, run_on_images, run_on_texts


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return run_on_images(tmp_path_factory.mktemp("audited") / "run", size=100, wrong=20)


@pytest.fixture
def desk(audit):
    """A desk on the audit, on which nobody has decided anything yet."""
    with desk_of(audit) as desk:
        yield desk
    for file in audit.run.path.glob("decisions*"):
        file.unlink()


@pytest.fixture
def client(desk):
    return client_of(desk)


def decide(client, positions, kind, label=None, **more):
    return client.post("/decide", json={"positions": positions, "kind": kind, "label": label, **more})


def queue(client, **query):
    return client.get("/queue", params={"brief": 1, "limit": 500} | query).json()


def test_the_queue_leaves_out_what_is_decided_and_undo_brings_it_back(client):
    first = queue(client)["rows"]
    assert decide(client, first[:1], "drop").json() == {"saved": 1, "words": "drop"}
    assert decide(client, first[1:2], "skip").status_code == 200
    assert queue(client)["rows"] == first[2:]
    assert queue(client, state="decided")["rows"] == first[:1]
    assert queue(client, state="skipped")["rows"] == first[1:2]
    assert queue(client, state="any")["rows"] == first
    assert client.post("/undo", json={}).json() == {"positions": first[1:2]}
    assert client.post("/undo", json={}).json() == {"positions": first[:1]}
    assert client.post("/undo", json={}).json() == {"positions": []}
    assert queue(client)["rows"] == first
    assert client.post("/redo", json={}).json() == {"positions": first[:1]}
    assert queue(client)["rows"] == first[1:]


def test_pages_follow_one_another(client):
    whole = queue(client, scope="all", state="any")["rows"]
    pages = [
        client.get("/queue", params={"scope": "all", "state": "any", "offset": at, "limit": 30}).json()
        for at in range(0, 100, 30)
    ]
    assert [row["position"] for page in pages for row in page["rows"]] == whole
    assert {page["total"] for page in pages} == {100}
    row = pages[0]["rows"][0]
    assert {"given", "suggested", "score", "reason", "decision", "id", "kind", "flagged", "position"} == row.keys()


def test_every_kind_of_decision_is_kept_with_who_and_how_long(client, desk):
    position = queue(client)["rows"][0]
    words = []
    for kind, label in (
        ("keep", None),
        ("relabel", 2),
        ("drop", None),
        ("ambiguous", [0.5, 0, 0.5]),
        ("ambiguous", None),
        ("skip", None),
    ):
        words.append(decide(client, [position], kind, label, note="so", milliseconds=1500).json()["words"])
    long = "a rather long name of a class"
    assert words == ["keep", f"relabel to {long}", "drop", f"ambiguous: cat 50 %, {long} 50 %", "ambiguous", "skipped"]
    history = desk.book.decisions.history(position)
    assert [(one.decision.reviewer, one.decision.milliseconds, one.decision.note) for one in history] == [
        ("ann", 1500, "so")
    ] * 6


@pytest.mark.parametrize(
    ("positions", "kind", "label", "words"),
    [
        ([0], "relabel", 7, "no class"),
        ([0], "relabel", None, "gives no label"),
        ([0], "burn", None, "kinds are keep"),
        ([0], "ambiguous", [1, 1, 1], "sum to 1"),
        ([100], "drop", None, "positions of the data set"),
        ([-1], "drop", None, "positions of the data set"),
        ([True], "drop", None, "positions of the data set"),
        (["0"], "drop", None, "positions of the data set"),
        ([], "drop", None, "at least one"),
        (None, "drop", None, "at least one"),
        ([0, 0], "drop", None, "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_saved(client, desk, positions, kind, label, words):
    answer = decide(client, positions, kind, label)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert len(desk.book.decisions) == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"query": {"given": "x"}, "kind": "drop"}'])
def test_a_body_that_is_no_request_is_refused(client, body):
    answer = client.post("/decide", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"given": "a"},
        {"given": "-1"},
        {"low": "nan"},
        {"order": "x"},
        {"scope": "x"},
        {"state": "x"},
        {"offset": "-1"},
        {"limit": "1.5"},
    ],
)
def test_a_query_that_cannot_be_answered_says_why(client, query):
    answer = client.get("/queue", params=query)
    assert answer.status_code == 400
    assert "given" in answer.json()["error"]


def test_a_selection_is_decided_at_once_and_undone_at_once(client):
    query = {"scope": "flagged", "state": "undecided", "given": 1}
    found = queue(client, **query)
    refused = client.post("/decide", json={"query": query, "expected": found["total"] + 1, "kind": "drop"})
    assert refused.status_code == 400
    assert "look at it again" in refused.json()["error"]
    taken = client.post("/decide", json={"query": query, "expected": found["total"], "kind": "drop"}).json()
    assert taken["saved"] == found["total"] > 1
    assert queue(client, **query)["total"] == 0
    assert sorted(client.post("/undo", json={}).json()["positions"]) == sorted(found["rows"])
    assert queue(client, **query)["total"] == found["total"]


def test_a_request_that_is_sent_again_after_a_lost_answer_is_answered_and_saved_once(client, desk):
    tokens = [f"{number:032x}" for number in range(5)]
    first = queue(client)["rows"][0]
    answers = [decide(client, [first], "drop", request=tokens[0]).json() for _ in range(2)]
    assert answers == [{"saved": 1, "words": "drop"}] * 2
    query = {"query": {"scope": "flagged", "state": "undecided", "given": 1}, "kind": "keep", "request": tokens[1]}
    selected = queue(client, **query["query"])["rows"]
    answers = [client.post("/decide", json=query | {"expected": len(selected)}).json() for _ in range(2)]
    assert answers == [{"saved": len(selected), "words": "keep"}] * 2
    undone = [client.post("/undo", json={"request": tokens[2]}).json() for _ in range(2)]
    assert [sorted(answer["positions"]) for answer in undone] == [sorted(selected)] * 2
    redone = [client.post("/redo", json={"request": tokens[3]}).json() for _ in range(2)]
    assert [sorted(answer["positions"]) for answer in redone] == [sorted(selected)] * 2
    actions = [entry.action for entry in desk.book.decisions.history(selected[0])]
    assert actions == ["decide", "undo", "redo"]
    assert len(desk.book.decisions.history(first)) == 1
    assert decide(client_of(desk, "bob"), [first], "drop", request=tokens[0]).status_code == 200
    assert len(desk.book.decisions.history(first)) == 2  # another reviewer's token is another one


@pytest.mark.parametrize("token", ["short", 7, ["a" * 32], "a" * 65, "'; DROP TABLE steps; --"])
def test_what_is_no_token_of_a_request_is_refused(client, desk, token):
    assert decide(client, [0], "drop", request=token).status_code == 400
    assert client.post("/undo", json={"request": token}).status_code == 400
    assert len(desk.book.decisions) == 0


def test_who_changes_a_first_decision_after_a_second_reading_has_the_first_word(tmp_path):
    with desk_of(run_on_images(tmp_path / "run", size=100, wrong=20), second_reading=1.0) as desk:
        ann, bob = client_of(desk), client_of(desk, "bob")
        position = queue(ann)["rows"][0]
        decide(ann, [position], "drop")
        decide(bob, [position], "keep")
        decide(ann, [position], "keep")
        assert desk.book.decisions.decision(position).kind == "keep"
        assert [(one.reviewer, one.blind) for one in desk.book.decisions.readings(position)] == [
            ("bob", True),
            ("ann", False),
        ]
        assert desk.book.decisions.conflicts() == []


def test_a_card_shows_image_labels_reason_and_neighbours(client, desk):
    position = queue(client)["rows"][0]
    card = client.get(f"/card/{position}").text
    assert card.count("data:image/png;base64,") == 9
    assert "Nearest neighbours" in card
    assert 'data-digit="2"' in card
    assert not re.search(r"\sstyle=|<script|\son\w+=", card)
    near = [int(one) for one in re.findall(r'data-open="(\d+)"', card)]
    pixels = images(100, 20)[0].reshape(100, -1)
    units = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    assert (
        near == [one for one in np.argsort(-(units @ units[position]), kind="stable").tolist() if one != position][:8]
    )


def test_duplicates_are_shown_and_decided_together(tmp_path):
    pictures, given, probabilities = images(60, 6)
    pictures[1], probabilities[1] = pictures[0], probabilities[0]
    given[:2] = 0, 1
    audit = gradsift.audit_predictions(
        given, probabilities, features=pictures.reshape(60, -1), data=(pictures, given), contamination=0.15,
        output=tmp_path / "run", show_progress=False,
    )  # fmt: skip
    with desk_of(audit) as desk:
        client = client_of(desk)
        flagged = [one for one in (0, 1) if audit.table["reason_kind"][one].as_py() == "duplicate"]
        assert flagged
        card = client.get(f"/card/{flagged[0]}").text
        assert f'data-duplicates="[{1 - flagged[0]}]"' in card
        assert "Same input, another label" in card
        near = queue(client, order="near duplicates", scope="flagged")["rows"]
        assert set(near) == set(audit.flagged_positions.tolist())


def test_hostile_texts_and_names_are_escaped_everywhere(tmp_path):
    with desk_of(run_on_texts(tmp_path / "run")) as desk:
        client = client_of(desk, "<i>eve")
        position = queue(client, scope="flagged")["rows"][0]
        decide(client, [position], "relabel", 0, note="<u>note")
        for path in ("/", f"/card/{position}", "/header", "/conflicts"):
            text = client.get(path).text
            assert not re.search(r"<i>|<u>|<b>ham|<img|\x1b|\u202e|<script>|<style", text), path
        assert "&lt;script&gt;" in client.get(f"/card/{position}").text
        found = queue(client, text="NUMBER 7", scope="all", state="any")["rows"]
        assert found == [7]


def test_reviewers_see_their_own_decisions_and_read_a_share_again_blindly(tmp_path):
    with desk_of(run_on_images(tmp_path / "run", size=200, wrong=60), second_reading=0.3) as desk:
        ann, bob = client_of(desk), client_of(desk, "bob")
        flagged = queue(ann, scope="flagged")["rows"]
        decide(ann, flagged, "drop")
        again = queue(bob, scope="flagged")["rows"]
        assert 8 <= len(again) <= 30
        assert "Your decision" not in bob.get(f"/card/{again[0]}").text
        decide(bob, again[:1], "keep")
        decide(bob, again[1:2], "drop")
        readings = desk.book.decisions.readings(again[0])
        assert [(one.reviewer, one.blind) for one in readings] == [("ann", False), ("bob", True)]
        assert queue(bob, scope="flagged")["rows"] == again[2:]
        assert queue(ann, state="conflict", scope="all")["rows"] == again[:1]
        conflicts = ann.get("/conflicts").text
        assert "bob: <b>keep</b>" in conflicts
        assert "ann: <b>drop</b>" in conflicts
        assert "1 in conflict" in ann.get("/header").text
        assert set(queue(ann, state="by:bob", scope="all")["rows"]) == set(again[:2])


def test_decisions_are_there_when_the_run_is_opened_again(tmp_path):
    audit = run_on_images(tmp_path / "run", size=100, wrong=20)
    with desk_of(audit) as desk:
        client = client_of(desk)
        first = queue(client)["rows"]
        decide(client, first[:3], "drop")
        with pytest.raises(RunDirectoryError, match="another process reviews"), Decisions.open(audit.run.path):
            pass
    with desk_of(audit) as desk:
        client = client_of(desk)
        assert queue(client)["rows"] == first[3:]
        assert "Your decision: <b>drop</b>" in client.get(f"/card/{first[0]}").text


def test_twenty_reviewers_at_once_lose_nothing(tmp_path):
    with desk_of(run_on_images(tmp_path / "run", size=400, wrong=120)) as desk:
        clients = [client_of(desk, f"reviewer {number}") for number in range(20)]
        failed = []

        def work(number):
            for step in range(10):
                if decide(clients[number], [number * 10 + step], "drop").status_code != 200:
                    failed.append((number, step))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert desk.book.decisions.counts()["drop"] == 200
        for number in range(20):
            assert queue(clients[number], scope="all", state="decided")["total"] == 10


def test_without_the_data_set_rows_are_still_decided(tmp_path):
    audit = run_on_images(tmp_path / "run", size=60, wrong=12)
    with desk_of(gradsift.Audit.open(audit.run.path)) as desk:
        client = client_of(desk)
        assert "not at hand" in client.get("/").text
        position = queue(client)["rows"][0]
        assert "No preview" in client.get(f"/card/{position}").text
        assert decide(client, [position], "drop").status_code == 200


def test_another_data_set_is_refused(tmp_path):
    audit = run_on_images(tmp_path / "run", size=60, wrong=12)
    pictures, given, _ = images(60, 12)
    other = gradsift.Audit.open(audit.run.path, (pictures[::-1].copy(), given))
    with pytest.raises(DataError, match="not the one that was audited"), desk_of(other):
        pass


@pytest.mark.parametrize("kind", ["multilabel", "value"])
def test_several_labels_and_values_are_edited_as_such(tmp_path, kind):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 4)).astype(np.float32)
    if kind == "multilabel":
        given = (generator.random((60, 3)) < 0.5).astype(np.float32)
        right, wrong, words = [0, 2], [5], "relabel to 0, 2"
        given[(given == [1, 0, 1]).all(axis=1), 0] = 0  # no sample has these labels already
    else:
        given = generator.normal(size=(60, 1)).astype(np.float32)
        right, wrong, words = 1.5, "high", "relabel to 1.5"
    task = {"multilabel": "multilabel", "value": "regression"}[kind]
    audit = gradsift.audit(
        torch.nn.Linear(4, given.shape[1]), (inputs, given), task=task, contamination=0.1, output=tmp_path / "run",
        show_progress=False,
    )  # fmt: skip
    with desk_of(audit) as desk:
        client = client_of(desk)
        position = queue(client)["rows"][0]
        assert client.get("/state").json()["kind"] == kind
        assert client.get(f"/card/{position}").status_code == 200
        assert decide(client, [position], "relabel", wrong).status_code == 400
        assert decide(client, [position], "relabel", right).json()["words"] == words


def test_the_header_tells_what_is_left_how_right_the_audit_was_and_what_comes(client, desk):
    assert "right so far" not in client.get("/header").text
    flagged = queue(client, scope="flagged")["rows"]
    decide(client, flagged[:8], "drop", milliseconds=80_000)
    decide(client, flagged[8:10], "keep", milliseconds=20_000)
    decide(client, queue(client, scope="slice")["rows"][:2], "keep", milliseconds=20_000)
    header = client.get("/header").text
    assert '<b id="done">12</b> decided' in header
    assert f'<b id="left">{queue(client)["total"]}</b> left' in header
    assert "right so far: 8 of 10" in header
    assert re.search(r"about \d+ wrong in the next \d+, \d+ minutes at your speed", header)
    assert "Of 2 random samples that are not flagged 0 had a wrong label" in header
    assert header.count("<circle") == len({*re.findall(r"said \d+ %, found \d+ of \d+ wrong", header)}) > 0
    assert "style=" not in header


def test_what_decisions_teach_re_orders_what_is_left(client, desk):
    flagged = queue(client, scope="flagged")["rows"]
    wrong = desk.queue.given[flagged[0]]
    for position in flagged[:10]:
        decide(client, [position], "drop" if desk.queue.given[position] == wrong else "keep")
    assert client.post("/relearn", json={}).json() == {"decisions": 10}
    left = np.array(queue(client, scope="flagged")["rows"])
    assert set(left.tolist()) == set(flagged[10:])
    learned = Learner(desk.audit).learn(desk.book.decisions.current()).wrong
    assert (np.diff(learned[left]) <= 0).all()


def test_kinds_that_take_longer_come_later():
    kinds = np.array(["wrong_label"] * 20 + ["ambiguous"] * 20 + ["atypical"] * 2)
    standing = {
        place: Decision(
            place, str(place), "", "ann", "keep", milliseconds=2000 if kinds[place] == "ambiguous" else 1000
        )
        for place in [*range(12), *range(20, 32), 40]
    }
    seconds = seconds_by_kind(standing, kinds)
    assert set(seconds[:20]) == {1.0}
    assert set(seconds[20:40]) == {2.0}
    assert set(seconds[40:]) == {1.0}  # too few of this kind: the median of all
    assert set(seconds_by_kind({}, kinds)) == {1.0}
    worth = turns(np.full(42, 0.5), seconds)
    assert worth[:20].min() > worth[20:40].max()


def test_of_a_selection_each_sample_gets_its_own_suggested_label_and_its_own_halves(client, desk):
    table = desk.audit.table
    chosen = queue(client, scope="flagged")["rows"][:8]
    suggested = {place: table["suggested_label"][place].as_py() for place in chosen}
    assert len(set(suggested.values())) > 1
    assert decide(client, chosen, "suggested").status_code == 200
    assert {place: one.label for place, one in desk.book.decisions.current().items()} == suggested
    assert decide(client, chosen, "halves").status_code == 200
    for place, one in desk.book.decisions.current().items():
        halves = [0.5 * (label in (table["given_label"][place].as_py(), suggested[place])) for label in range(3)]
        assert (one.kind, one.label) == ("ambiguous", halves)
    quiet = queue(client, scope="slice")["rows"][0]
    refused = decide(client, [chosen[0], quiet], "suggested")
    assert refused.status_code == 400
    assert f"1 of 2 samples have no suggested label (positions {quiet})" in refused.json()["error"]
    assert desk.book.decisions.decision(quiet) is None


def test_who_relabels_a_selection_keeps_those_that_have_the_label_already(client, desk):
    given = desk.queue.given
    chosen = [int(np.flatnonzero(given == label)[0]) for label in range(3)]
    decide(client, chosen, "relabel", 1)
    assert [desk.book.decisions.decision(one).kind for one in chosen] == ["relabel", "keep", "relabel"]
    assert decide(client, [chosen[0], chosen[0]], "drop").status_code == 400


@pytest.mark.parametrize(
    "value", ["\0", "\ud800", "%ff", "1e400", "-1", "9" * 400, "' OR 1=1", "\u202e", "[", "(?i", "\U0001d518"]
)
def test_no_query_brings_the_server_down(client, value):
    names = [
        "scope",
        "order",
        "given",
        "suggested",
        "reason",
        "text",
        "low",
        "high",
        "finding",
        "state",
        "offset",
        "limit",
    ]
    for name in names:
        text = value.encode("utf-8", "surrogatepass")
        answer = client.get(f"/queue?{name}=" + "".join(f"%{byte:02x}" for byte in text))
        assert answer.status_code in (200, 400), (name, answer.text)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{", b"\xff", b'{"positions": [0], "kind": "drop", "milliseconds": 1e999}', b"[" * 100_000,
        b'{"positions": [0], "kind": "relabel", "label": NaN}', b'{"positions": [99999999999999999999], "kind": "drop"}',
        b'{"positions": [0], "kind": "relabel", "label": {"a": 1}}', b'{"positions": [0], "kind": null}',
        b'{"positions": [0], "kind": "drop", "note": "\\ud800"}', b'{"positions": [0], "kind": "drop", "note": {"a": 1}}',
        b'{"positions": {"0": 0}, "kind": "drop"}', b'{"query": [], "expected": 0, "kind": "drop"}',
        b'{"query": {"scope": ["all"]}, "expected": 0, "kind": "drop"}', b'{"positions": [0], "kind": ["drop"]}',
        b'{"query": {"given": true, "low": []}, "expected": 0, "kind": "drop"}',
    ],
)  # fmt: skip
def test_no_body_brings_the_server_down(client, desk, content):
    for path in ("/decide", "/undo", "/redo"):
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400), (path, content[:80], answer.text)
    assert len(desk.book.decisions) <= 1  # a note may be any text
