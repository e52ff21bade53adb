"""What a user may give wrongly, over the command line: a message and an exit code, and no traceback."""

import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.support.in_process import gradsift, words

PROJECT = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Linear(2, 3)

def needs(width):
    return nn.Linear(width, 3)

def fails():
    return 1 / 0

def exits():
    raise SystemExit(0)

def nothing():
    return None

def double():
    return nn.Linear(2, 3).double()

number = 3

class Task:
    def __init__(self, margin):
        self.margin = margin

def train(dataset, *, seed):
    return make().eval()

def train_without_seed(dataset):
    return make().eval()

def train_of_nothing():
    return make().eval()

def metric(model):
    return 0.0

def image_of_two(image, size):
    return image
"""
MODEL = ("--model", "users_project:make", "--weights", "w.safetensors")
AUDIT = ("audit", *MODEL, "--data", "train.npz", "-o", "runs/never")


def without(*flags):
    """The good audit without some flags and their values."""
    places = [AUDIT.index(flag) for flag in flags]
    return tuple(word for place, word in enumerate(AUDIT) if not {place, place - 1} & set(places))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's folder with a model, data, a run, and much that is broken."""
    place = tmp_path_factory.mktemp("bad")
    (place / "users_project.py").write_text(PROJECT)
    (place / "users_syntax.py").write_text("def make(:\n    pass\n")
    (place / "users_exit.py").write_text("import sys\nsys.exit(0)\n")
    (place / "users_crash.py").write_text("x = 1\nraise RuntimeError('the users own words')\n")
    (place / "users_markup.py").write_text("raise ValueError('[/INST] \\x1b]0;title\\x07 [bold]')\n")
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    inputs = (np.array([[0, 4], [4, -2], [-4, -2]])[labels] + generator.normal(size=(60, 2))).astype(np.float32)
    np.savez(place / "train.npz", x=inputs, label=labels)
    np.savez(place / "wide.npz", x=np.zeros((60, 5), np.float32), label=labels)
    np.savez(place / "objects.npz", x=np.array([{}] * 4, dtype=object), label=labels[:4])
    (place / "pickle.pkl").write_bytes(pickle.dumps(inputs))
    (place / "evil.pt").write_bytes(pickle.dumps(os.getcwd))
    (place / "cut.safetensors").write_bytes(b"\x10\x00")
    (place / "text.txt").write_text("words")
    (place / "empty.csv").touch()
    (place / "words.csv").write_text("comment,label\na,0\nb,1\n")
    (place / "folder").mkdir()
    (place / "folder" / "thesis.tex").write_text("precious")
    os.mkfifo(place / "pipe.csv")
    os.mkfifo(place / "pipe.yaml")
    os.mkfifo(place / "pipe.npz")
    torch.manual_seed(0)
    save_file(torch.nn.Linear(2, 3).state_dict(), place / "w.safetensors")
    save_file(torch.nn.Linear(7, 3).state_dict(), place / "other.safetensors")
    return place


@pytest.fixture(autouse=True)
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    yield
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]


@pytest.fixture
def run(project):
    if not (project / "runs/x").exists():
        done = gradsift(*AUDIT[:-1], "runs/x", "--contamination", "0.1", check=False)
        assert done.returncode == 0, words(done)
    return project / "runs/x"


def refused(done, phrase):
    assert done.returncode in (1, 2), words(done)
    assert phrase in words(done)
    assert "Traceback" not in words(done)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in done.stdout + done.stderr)
    assert 1 <= len(words(done)) <= 900


