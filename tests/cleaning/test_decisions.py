"""What people decided: kept for good, undone and done again, never lost and never mixed up."""

import multiprocessing
import os
import shutil
import sqlite3
import threading
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradsift
from gradsift.cleaning import decision_file
from gradsift.cleaning.cures_of import cure_of
from gradsift.cleaning.decision import KINDS, Decision
from gradsift.cleaning.decisions import Decisions
from gradsift.errors import DataError, RunDirectoryError
from gradsift.locations import as_location
from gradsift.store import RunDirectory
from tests.support.reviewed import audited, decided

FILE = "decisions.sqlite"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("decisions") / "run"
    audited(place)
    return place


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def of(position, kind="keep", label=None, reviewer="ann", **fields):
    return Decision(position, str(position), "table:0", reviewer, kind, label, **fields)


def words(decisions):
    return {position: (one.kind, one.label) for position, one in decisions.items()}


def test_what_was_added_stands_and_is_there_again_when_the_file_is_opened(run):
    with Decisions.open(run) as decisions:
        assert decisions.add([of(3, "relabel", 2, note="a fox", milliseconds=812)]) == 1
        assert decisions.add([of(4, "drop"), of(5, "drop")]) == 2
        stands = decisions.current()
    assert words(stands) == {3: ("relabel", 2), 4: ("drop", None), 5: ("drop", None)}
    assert (stands[3].note, stands[3].milliseconds, stands[3].at[:2]) == ("a fox", 812, "20")
    with Decisions.open(run, create=False) as again:
        assert again.current() == stands
        assert again.counts() == {"keep": 0, "relabel": 1, "drop": 2, "ambiguous": 0, "skip": 0}
    assert not list(run.glob(".*lock"))
    RunDirectory.open(run).read_table()  # the run is as whole as before


def test_undo_takes_back_a_whole_step_and_redo_brings_it_again(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1, "keep")])
        decisions.add([of(1, "drop"), of(2, "drop")])
        assert decisions.undo("ann") == [1, 2]
        assert words(decisions.current()) == {1: ("keep", None)}
        assert decisions.undo("ann") == [1]
        assert decisions.undo("ann") == [] == decisions.undo("nobody")
        assert decisions.current() == {}
        assert (decisions.redo("ann"), decisions.redo("ann"), decisions.redo("ann")) == ([1], [1, 2], [])
        assert words(decisions.current()) == {1: ("drop", None), 2: ("drop", None)}
        decisions.undo("ann")
        decisions.add([of(7, "skip")])
        assert decisions.redo("ann") == []
        assert words(decisions.current()) == {1: ("keep", None), 7: ("skip", None)}
        assert [(one.action, one.decision.kind) for one in decisions.history(1)] == [
            ("decide", "keep"), ("decide", "drop"), ("undo", "drop"), ("undo", "keep"), ("redo", "keep"),
            ("redo", "drop"), ("undo", "drop"),
        ]  # fmt: skip
        assert decisions.history(1)[2].stands.kind == "keep"
        assert decisions.history(1)[3].stands is None


def test_nothing_is_ever_changed_in_place(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
        decisions.undo("ann")
    with sqlite3.connect(run / FILE) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (2,)
        for statement in ("UPDATE decisions SET kind = 'drop'", "DELETE FROM decisions", "DELETE FROM steps"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(statement)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben"]),
        st.one_of(
            st.sampled_from(["undo", "redo"]),
            st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["keep", "drop"])), min_size=1, max_size=3),
        ),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(actions=ACTIONS)
