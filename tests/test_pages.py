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
WITH_A_MODEL = {"hugging-face", "chats", "preference-pairs"}
"""Pages whose code begins with a model of the reader: ``tests/test_docs.py`` runs it."""
TABLES = ("benchmark", "results", "performance", "defaults", "reliability")
"""What the names of pages begin with that benchmarks write whole."""
MADE = {"command-line.md", "settings.md", "columns.md"}
"""Pages of the reference that `make docs` makes from the code."""


WITH_CODE = [
    page
    for page in [*DOCS.glob("how-to/*.md"), *DOCS.glob("notebooks/*.md")]
    if blocks(page) and page.stem not in WITH_A_MODEL
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile("\n".join(blocks(page)), str(page), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", SHORT, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_of_one_job_is_short(page):
    lines = page.read_text().splitlines()
    assert len(lines) <= 62
    assert len([line for line in lines if line.startswith("# ")]) >= 1


def test_every_page_that_a_person_wrote_says_what_comes_next():
    for page in WRITTEN:
        ends = page.parent.name in ("decisions", "_build") or page.name in {
            "index.md",
            "api.md",
            "worklog.md",
            "README.md",
        }
        if not ends and page.name not in MADE and not page.name.startswith(TABLES) and "api" not in page.parts:
            assert "Next: " in page.read_text().rstrip().rpartition("\n\n")[2], page


def test_every_decision_has_its_context_and_its_consequences():
    for page in sorted(DOCS.glob("decisions/*.md")):
        assert re.findall(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)[:3] == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_the_index_leads_to_every_page():
    lists = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.DOTALL)
    entries = [line for block in lists for line in block.splitlines() if line and not line.startswith(":")]
    listed = {page for entry in entries for page in DOCS.glob(f"{entry}.md")}
    assert {page for page in DOCS.rglob("*.md") if not {"_build", "api"} & set(page.parts)} - listed <= {
        DOCS / "index.md", DOCS / "worklog.md",
    }  # fmt: skip


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


def listed():
    """Command to the keys that the page on JSON lists for it."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", (DOCS / "reference/json.md").read_text(), flags=re.MULTILINE)
    return {command: set(re.findall(r"`([^`]+)`", words.partition("; ")[0])) for command, words in rows}


def test_json_has_the_keys_that_its_page_lists(tmp_path, monkeypatch):
    keys = listed()
    audited(tmp_path / "run")
    monkeypatch.setattr(doctor, "self_test", lambda device: [Check("tried", True, "", 0.1)])
    for command, arguments in {
        "show": [tmp_path / "run"], "explain": [tmp_path / "run", 0], "doctor": [],
        "report": [tmp_path / "run", "-o", tmp_path / "page.html"],
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