BAD_AUDITS = [
    (without("--model"), "--model is missing"),
    (without("--data"), "--data is missing"),
    (without("-o"), "Missing option"),
    (("audit", "--what"), "No such option"),
    (("audit", "--\x1b]0;title\x07[bold]"), "No such option"),
    (("odd\x1b[31mcommand",), "No such command"),
    ((*without("--model", "--weights"), "--model", "users_project"), "module:function for a model of your own"),
    ((*without("--model"), "--model", "users_project:"), "cannot be imported"),
    ((*without("--model"), "--model", ":make"), "no import path"),
    ((*without("--model"), "--model", ".users_project:make"), "no import path"),
    ((*without("--model"), "--model", "users_absent:make"), "No module named 'users_absent'"),
    ((*without("--model"), "--model", "users_project:absent"), "has no attribute 'absent'"),
    ((*without("--model"), "--model", "users_syntax:make"), "users_syntax.py, line 1"),
    ((*without("--model"), "--model", "users_exit:make"), "calls sys.exit(0)"),
    ((*without("--model"), "--model", "users_crash:make"), "the users own words (/"),
    ((*without("--model"), "--model", "users_markup:make"), r"[/INST] \x1b]0;title\x07 [bold]"),
    ((*without("--model"), "--model", "users_project:needs"), "takes the arguments (width)"),
    ((*without("--model"), "--model", "users_project:fails"), "ZeroDivisionError: division by zero"),
    ((*without("--model"), "--model", "users_project:exits"), "calls sys.exit(0)"),
    ((*without("--model"), "--model", "users_project:nothing"), "gives a NoneType"),
    ((*without("--model"), "--model", "users_project:number"), "gives a int"),
    ((*without("--model"), "--model", "torch.nn:Linear"), "takes the arguments (in_features"),
    ((*without("--model"), "--model", "users_project:m\ud800ke"), "valid UTF-8"),
    ((*without("--model"), "--model", ""), "not empty"),
    ((*without("--model"), "--model", "\x1b[2J:make"), "cannot be imported"),
    ((*without("--weights"), "--weights", "absent.pt"), "do not exist"),
    ((*without("--weights"), "--weights", "folder"), "do not exist"),
    ((*without("--weights"), "--weights", "evil.pt"), "could run code"),
    ((*without("--weights"), "--weights", "cut.safetensors"), "no safetensors file"),
    ((*without("--weights"), "--weights", "other.safetensors"), "do not fit"),
    ((*without("--weights"), "--weights", "pipe.csv"), "do not exist"),
    ((*without("--data"), "--data", "absent.npz"), "does not exist"),
    ((*without("--data"), "--data", "\x1b]0;title\x07.npz"), "does not exist"),
    ((*without("--data"), "--data", "odd\ud800.npz"), "valid UTF-8"),
    ((*without("--data"), "--data", "pickle.pkl"), "is a pickle"),
    ((*without("--data"), "--data", "objects.npz"), "objects.npz"),
    ((*without("--data"), "--data", "text.txt"), "unknown kind"),
    ((*without("--data"), "--data", "empty.csv"), "empty.csv"),
    ((*without("--data"), "--data", "words.csv"), "numeric column"),
    ((*without("--data"), "--data", "folder"), "no images in subfolders"),
    ((*without("--data"), "--data", "pipe.csv"), "pipe.csv"),
    ((*without("--data"), "--data", "pipe.npz"), "pipe.npz"),
    ((*without("--data"), "--data", "/dev/null"), "/dev/null"),
    ((*AUDIT, "--label", "absent"), "absent"),
    ((*AUDIT, "--label", "\x1b[31m"), "\\x1b[31m"),
    ((*AUDIT, "--groups", "absent"), "no column 'absent'"),
    ((*AUDIT, "--contamination", "0"), "(0, 0.5]"),
    ((*AUDIT, "--contamination", "0.7"), "(0, 0.5]"),
    ((*AUDIT, "--contamination", "nan"), "(0, 0.5]"),
    ((*AUDIT, "--contamination", "many"), "a number or auto"),
    ((*AUDIT, "--seed", "-1"), "seed is a whole number from 0"),
    ((*AUDIT, "--seed", "4294967296"), "seed is a whole number from 0"),
    ((*AUDIT, "--seed", "one"), "Invalid value for '--seed'"),
    ((*AUDIT, "--projection", "0"), "at least 1 dimension"),
    ((*AUDIT, "--projection", "99999999999"), "at most 1048576"),
    ((*AUDIT, "--batch-size", "0"), "batch_size is a whole number from 1"),
    ((*AUDIT, "--batch-size", "1.5"), "a number or auto"),
    ((*AUDIT, "--batch-size", "9" * 5000), "a number or auto"),
    ((*AUDIT, "--shard-size", "0"), "shard_size is a whole number from 1"),
    ((*AUDIT, "--shard-size", "9" * 30), "shard_size is a whole number from 1"),
    ((*AUDIT, "--precision", "int8"), "precision is float32, bfloat16 or float16"),
    ((*AUDIT, "--layers", "tail.*"), "modules with parameters are"),
    ((*AUDIT, "--layers", ""), "layers is"),
    ((*AUDIT, "--detector", "l7"), "unknown detector 'l7'"),
    ((*AUDIT, "--detector", "users_absent:Thing"), "No module named"),
    ((*AUDIT, "--detector", "users_exit:Thing"), "calls sys.exit(0)"),
    ((*AUDIT, "--detector", "users_project:Task"), "takes the arguments (margin)"),
    ((*AUDIT, "--detectors", "l2,,l1"), "unknown detector ''"),
    ((*AUDIT, "--task", "classify"), "unknown task 'classify'"),
    ((*AUDIT, "--task", "users_project:Task"), "takes the arguments (margin)"),
    ((*AUDIT, "--task", "users_crash:Task"), "the users own words"),
    ((*AUDIT, "--task", "users_project:number"), "outputs(model, batch)"),
    ((*AUDIT, "--reduction", "median"), "reduction is mean or sum"),
    ((*AUDIT, "--reduction", "sum"), "--reduction is for losses over tokens"),
    ((*AUDIT, "--dtype", "int8"), "dtype is float32, bfloat16 or float16"),
    ((*AUDIT, "--max-length", "-3"), "max_length is a whole number from 1"),
    ((*AUDIT, "--max-length", "9"), "belongs to a model of transformers"),
    ((*AUDIT, "--target", "both"), "target is response or whole"),
    ((*AUDIT, "--transform", "users_project:image_of_two"), "takes the arguments (image, size)"),
    ((*AUDIT, "--transform", "users_project:number"), "a function is needed"),
    ((*AUDIT, "--device", "nonsense"), "device 'nonsense'"),
    ((*AUDIT, "--device", "cuda:99"), "device 'cuda:99'"),
    ((*AUDIT, "--device", "mps"), "device 'mps'"),
    ((*AUDIT, "--device", "meta"), "device 'meta'"),
    ((*AUDIT, "--device", "\x1b[31m"), "\\x1b[31m"),
    ((*AUDIT, "--trajectory", "absent"), "absent"),
    ((*AUDIT, "--config", "runs/x/config.yaml"), "would be ignored"),
    ((*without("-o"), "-o", "folder"), "folder"),
    ((*without("-o"), "-o", "text.txt"), "text.txt"),
    ((*without("-o"), "-o", "text.txt/x"), "cannot write"),
    ((*without("-o"), "-o", "/proc/x"), "cannot write"),
    ((*without("--data"), "--data", "wide.npz"), "shape"),
]


