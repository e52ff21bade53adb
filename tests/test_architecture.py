"""The laws of the house that can be read off the source."""

import ast
from functools import cache
from pathlib import Path

import gradsift

ROOT = Path(gradsift.__file__).parent
ROOMS = [
    "errors", "printable", "imports", "ranges", "fields", "progress", "locations", "writing", "scratch", "data",
    "tasks", "gradients", "store", "trajectory", "evidence", "detectors", "curvature", "influence", "geometry",
    "table", "cleaning", "evaluation", "report", "findings", "review", "result", "integrations", "settings",
    "loading", "conventions", "stages", "preparation", "settled", "engines", "jobs", "audit", "improvement",
    "proof_notices", "improve", "plan", "demo", "cli",
]  # fmt: skip
LATE = {("cleaning", "stages")}
"""The former place of a public name."""


@cache
def nodes_of(path):
    """Every node of a module."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports_of(path):
    """Room of each gradsift import, and whether it stands inside a function."""
    inside = {id(node) for f in nodes_of(path) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gradsift":
            parts = node.module.split(".")
            for room in [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]:
                yield room, id(node) in inside


def test_a_room_imports_only_rooms_before_it():
    broken = []
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for other, late in imports_of(path):
            allowed = other == room or ROOMS.index(other) < ROOMS.index(room) or (late and (room, other) in LATE)
            if not allowed:
                broken.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not broken


def test_late_imports_are_only_those_that_are_named():
    late = [
        (path.relative_to(ROOT).parts[0], room)
        for path in ROOT.rglob("*.py")
        for room, inside in imports_of(path)
        if inside and path.relative_to(ROOT).parts[0] != room
    ]
    assert set(late) == LATE


def test_modules_are_short():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_no_asserts_and_no_prints_in_the_library():
    for path in ROOT.rglob("*.py"):
        for node in nodes_of(path):
            assert not isinstance(node, ast.Assert), path
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), path


def test_everything_public_has_a_docstring_that_names_its_arguments():
    missing = []
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] == "cli":
            continue  # typer shows these docstrings to users; options are described beside them
        inner = nested(path)
        for node in nodes_of(path):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node in inner:
                continue
            names = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
            names = [name for name in names if name not in ("self", "cls")]
            text = ast.get_docstring(node) or ""
            short = len(text.splitlines()) == 1  # an override, whose parent says the rest
            if not text or (not short and any(f"{name}:" not in text for name in names)):
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not missing


def nested(path):
    return {
        inner
        for outer in nodes_of(path)
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.FunctionDef) and inner is not outer
    }
