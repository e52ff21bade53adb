"""Paths and URLs, in fsspec's store in memory."""

import uuid
from pathlib import Path

import fsspec
import pytest

from gradsift.errors import LocationError, OutputError, SettingError
from gradsift.locations import (
    RemotePath,
    as_location,
    is_inside,
    is_url,
    leased,
    local_copy,
    refuse_unwritable,
    relative,
)
from gradsift.locations import requests as requests_module
from gradsift.locations.requests import request
from gradsift.store import RunDirectory
from gradsift.writing import always, new_file, new_folder, remove


@pytest.fixture
def folder():
    """A place in memory that no other test uses."""
    place = as_location(f"memory://{uuid.uuid4().hex}")
    yield place
    remove(place)


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(requests_module, "PAUSE", 0)


def test_what_a_text_names(tmp_path):
    assert as_location(str(tmp_path)) == tmp_path
    assert as_location(f"file://{tmp_path}/x") == tmp_path / "x"
    assert str(as_location("memory://a/b.csv")) == "memory://a/b.csv"
    assert str(as_location(Path("memory://a/b.csv"))) == "memory://a/b.csv"  # pathlib drops a slash
    assert as_location("C:\\data\\x.csv") == Path("C:\\data\\x.csv")
    assert [is_url(text) for text in ("s3://a/b", "a/b", "package.module:function", "C:/x")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nothing://a/b", "of an unknown kind nothing://"),
        ("gs://bucket/x", "pip install 'gcsfs'"),
        ("s3://", "names no file"),
        ("zip://a.csv::s3://bucket/x.zip", "URL within a URL"),
    ],
)
def test_urls_that_cannot_be_served_say_why(url, words):
    with pytest.raises((SettingError, LocationError), match=words.replace("(", r"\(")):
        as_location(url)


def test_names_are_those_of_pathlib(folder):
    place = folder / "runs" / "x.tar.gz"
    local = Path("/b/runs/x.tar.gz")
    for name in ("name", "stem", "suffix"):
        assert getattr(place, name) == getattr(local, name)
    assert place.parent == folder / "runs"
    assert place.with_name("y") == folder / "runs/y"
    assert relative(place, folder) == "runs/x.tar.gz"
    assert is_inside(place, folder)
    assert not is_inside(place, folder / "run")
    assert not is_inside(place, Path("/"))


def test_listing(folder):
    for name in ("a/1.npy", "a/2.npy", "b/1.npy", "top"):
        (folder / name).write_bytes(b"x")
    assert [relative(place, folder) for place in folder.rglob()] == ["a", "a/1.npy", "a/2.npy", "b", "b/1.npy", "top"]
    assert [relative(place, folder) for place in folder.glob("*/1.npy")] == ["a/1.npy", "b/1.npy"]
    assert [place.name for place in folder.iterdir()] == ["a", "b", "top"]
    assert (folder / "a").is_dir()
    assert not (folder / "a").is_file()
    assert not (folder / "nothing").exists()
    assert [*(folder / "nothing").iterdir()] == []


def test_a_level_is_listed_without_what_lies_below(folder, monkeypatch):
    (folder / "a/b/c").write_bytes(b"x")
    monkeypatch.setattr(type(folder.fs), "find", None)
    assert [place.name for place in folder.iterdir()] == ["a"]


def test_a_name_that_would_leave_the_folder_of_copies_is_refused(folder):
    for name in ("../x", "a/../../x", "..", "a\\..\\..\\x"):
        with pytest.raises(LocationError, match=r"has the part \.\. in its name"):
            folder / name
    assert (folder / "a..b").name == "a..b"


def test_a_file_is_written_whole_and_never_replaced(folder):
    place = folder / "numbers.txt"
    with new_file(place) as aside:
        aside.write_text("1 2 3")
    assert place.read_bytes() == b"1 2 3"
    with pytest.raises(OutputError, match="exists and is not replaced"), new_file(place) as aside:
        aside.write_text("4")
    with new_file(place, replaces=always) as aside:
        aside.write_text("5")
    assert local_copy(place).read_text() == "5"
    with pytest.raises(RuntimeError), new_file(folder / "other.txt"):
        raise RuntimeError
    assert not (folder / "other.txt").exists()


def test_what_another_program_writes_meanwhile_stays(folder):
    place = folder / "numbers.txt"
    with pytest.raises(OutputError, match="exists and is not replaced"), new_file(place) as aside:
        place.write_bytes(b"theirs" * (aside.write_text("mine") > 0))
    assert place.read_bytes() == b"theirs"


def test_a_new_file_whose_first_answer_was_lost_is_taken_for_written(folder, monkeypatch):
    """A package below has sent the request again, and the store has found the file of the first try."""
    put = type(folder.fs).put_file

    def lost(*arguments, **options):
        put(*arguments, **options)
        raise FileExistsError

    monkeypatch.setattr(type(folder.fs), "put_file", lost)
    with new_file(folder / "numbers.txt") as aside:
        aside.write_text("1 2 3")
    assert (folder / "numbers.txt").read_bytes() == b"1 2 3"


def test_a_folder_is_whole_with_its_last_file(folder, monkeypatch):
    place = folder / "parts"
    with new_folder(place) as aside:
        (aside / "one").mkdir()
        (aside / "one" / "a.bin").write_bytes(b"a")
    assert [relative(file, place) for file in place.files()] == ["_SUCCESS", "one/a.bin"]
    with pytest.raises(OutputError, match="exists and is not replaced"), new_folder(place):
        pass
    assert [file.name for file in folder.files()] == ["_SUCCESS", "a.bin"]