def test_any_order_of_steps_undo_and_redo_ends_as_a_plain_list_of_states_says(finished, tmp_path_factory, actions):
    run = tmp_path_factory.mktemp("steps") / "run"
    run.mkdir()
    for name in ("manifest.json", "config.yaml", "scores.parquet"):
        shutil.copy(finished / name, run / name)
    shutil.copytree(finished / "gradients", run / "gradients")
    states = {name: [{}] for name in ("ann", "ben")}
    now = {"ann": 0, "ben": 0}
    with Decisions.open(run) as decisions:
        for reviewer, action in actions:
            own = states[reviewer]
            if action == "undo":
                now[reviewer] = max(0, now[reviewer] - 1)
                decisions.undo(reviewer)
            elif action == "redo":
                now[reviewer] = min(len(own) - 1, now[reviewer] + 1)
                decisions.redo(reviewer)
            else:
                chosen = dict(action)
                decisions.add([of(place, kind, reviewer=reviewer) for place, kind in chosen.items()])
                del own[now[reviewer] + 1 :]
                own.append(own[-1] | {place: (kind, None) for place, kind in chosen.items()})
                now[reviewer] += 1
            for name in states:
                assert words(decisions.current(name)) == states[name][now[name]]
        everything, counts, conflicts = decisions.current(), decisions.counts(), decisions.conflicts()
    assert sum(counts.values()) == len(everything)
    ann, ben = (states[name][now[name]] for name in ("ann", "ben"))
    assert conflicts == sorted(place for place in ann.keys() & ben.keys() if ann[place] != ben[place])
    with Decisions.open(run) as again:
        assert (again.current(), again.counts(), again.conflicts()) == (everything, counts, conflicts)


def test_a_request_that_comes_again_does_nothing_more_also_after_the_file_was_opened_again(run):
    token, other = "a" * 32, "b" * 32
    with Decisions.open(run) as decisions:
        assert decisions.add([of(1), of(2)], token) == decisions.add([of(1), of(2)], token) == 1
        decisions.add([of(3)])
    with Decisions.open(run) as decisions:
        assert decisions.add([of(1), of(2)], token) == 1
        assert decisions.done_by("ann", token) == [1, 2]
        assert (
            decisions.done_by("ben", token) is decisions.done_by("ann", other) is decisions.done_by("ann", "") is None
        )
        assert decisions.undo("ann", other) == decisions.undo("ann", other) == [3]
        assert words(decisions.current()) == {1: ("keep", None), 2: ("keep", None)}


def test_a_file_from_before_requests_had_tokens_opens_and_takes_them(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1, "drop")])
    with sqlite3.connect(run / FILE) as connection:
        connection.execute("DROP TABLE requests")
    connection.close()
    with Decisions.read(run) as decisions:
        assert words(decisions.current()) == {1: ("drop", None)}
    with Decisions.open(run) as decisions:
        assert decisions.add([of(2)], "a" * 32) == decisions.add([of(2)], "a" * 32) == 2
        assert words(decisions.current()) == {1: ("drop", None), 2: ("keep", None)}


