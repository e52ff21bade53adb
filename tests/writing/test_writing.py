import errno
import os
import subprocess
import sys

import pytest

from gradsift.errors import OutputError
from gradsift.writing import is_full, locked, new_file, new_folder, writing

HOLD = """
import sys
from pathlib import Path
from gradsift.writing import {maker}
with {maker}(sys.argv[1]) as aside:
    (aside / "a" if aside.is_dir() else aside).write_text("half")
    print("holding", flush=True)
    sys.stdin.read()
"""


def holding(maker, path):
    """Another process in the middle of writing a path; it ends when its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(maker=maker), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "holding\n"
    return process


def write(maker, path, text):
    with maker(path) as aside:
        (aside / "a" if aside.is_dir() else aside).write_text(text)


def text_of(path):
    return (path / "a" if path.is_dir() else path).read_text()


@pytest.fixture(params=[new_file, new_folder], ids=["file", "folder"])
def maker(request):
    return request.param


def test_it_is_whole_at_its_name_and_nothing_else_is_left(maker, tmp_path):
    path = tmp_path / "deep" / "x.txt"
    write(maker, path, "whole")
    assert text_of(path) == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_stands_there_is_never_replaced(maker, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists and is not replaced"):
        write(maker, path, "other")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_dangling_link_is_not_written_through(maker, tmp_path):
    path = tmp_path / "x.txt"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="exists"):
        write(maker, path, "other")
    assert not (tmp_path / "nowhere").exists()


def test_what_comes_there_meanwhile_is_not_replaced(maker, tmp_path):
    path = tmp_path / "x.txt"

    def write_late():
        with maker(path) as aside:
            (aside / "a" if aside.is_dir() else aside).write_text("late")
            path.write_text("earlier")

    with pytest.raises(OutputError, match="exists"):
        write_late()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_nothing(maker, tmp_path):
    with pytest.raises(KeyError), maker(tmp_path / "x.txt"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_own_files_may_be_replaced(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("gradsift: old")
    with new_file(path, replaces=lambda file: file.read_text().startswith("gradsift")) as aside:
        aside.write_text("gradsift: new")
    assert path.read_text() == "gradsift: new"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_processes_one_proceeds(maker, tmp_path):
    path = tmp_path / "x.txt"
    other = holding(maker.__name__, path)
    with pytest.raises(OutputError, match="another process is writing"):
        write(maker, path, "mine")
    other.communicate("")
    assert text_of(path) == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_stands_in_nobodys_way(maker, tmp_path):
    path = tmp_path / "x.txt"
    other = holding(maker.__name__, path)
    other.kill()
    other.wait()
    assert not path.exists()
    write(maker, path, "whole")
    assert text_of(path) == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_leaves_no_file(tmp_path):
    with locked(tmp_path / "x.lock"):
        assert (tmp_path / "x.lock").exists()
        with pytest.raises(OutputError, match="another process"), locked(tmp_path / "x.lock"):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError("8192 requested and 4096 written"),  # numpy
        OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),  # Arrow
    ],
)
def test_a_full_disk_is_said_to_be_full(error):
    assert is_full(error)
    with pytest.raises(OutputError, match="the disk is full"), writing("runs/x"):
        raise error


def test_other_errors_of_the_system_are_told(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*Is a directory"), writing(tmp_path):
        (tmp_path).write_text("")