def test_a_folder_whose_upload_was_killed_is_begun_anew(folder, monkeypatch):
    place, upload = folder / "parts", RemotePath.upload

    def dies(self, file, **options):
        if self.name == "_SUCCESS":
            raise KeyboardInterrupt
        upload(self, file, **options)

    monkeypatch.setattr(RemotePath, "upload", dies)
    with pytest.raises(KeyboardInterrupt), new_folder(place) as aside:
        (aside / "old.bin").write_bytes(b"old")
    monkeypatch.undo()
    assert (place / "old.bin").exists()
    with new_folder(place) as aside:
        (aside / "new.bin").write_bytes(b"new")
    assert [file.name for file in place.files()] == ["_SUCCESS", "new.bin"]
    (place / "_SUCCESS").unlink()
    with pytest.raises(OutputError, match="not replaced"), new_folder(place):  # nobody knows whose files these are
        pass


def test_a_bucket_alone_is_no_place_to_write():
    with pytest.raises(LocationError, match="s3://bucket is a bucket: add a name, such as s3://bucket/runs/x"):
        refuse_unwritable(RemotePath("s3", "bucket"))


def test_one_writer_at_a_time(folder):
    place = folder / "x"
    with (
        leased(place),
        pytest.raises(OutputError, match=r"another process is writing memory://.*seconds from now"),
        leased(place),
    ):
        pass
    assert folder.files() == []
    with leased(place):
        pass


def test_a_lease_on_a_name_with_brackets_is_taken_over(folder, monkeypatch):
    place = folder / "x[1]*"
    (folder / ".x[1]*.lock.000001").write_bytes(b'{"host": "elsewhere", "process": 1}')
    with pytest.raises(OutputError, match="seconds from now"), leased(place):
        pass
    monkeypatch.setattr("gradsift.locations.leases.LASTS", -1.0)
    with leased(place):
        assert [file.name for file in folder.files()] == [".x[1]*.lock.000002"]


def test_the_lease_of_a_process_that_died_is_taken_over(folder, monkeypatch):
    place = folder / "x"
    from gradsift.locations import leases

    (folder / ".x.lock.000007").write_bytes(b'{"host": "elsewhere", "process": 1}')
    with pytest.raises(OutputError, match="another process"), leased(place):
        pass
    monkeypatch.setattr(leases, "LASTS", -1.0)  # renewed too long ago
    with leased(place):
        assert [file.name for file in folder.files()] == [".x.lock.000008"]
    monkeypatch.undo()
    host = leases._host()
    (folder / ".x.lock.000001").write_bytes(f'{{"host": "{host}", "process": {2**22 + 1}}}'.encode())
    with leased(place):  # a process of this machine that is not there any longer
        pass


def test_copies_follow_their_originals(folder):
    place = folder / "a/data.bin"
    place.write_bytes(b"one")
    first = local_copy(place)
    assert local_copy(place) == first
    place.write_bytes(b"three")
    assert local_copy(place).read_bytes() == b"three"
    assert {file.name for file in local_copy(folder / "a").iterdir()} == {"data.bin"}
    (folder / "a/more.bin").write_bytes(b"two")
    assert {file.name for file in local_copy(folder / "a").iterdir()} == {"data.bin", "more.bin"}
    place.unlink()
    assert {file.name for file in local_copy(folder / "a").iterdir()} == {"more.bin"}
    with pytest.raises(FileNotFoundError, match="does not exist"):
        local_copy(folder / "nothing")


def test_a_request_is_tried_again(no_pauses):
    answers = [OSError("503 Service Unavailable"), ConnectionResetError(), "done"]

    def action():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert request("s3://bucket/x", "read", action) == "done"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("503 Service Unavailable"), "the request fails"),
        (PermissionError("Access Denied"), "denies it .*ask for the right to write in s3://bucket"),
        (PermissionError("The AWS Access Key Id you provided does not exist"), "give credentials"),
        (FileNotFoundError("The specified bucket does not exist"), "there is no bucket s3://bucket"),
    ],
)
def test_a_request_that_cannot_succeed_says_what_to_do(no_pauses, error, words):
    def action():
        raise error

    with pytest.raises(LocationError, match=f"cannot write s3://bucket/x: .*{words}"):
        request("s3://bucket/x", "write", action)


def test_ranges(folder):
    place = folder / "data.bin"
    place.write_bytes(bytes(range(100)))
    with place.open() as file:
        file.seek(10)
        assert file.read(3) == bytes([10, 11, 12])
        file.seek(-1, 2)
        assert file.read() == bytes([99])
    assert fsspec.filesystem("memory").exists(place.key)


def test_a_run_gives_its_lease_back_where_the_store_has_ceased_to_answer(folder, monkeypatch):
    def fails(*_):
        raise LocationError("the request fails")

    run = RunDirectory.begin(folder / "x", "f", {"settings": {}})
    monkeypatch.setattr("gradsift.store.run_directory.nothing_done", fails)
    run.close()
    monkeypatch.undo()
    with RunDirectory.begin(folder / "x", "f", {"settings": {}}):
        pass
    assert folder.files() == []