def test_of_several_readings_the_latest_stands_but_skips_and_blind_ones_come_last(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1, "drop", reviewer="ann"), of(2, "drop", reviewer="ann")])
        decisions.add([of(1, "relabel", 1, reviewer="ben")])
        decisions.add([of(1, "skip", reviewer="cem")])
        decisions.add([of(2, "keep", reviewer="ben", blind=True), of(3, "keep", reviewer="ben", blind=True)])
        assert words(decisions.current()) == {1: ("relabel", 1), 2: ("drop", None), 3: ("keep", None)}
        assert words(decisions.current("ann")) == {1: ("drop", None), 2: ("drop", None)}
        assert decisions.conflicts() == [1, 2]
        assert [one.reviewer for one in decisions.readings(1)] == ["ann", "ben", "cem"]
        assert decisions.reviewers() == ["ann", "ben", "cem"]
        decisions.undo("ben")
        decisions.undo("ben")
        assert decisions.conflicts() == []
        assert words(decisions.current()) == {1: ("drop", None), 2: ("drop", None)}


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (of(60), "no sample: positions are whole numbers from 0 to 59"),
        (of(-1), "no sample"),
        (of(True), "no sample"),
        (of(1, "delete"), "the kinds are keep, relabel, drop, ambiguous, skip"),
        (of(1, "relabel"), "gives no label"),
        (of(1, "relabel", 3), "no class: classes are whole numbers from 0 to 2"),
        (of(1, "relabel", "dog"), "no class"),
        (of(1, "relabel", -1), "no class"),
        (of(1, "keep", 1), "leave it out"),
        (of(1, "ambiguous", [0.5, 0.5]), "give 3 probabilities that sum to 1"),
        (of(1, "ambiguous", [0.5, 0.6, float("nan")]), "give 3 probabilities"),
        (of(1, "ambiguous", [1.5, -0.5, 0.0]), "give 3 probabilities"),
        (of(1, reviewer=" "), "names no reviewer"),
        (of(1, note="\ud800"), "no Unicode"),
        (of(1, note="x" * 10_001), "at most 10,000"),
        (of(1, milliseconds=-1), "milliseconds"),
        (of(1, milliseconds=2**70), "milliseconds"),
        (of(1, at="yesterday"), "ISO 8601"),
    ],
)
def test_a_decision_that_cannot_be_meant_is_refused_with_all_of_its_step(run, decision, words):
    with Decisions.open(run) as decisions:
        with pytest.raises(DataError, match=words):
            decisions.add([of(2), decision])
        assert decisions.current() == {}
        decisions.add([of(1, "ambiguous", [0.5, 0.5, 0.0]), of(2, "ambiguous"), of(3, note="<script>'; DROP TABLE--")])
        assert decisions.counts()["ambiguous"] == 2
        with pytest.raises(DataError, match="the same position was given twice"):
            decisions.add([of(2), of(2, "drop")])
        for step in ([], [of(1), of(2, reviewer="ben")]):
            with pytest.raises(DataError, match="one reviewer"):
                decisions.add(step)


def spoilt(name):
    def spoil(path):
        content = path.read_bytes()
        if name == "text":
            path.write_text("position,kind\n1,drop\n")
        elif name == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif name == "overwritten":
            path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
        else:
            path.unlink()
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE songs (title TEXT)")

    return spoil


@pytest.mark.parametrize("how", ["text", "cut", "overwritten", "other program"])
def test_a_file_that_is_damaged_or_of_another_program_is_refused_and_left_as_it_is(run, how):
    with Decisions.open(run) as decisions:
        decisions.add([of(position) for position in range(60)])
    spoilt(how)(run / FILE)
    before = (run / FILE).read_bytes()
    for opened in (Decisions.open, Decisions.read):
        with pytest.raises(RunDirectoryError, match=r"decisions.sqlite: the file is damaged \(.*sqlite3"):
            opened(run)
    assert (run / FILE).read_bytes() == before
    assert not list(run.glob(".*lock"))


@pytest.mark.parametrize("how", ["empty", "killed before the first table"])
def test_a_file_in_which_nothing_was_written_is_a_new_one(run, how):
    (run / FILE).touch()
    if how != "empty":
        connection = sqlite3.connect(run / FILE)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    assert Decisions.read(run) is None
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
    assert len(Decisions.read(run)) == 1


def test_decisions_of_another_run_are_refused(run, tmp_path):
    other = tmp_path / "other"
    audited(other, seed=1)
    with Decisions.open(other) as decisions:
        decisions.add([of(1)])
    shutil.copy(other / FILE, run / FILE)
    for opened in (Decisions.open, Decisions.read):
        with pytest.raises(RunDirectoryError, match="decisions of another run"):
            opened(run)


def test_what_is_missing_is_said(run, tmp_path):
    assert Decisions.read(run) is None
    with pytest.raises(RunDirectoryError, match="has no decisions: gradsift review"):
        Decisions.open(run, create=False)
    assert not (run / FILE).exists()
    with pytest.raises(RunDirectoryError, match="no run directory"):
        Decisions.open(tmp_path / "nothing")