@pytest.mark.parametrize(("arguments", "phrase"), BAD_AUDITS, ids=lambda value: ascii(value)[:60])
def test_bad_audits(arguments, phrase, project):
    refused(gradsift(*arguments, check=False), phrase)
    assert not (project / "runs/never").exists()
    assert (project / "text.txt").read_text() == "words"


VERIFY = ("--train", "users_project:train", "--test", "train.npz")
BAD_RUNS = [
    (("trim", "runs/absent", "-o", "x.npz"), "runs/absent is no run directory: it is absent"),
    (("trim", "folder", "-o", "x.npz"), "is no run directory"),
    (("trim", "text.txt", "-o", "x.npz"), "is no run directory"),
    (("trim", "runs/x", "-o", "train.npz"), "exists and is not replaced"),
    (("trim", "runs/x", "-o", "x.csv"), "*.npz"),
    (("trim", "runs/x", "-o", "x.npz", "--table", "absent.parquet"), "absent.parquet"),
    (("trim", "runs/x", "-o", "x.npz", "--table", "train.npz"), "train.npz"),
    (("report", "runs/x", "-o", "train.npz"), "*.html"),
    (("report", "\x1b]0;title\x07"), "is no run directory"),
    (("influence", "runs/x", "--target", "train.npz"), "--trust users_project:make, or --trust-run"),
    (("influence", "runs/x", "--target", "absent.npz", "--trust-run"), "does not exist"),
    (("influence", "runs/x", "--trust-run"), "give --target FILE, or --self"),
    (("influence", "runs/x", "--self", "--method", "magic"), "unknown method 'magic'"),
    (("influence", "runs/x", "--self", "--method", "users_crash:M"), "the users own words"),
    (("influence", "runs/x", "--self", "--method", "users_project:make"), "is no Influence"),
    (("influence", "runs/x", "--self", "--set", "damping"), "--set takes name=value"),
    (("influence", "runs/x", "--self", "--set", "damping=[1"), "--set"),
    (("influence", "runs/x", "--self", "--set", "odd=2024-13-45"), "--set"),
    (("influence", "runs/x", "--self", "--set", "odd=1"), "does not take these settings"),
    (("influence", "runs/x", "--self", "--method", "datainf", "--set", "damping=abc"), "damping"),
    (("influence", "runs/x", "--self", "--contamination", "7", "--trust-run"), "(0, 0.5]"),
    (("influence", "runs/x", "--self", "--layers", "tail.*", "--trust-run"), "modules with parameters"),
    (("geometry", "runs/x"), "--trust users_project:make, or --trust-run"),
    (("geometry", "runs/x", "--pooling", "max"), "--pooling is mean or flatten"),
    (("geometry", "runs/x", "--max-samples", "0"), "max-samples"),
    (("geometry", "runs/x", "--trust", "users_project:make", "--layers", "tail.*"), "no module that runs matches"),
    (("verify", "runs/x", "--train", "users_project:train"), "Missing option"),
    (("verify", "runs/x", *VERIFY, "--seeds", "0"), "--seeds"),
    (("verify", "runs/x", *VERIFY[2:], "--train", "users_project:train_without_seed"), "takes the arguments (dataset)"),
    (("verify", "runs/x", *VERIFY[2:], "--train", "users_project:train_of_nothing"), "takes the arguments ()"),
    (("verify", "runs/x", *VERIFY[2:], "--train", "users_project:number"), "a function is needed"),
    (("verify", "runs/x", *VERIFY[2:], "--train", "users_exit:train"), "calls sys.exit(0)"),
    (("verify", "runs/x", *VERIFY, "--metric", "users_project:metric"), "takes the arguments (model)"),
    (("verify", "runs/x", *VERIFY, "--true-labels", "absent"), "no column 'absent'"),
    (("verify", "runs/x", *VERIFY[:2], "--test", "absent.npz"), "does not exist"),
    (("verify", "runs/x", *VERIFY[:2], "--test", "pipe.npz"), "pipe.npz"),
    (("demo", "--seeds", "0"), "--seeds"),
    (("demo", "-o", "text.txt/x"), "text.txt"),
    (("plan", *MODEL), "--data is missing"),
    (("plan",), "2 things are missing: give --model (folder or hub id of a transformers model or LoRA adapter"),
    (("audit",), "3 things are missing: give --model ("),
    (("audit", "--data", "train.npz"), "--output (run directory to write, such as runs/x)"),
    (
        ("verify", "runs/x"),
        "give --train (import path of train(dataset, *, seed) -> model), --test (",
    ),
    (("explain",), "give RUN (run directory of an audit), POSITION ("),
    (("review",), "Missing argument"),
    (("plan", *MODEL, "--data", "train.npz", "--device", "cuda:99"), "device 'cuda:99'"),
    (("plan", *MODEL, "--data", "train.npz", "--projection", "-1"), "at least 1 dimension"),
    (("audit", "--config", "absent.yaml", "-o", "runs/never"), "absent.yaml is missing"),
    (("audit", "--config", "pipe.yaml", "-o", "runs/never"), "pipe.yaml is missing or no file"),
    (("audit", "--config", "folder", "-o", "runs/never"), "no file"),
    (("audit", "--config", "w.safetensors", "-o", "runs/never"), "cannot be read as a configuration"),
    (("audit", "--config", "runs/x/config.yaml", "-o", "runs/never"), "--trust users_project:make"),
    (("audit", "--config", "runs/x/config.yaml", "--trust", "os:getcwd", "-o", "runs/never"), "--trust users_project"),
]


