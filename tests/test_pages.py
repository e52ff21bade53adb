"""What the pages say runs: blocks of how-to pages and notebooks, options of commands, links, the list of JSON keys."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import typer

from gradsift.cli import doctor
from gradsift.cli.app import app
from gradsift.cli.self_test import Check
from gradsift.evaluation import Verification
from gradsift.geometry.examine import Geometry
from gradsift.improve import Improvement
from gradsift.plan import Plan
from gradsift.review import Explanation
from tests.support.in_process import gradsift
from tests.support.pages import blocks
from tests.support.reviewed import audited

DOCS = Path(__file__).parent.parent / "docs"
WRITTEN = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
SHORT = sorted([*DOCS.glob("how-to/*.md"), *DOCS.glob("concepts/*.md")])
MADE = {"command-line.md", "settings.md", "columns.md"}
"""Pages of the reference that `make docs` makes from the code."""


WITH_CODE = [page for page in [*DOCS.glob("how-to/*.md"), *DOCS.glob("notebooks/*.md")] if blocks(page)]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile("\n".join(blocks(page)), str(page), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", SHORT, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_of_one_job_is_short_and_says_what_comes_next(page):
    lines = page.read_text().splitlines()
    assert len(lines) <= 62
    assert lines[-1].startswith("Next: ")
    assert len([line for line in lines if line.startswith("# ")]) >= 1


def commands():
    """Every command line of gradsift in a block of the pages, with its page."""
    for page in WRITTEN:
        if page.name in MADE or page.name.startswith(("benchmark", "results", "performance")):
            continue
        for block in re.findall(r"```(?:sh|text|yaml)?\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.match(r"\s*(?:- run: )?(gradsift (?!\.)\S.*?)(?:\s{2,}#.*|\s+#.*|;.*)?$", line)
                if found:
                    yield page.name, found.group(1)


def test_every_option_in_the_pages_exists():
    group = typer.main.get_command(app)
    of_all = {name for one in group.params for name in one.opts}
    wrong, seen = [], 0
    for page, line in commands():
        words = shlex.split(line.replace("…", ""))[1:]
        name = next((word for word in words if not word.startswith("-")), None)
        if name is None:
            wrong += [f"{page}: {line}"] if set(words) - of_all else []
            continue
        if name not in group.commands:
            wrong.append(f"{page}: {line}")
            continue
        seen += 1
        known = {option for one in group.commands[name].params for option in [*one.opts, *one.secondary_opts]}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        wrong += [f"{page}: {line}"] if used - known - {"--help"} else []
    assert not wrong
    assert seen > 15


def anchors(page):
    """Anchors of a page's headings, as GitHub and MyST make them, and its own labels."""
    text = page.read_text()
    headings = re.findall(r"^#{1,4} (.+)$", text, flags=re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE))


def test_links_lead_to_pages_and_to_headings():
    broken = []
    for page in WRITTEN:
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", page.read_text()):
            place = (page.parent / target) if target else page
            if place.name in MADE and place.parent.name == "reference":
                continue
            if not place.exists():
                broken.append(f"{page.name}: {target}")
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert not broken


def listed():
    """Command to the keys that the page on JSON lists for it."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", (DOCS / "reference/json.md").read_text(), flags=re.MULTILINE)
    return {command: set(re.findall(r"`([^`]+)`", words.partition("; ")[0])) for command, words in rows}


def test_json_has_the_keys_that_its_page_lists(tmp_path, monkeypatch):
    keys = listed()
    audited(tmp_path / "run")
    monkeypatch.setattr(doctor, "self_test", lambda device: [Check("tried", True, "", 0.1)])
    for command, arguments in {
        "show": [tmp_path / "run"], "explain": [tmp_path / "run", 0], "doctor": [], "report": [tmp_path / "run"],
    }.items():  # fmt: skip
        found = set(json.loads(gradsift(command, *arguments, "--json", check=False).stdout))
        promised = (keys[command] | keys["audit"]) - {"audit"} if command == "show" else keys[command]
        assert found == promised, command
    for command, result in {"plan": Plan, "explain": Explanation, "geometry": Geometry}.items():
        assert keys[command] == {field.name for field in fields(result)}
    for command, result in {"verify": Verification, "improve": Improvement}.items():
        code = result.to_dict.__code__
        assert keys[command] <= {
            word for words in code.co_consts for word in (words if isinstance(words, tuple) else [words])
        }
    assert {"demo", "trim", "correct", "influence"} <= keys.keys()
    assert keys.keys() == set(typer.main.get_command(app).commands) - {"review"}


def test_the_reference_is_made_from_the_code(tmp_path):
    import runpy

    runpy.run_path(str(DOCS.parent / "scripts/reference.py"))["write"](tmp_path)
    text = (tmp_path / "command-line.md").read_text()
    for name in typer.main.get_command(app).commands:
        assert f"## gradsift {name}" in text
    assert "`contamination`" in (tmp_path / "settings.md").read_text()
    assert "`suggested_label`" in (tmp_path / "columns.md").read_text()