def test_a_folder_that_cannot_be_written_is_refused_for_writing_and_read(run, monkeypatch):
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
    monkeypatch.setattr(decision_file.os, "access", lambda *_: False)
    with pytest.raises(RunDirectoryError, match="cannot be written, so decisions could not be saved"):
        Decisions.open(run)
    assert list(Decisions.read(run).current()) == [1]
    assert sorted(path.name for path in run.glob("*sqlite*")) == [FILE]


def test_a_full_disk_loses_the_step_alone_and_says_so(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
        connection = decisions._file._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RunDirectoryError, match="disk is full, and nothing of this step was saved"):
            decisions.add([of(position, note="x" * 9_000) for position in range(20)])
        assert list(decisions.current()) == [1]
        connection.execute("PRAGMA max_page_count = 100000")
        decisions.add([of(2)])
    assert list(Decisions.read(run).current()) == [1, 2]


def test_one_process_writes_and_others_read_meanwhile(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
        with pytest.raises(RunDirectoryError, match="another process reviews"):
            Decisions.open(run)
        assert list(Decisions.read(run).current()) == [1]
        decisions.add([of(2)])
    with Decisions.open(run) as decisions:
        assert list(decisions.current()) == [1, 2]


def test_threads_that_decide_at_once_lose_nothing(run):
    with Decisions.open(run) as decisions:
        decide = lambda name: [decisions.add([of(place, reviewer=name)]) for place in range(20)]  # noqa: E731
        threads = [threading.Thread(target=decide, args=(f"reviewer {number}",)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(decisions.current(f"reviewer {number}")) for number in range(10)] == [20] * 10
    assert len(Decisions.read(run).history(3)) == 10


def _decide_until_killed(run, said):
    with Decisions.open(run) as decisions:
        for position in range(60):
            decisions.add([of(position, "drop")])
            said.send(position)
        said.recv()  # until it is killed


def test_a_process_that_is_killed_loses_no_decision_that_was_saved(run):
    context = multiprocessing.get_context("fork")
    for kills in (1, 7, 30):
        here, there = context.Pipe()
        process = context.Process(target=_decide_until_killed, args=(run, there))
        process.start()
        saved = [here.recv() for _ in range(kills)]
        process.kill()
        process.join()
        with Decisions.open(run) as decisions:
            assert decisions.current().keys() >= set(saved)
            assert decisions.undo("ann")
        (run / FILE).unlink()


def test_a_run_with_decisions_is_never_replaced(run):
    with Decisions.open(run) as decisions:
        decisions.add([of(1)])
    with pytest.raises(RunDirectoryError, match=r"holds decisions\.sqlite, .*would be lost: move it"):
        audited(run, seed=1, overwrite=True)
    assert len(Decisions.read(run)) == 1


def test_every_kind_has_a_count(run):
    with Decisions.open(run) as decisions:
        assert tuple(decisions.counts()) == KINDS


def test_decisions_about_a_run_in_a_store_lie_on_this_machine_and_name_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    audit, _, _ = audited(tmp_path / "run")
    store = as_location(f"memory://{uuid.uuid4().hex}/a run")
    for file in (tmp_path / "run").iterdir():
        if file.is_file():
            (store / file.name).write_bytes(file.read_bytes())
    assert Decisions.read(store) is None
    with Decisions.open(store) as decisions:
        decisions.add([decided(audit, 3, "drop")])
        assert decisions.path.parent == tmp_path / "home" / "gradsift" / "decisions"
        assert decisions.path.name.startswith("a_run-")
        with pytest.raises(RunDirectoryError, match="another process reviews memory://"):
            Decisions.open(store)
    with Decisions.read(store) as decisions:
        assert list(decisions.current()) == [3]
        about = dict(sqlite3.connect(decisions.path).execute("SELECT name, value FROM about"))
    assert about["place"] == str(store)
    assert 3 not in cure_of(gradsift.Audit.open(store), "reviewed").kept
    assert Decisions.read(tmp_path / "run") is None