@pytest.mark.parametrize(("arguments", "phrase"), BAD_RUNS, ids=lambda value: ascii(value)[:60])
def test_bad_use_of_runs(arguments, phrase, project, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused(gradsift(*arguments, check=False), phrase)
    assert not (project / "runs/never").exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


BAD_SETTINGS = {
    "seed": ["abc", -1, 1.5, True, None, [0], 10**30, float("nan")],
    "layers": [3, {}, None, True, "", [1], [None]],
    "detectors": [{}, "l2", [3], {"l2": 1}],
    "detector": [3, [], True, "l7"],
    "contamination": ["half", 0, -0.1, 0.7, True, float("nan"), float("inf"), [0.1], None, 10**400],
    "hold_classes": ["yes", 1, None],
    "cross_fit_heads": ["yes", 1, True, None],
    "projection": [0, -1, "many", 2.5, True, 10**30],
    "projection_kind": ["dense", 3, None],
    "projection_per_layer": ["no", 0],
    "batch_size": [True, 0, -4, 2.5, "many", None, 10**30],
    "shard_size": [0, "2048", None, False],
    "precision": ["double", 32, None],
    "seeds": [1],
}
BAD_SOURCES = {
    "model": [3, ["a"], "", None, True],
    "data": [3, {}, "", ["train.npz"]],
    "weights": [3, [], ""],
    "label": [3, [], True],
    "task": [3, {}, []],
    "device": [3, None, "nonsense"],
    "reduction": ["median", 3],
    "max_length": [True, 0, "ten", 10**30],
    "dtype": ["int8", 3],
    "groups": [3],
    "transform": [3, []],
    "trajectory": [3, "absent"],
}
CASES = [
    (part, name, value)
    for part, table in (("settings", BAD_SETTINGS), ("source", BAD_SOURCES))
    for name, values in table.items()
    for value in values
]


@pytest.mark.parametrize(("part", "name", "value"), CASES, ids=lambda value: ascii(value)[:30])
def test_bad_values_in_a_configuration(part, name, value, project, run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[part][name] = value
    (project / "bad.yaml").write_text(yaml.safe_dump(config))
    done = gradsift("audit", "--config", "bad.yaml", "--trust-run", "-o", "runs/never", check=False)
    refused(done, "" if name in ("model", "data") and value is None else name.partition("_")[0])
    assert not (project / "runs/never").exists()


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("- 1", "holds no settings"),
        ("", "holds no settings"),
        ("settings: [", "cannot be read as a configuration"),
        ("settings: 3", "not names with values"),
        ("source: []", "not names with values"),
        ("source: 2024-13-45", "cannot be read as a configuration"),
        ("settings: {seed: 2024-01-01}", "seed is a whole number"),
        ("[" * 5000, "cannot be read as a configuration"),
        ("!!python/object/apply:os.mkdir [evil]", "cannot be read as a configuration"),
        ("a: &a [1, 2]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n" + "".join(
            f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("bcdefgh", "cdefghi", strict=True)
        ), "more than 100000 values"),
        ("a: &a [*a]", "more than 100000 values"),
        ("x" * 2**21, "larger than"),
        ("seed: " + "9" * 5000, "cannot be read as a configuration"),
        ("'\x1b]0;title\x07': 1", "cannot be read as a configuration"),
        ("source: {model: \"\\x1b[31m:make\", data: train.npz}", "\\x1b[31m"),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_broken_and_hostile_configurations(text, phrase, project):
    (project / "bad.yaml").write_text(text)
    refused(gradsift("audit", "--config", "bad.yaml", "-o", "runs/never", check=False), phrase)
    assert not (project / "evil").exists()


def test_a_damaged_configuration_of_a_run_is_named(project, run):
    copy = project / "runs/damaged"
    shutil.copytree(run, copy)
    (copy / "config.yaml").write_bytes(b"\xff\xfe\x00")
    for command in (("trim", copy, "-o", "y.npz"), ("influence", copy, "--self"), ("report", copy)):
        refused(gradsift(*command, check=False), "config.yaml")
    shutil.rmtree(copy)
