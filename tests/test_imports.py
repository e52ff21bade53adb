import sys

import pytest

from gradsift.errors import DataError, SettingError
from gradsift.imports import import_function, import_object, user_code, user_frames


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        (tmp_path / "users_imports.py").write_text(text)
        sys.modules.pop("users_imports", None)
        return "users_imports:f"

    yield write
    sys.modules.pop("users_imports", None)


@pytest.mark.parametrize(
    ("text", "telling"),
    [
        ("def f(:", r"SyntaxError.*users_imports\.py, line 1"),
        ("\n\nraise KeyError('own')", r"KeyError: 'own' \(.*users_imports\.py, line 3"),
        ("import sys; sys.exit(3)", r"calls sys\.exit\(3\) \(.*line 1"),
        ("exit()", "calls sys.exit|NameError"),
        ("import users_absent", r"No module named 'users_absent' \(.*line 1"),
        ("g = 1", "has no attribute 'f'"),
        ("x = '\x00'", "source code"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "E: <exception str"),
    ],
)
def test_whatever_an_import_does_is_one_error_that_says_where(module, text, telling):
    with pytest.raises(SettingError, match=telling) as caught:
        import_object(module(text), "--model")
    assert str(caught.value).startswith("--model 'users_imports:f' cannot be imported: ")


def test_ctrl_c_passes(module):
    with pytest.raises(KeyboardInterrupt):
        import_object(module("raise KeyboardInterrupt"), "--model")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("def f(dataset, *, seed): pass", True),
        ("def f(data, seed=0, **more): pass", True),
        ("f = lambda *x, **y: None", True),
        ("class f:\n    def __init__(self, dataset, seed): pass", True),
        ("def f(dataset): pass", False),
        ("def f(): pass", False),
        ("def f(dataset, *, seed, epochs): pass", False),
        ("f = 3", False),
    ],
)
def test_functions_are_refused_before_they_are_called_wrongly(module, text, fits):
    path = module(text)
    if fits:
        assert callable(import_function(path, "--train", "dataset", seed=0))
    else:
        with pytest.raises(SettingError, match=r"takes the arguments|a function is needed"):
            import_function(path, "--train", "dataset", seed=0)


def test_our_own_errors_pass_and_frames_are_the_users():
    with pytest.raises(DataError, match="own words"), user_code("it fails"):
        raise DataError("own words")
    with pytest.raises(SettingError) as caught:
        import_object("torch.nn:absent", "--model")
    assert user_frames(caught.value)[0].filename == __file__


def test_a_module_that_is_nowhere_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=rf"No module named 'users_absent' .*{tmp_path}.*PYTHONPATH"):
        import_object("users_absent.model:make", "--transform")
