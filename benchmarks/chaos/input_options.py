"""Options and configurations of wrong types, code that does not import, and hostile texts in data."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chaos.inputs import ANY, REFUSED, Input
from chaos.workplace import MODEL, command

GOOD = (*MODEL[:4], "--data", "train.npz")
WRONG = {
    "--seed": ("-1", "abc", "1.5", "99999999999999999999"), "--shard-size": ("0", "-3", "abc"),
    "--batch-size": ("0", "-3", "1.5", "many"), "--projection": ("0", "-5"), "--precision": ("float8", ""),
    "--contamination": ("0", "-1", "0.51", "nan", "inf", "abc", ""), "--layers": ("", ",", "nosuch", "[", "0.*,nosuch"),
    "--device": ("nosuch", "cuda:99", ""), "--task": ("nosuch", "", "project:nosuch", "project:make"),
    "--label": ("nosuch", ""), "--image": ("nosuch",), "--detector": ("nosuch", "", "project:make", "os:getcwd"),
    "--detectors": (",", "l2,nosuch"), "--transform": ("project", "nosuch:f", "json:loads"),
    "--trajectory": ("nosuch", "project.py", "."), "--groups": ("nosuch",), "--text": ("text",), "--base": ("x",),
    "--dtype": ("float8",), "--reduction": ("median",), "--max-length": ("-1",),
    "--data": ("", ".", "nosuch", "\udcff.csv"),
    "--weights": ("nosuch.pt", "project.py", "train.npz", "."), "--model": ("", ":", "project:", ":make", "project:nosuch",
    "nosuch:make", "project:PROJECT", "quits:make", "raises:make", "broken:make", "late:make", "json:dumps", "..x:y"),
    "-o": ("", ".", "..", "/", "project.py", "project.py/x", "a\nb", "-", "/proc/x/y", "x" * 300),
}  # fmt: skip
SERVED = {("-o", "a\nb"), ("-o", "-"), ("--image", "nosuch"), ("--dtype", "float8"), ("--transform", "json:loads")}
"""What an audit of arrays need not look at, or may serve."""
CODE = {
    "quits": "import sys\nsys.exit(0)\n", "raises": "raise RuntimeError('at import')\n", "broken": "def make(:\n",
    "late": "def make():\n    raise KeyError('inside')\n",
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "nothing": None, "a list": [1], "a text": "x", "a number": 3, "empty": {}, "settings of text": {"settings": "x"},
    "source of numbers": {"source": 5}, "model of numbers": {"source": {"model": 5, "data": "train.npz"}},
    "data of lists": {"source": {"model": "project:make", "data": ["a"]}},
    "weights of bool": {"source": {"model": "project:make", "data": "train.npz", "weights": True}},
    "label of numbers": {"source": {"model": "project:make", "data": "train.npz", "label": 3}},
}  # fmt: skip
SETTINGS = {
    "seed": ("abc", -1, 1.5, None, [1], True), "layers": (3, [], [3], None, {}),
    "contamination": ("many", 0.9, None, [0.1]),
    "batch_size": ("many", 0, 2.5, None), "shard_size": ("x", 0, None), "projection": ("x", -1, None),
    "detector": (3, [], {}),
    "detectors": (3, [3], {}), "precision": (16, None), "nosuch": (1,),
}  # fmt: skip
HOSTILE = (
    "[INST]", "[/bold]", "[bold red]x[/]", "[link=file:///etc/passwd]x[/link]", "<script>alert(1)</script>", "\x1b[31mred",
    "\x1b]0;title\x07", "a\x00b", "a\rb", "a\bb", "two\nlines", "\u202eright to left", "\u200b", "nan", "None", "", " ",
    "'\"`;",
    "{{ 7*7 }}", "%s%n", "x" * 5000, "🦀" * 50, "-1", "\\x1b[31m", "\u2028", "\x9b31m", "&lt;b&gt;", "</pre></script>",
)  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def cases() -> list[Input]:
    """Every option, setting, and hostile text."""
    found = []
    for option, values in WRONG.items():
        for value in values:
            expected = ANY if (option, value) in SERVED else REFUSED
            found.append(Input(f"{option} {value[:40]!r}", partial(_option, option, value), expected))
    for name, content in CONFIGS.items():
        found.append(Input(f"config: {name}", partial(_config, json.dumps(content))))
    for name, values in SETTINGS.items():
        for value in values:
            expected = ANY if value is None or (name == "seed" and value is True) else REFUSED
            found.append(Input(f"config: {name} = {value!r}", partial(_setting, name, value), expected))
    for name, text in YAML.items():
        found.append(Input(f"config: {name}", partial(_config, text)))
    for text in HOSTILE:
        found.append(Input(f"class name {text[:30]!r}", partial(_hostile, "label", text), "shown as text"))
        found.append(Input(f"id {text[:30]!r}", partial(_hostile, "id", text), "shown as text"))
    return found


YAML = {
    "a bomb of aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ) + "settings: *i\n",
    "a Python object": "settings: !!python/object/apply:os.getcwd []\n", "cut": "settings: {seed: 1", "tabs": "\tx: 1\n",
    "control characters": "settings:\n  seed: \"\x01\"\n",
}  # fmt: skip


def _option(option: str, value: str) -> None:
    for name, code in CODE.items():
        Path(f"{name}.py").write_text(code)
    output = () if option == "-o" else ("-o", "runs/x")
    command("audit", *GOOD, *output, option, value)


def _config(text: str) -> None:
    Path("c.yaml").write_text(text)
    command("audit", "--config", "c.yaml", "-o", "runs/x")


def _setting(name: str, value: Any) -> None:
    source = {"model": "project:make", "weights": "model.safetensors", "data": "train.npz"}
    _config(json.dumps({"source": source, "settings": {name: value}}))


def _hostile(column: str, text: str) -> str:
    """Audits rows with a hostile text; says what reached the terminal or the page as it stands."""
    import contextlib
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = np.load("train.npz")
    names = np.array([text, "birch", "cedar"], object)
    labels = names[arrays["label"]] if column == "label" else arrays["label"]
    columns = {"width": arrays["x"][:, 0], "height": arrays["x"][:, 1], "label": labels}
    if column == "id":
        columns["id"] = [text] * len(labels)
    pq.write_table(pa.table(columns), "hostile.parquet")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        command("audit", *MODEL, "--data", "hostile.parquet", "-o", "runs/x")
    page = Path("runs/x/report.html").read_text()
    if (control := CONTROL.search(printed.getvalue())) is not None:
        return f"control character {control.group()!r} in the terminal"
    if text.startswith("<script") and text in page:
        return "a script in the page"
    return "shown as text"
