import os
import pickle
import sys
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from gradsift.errors import GradsiftError, ModelError, SettingError, UnsafeFileError
from gradsift.loading import import_object, load_model, load_weights

MODULE = """
import torch
from torch import nn

class Inside:
    @staticmethod
    def make():
        return nn.Linear(3, 2)

def make():
    return nn.Linear(3, 2)

def nothing():
    return None

ready = nn.Linear(3, 2)
number = 3
"""


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "users_models.py").write_text(MODULE)
    (tmp_path / "users_broken.py").write_text("import surely_not_installed_module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("users_models", "users_broken"):
        sys.modules.pop(name, None)


@pytest.fixture
def weights():
    torch.manual_seed(3)
    return nn.Linear(3, 2).state_dict()


def test_objects_of_the_working_directory_are_imported(project):
    assert isinstance(import_object("users_models:make", "--model")(), nn.Linear)
    assert isinstance(import_object("users_models:Inside.make", "--model")(), nn.Linear)
    assert import_object("torch.nn:Linear", "--model") is nn.Linear


@pytest.mark.parametrize(
    ("path", "telling"),
    [
        ("users_models.make", "no import path: write module:name"),
        ("", "no import path"),
        ("users_models:absent", "cannot be imported: .*absent"),
        ("users_models:Inside.absent", "absent"),
        ("users_models:", "--model 'users_models:'"),
        ("absent_module:make", "No module named 'absent_module'"),
        ("users_broken:make", "surely_not_installed_module"),
        (":make", "--model ':make'"),
        (".users_models:make", r"--model '\.users_models:make'"),
    ],
)
def test_import_paths_that_lead_nowhere_are_refused(project, path, telling):
    with pytest.raises(SettingError, match=telling):
        import_object(path, "--model")


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_state_dicts_are_read(tmp_path, weights, nest):
    torch.save(weights if nest is None else {"epoch": 3, nest: weights}, tmp_path / "w.pt")
    loaded = load_weights(tmp_path / "w.pt")
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_safetensors_are_read(tmp_path, weights):
    save_file(weights, tmp_path / "w.safetensors")
    loaded = load_weights(str(tmp_path / "w.safetensors"))
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.pkl", "w.safetensors"])
def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path, name):
    evil = {"weight": Evil(tmp_path / "mark")}
    if name == "w.pkl":
        (tmp_path / name).write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, tmp_path / name)
    with pytest.raises(ModelError if name.endswith("safetensors") else UnsafeFileError, match=name):
        load_weights(tmp_path / name)
    assert not (tmp_path / "mark").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(UnsafeFileError, match=r"save model\.state_dict\(\), best as safetensors"):
        load_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [torch.zeros(3), {"epoch": 3}, [torch.zeros(2)], {"a": {"b": torch.zeros(1)}}])
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_missing_file_a_folder_and_a_truncated_file_are_named(tmp_path, weights, name):
    path = tmp_path / name
    with pytest.raises(ModelError, match=f"{name} do not exist"):
        load_weights(path)
    path.mkdir()
    with pytest.raises(ModelError, match=f"{name} do not exist"):
        load_weights(path)
    path.rmdir()
    torch.save(weights, path) if name == "w.pt" else save_file(weights, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=name):
        load_weights(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), suffix=st.sampled_from([".pt", ".safetensors"]))
def test_random_bytes_end_in_an_error_of_ours(tmp_path, content, suffix):
    (tmp_path / f"fuzz{suffix}").write_bytes(content)
    with suppress(GradsiftError):
        load_weights(tmp_path / f"fuzz{suffix}")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"a", b"\x80\x02(hello.", b"0", b"h\x07."], ids=["a", "mark", "pop", "memo"])
def test_bytes_that_are_no_weights_are_refused(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(GradsiftError, match=r"w\.pt"):
        load_weights(tmp_path / "w.pt")


def test_a_model_is_made_loaded_and_put_in_eval_mode(project, weights):
    save_file(weights, "w.safetensors")
    for factory in ("users_models:make", "users_models:ready", "users_models:Inside.make"):
        model = load_model(factory, "w.safetensors")
        assert torch.equal(model.weight, weights["weight"])
        assert not model.training
    assert isinstance(load_model("users_models:make", None), nn.Linear)


def test_weights_that_do_not_fit_are_refused(project):
    for number, other in enumerate((nn.Linear(4, 2), nn.Linear(3, 2, bias=False), nn.BatchNorm1d(3))):
        save_file(other.state_dict(), f"{number}.safetensors")
        with pytest.raises(ModelError, match=rf"{number}\.safetensors do not fit users_models:make"):
            load_model("users_models:make", f"{number}.safetensors")


@pytest.mark.parametrize(("factory", "telling"), [("users_models:nothing", "NoneType"), ("users_models:number", "int")])
def test_a_factory_without_model_is_refused(project, factory, telling):
    with pytest.raises(ModelError, match=telling):
        load_model(factory, None)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_an_unknown_device_is_refused(project, device):
    with pytest.raises(ModelError, match=f"device '{device}'"):
        load_model("users_models:make", None, device)
