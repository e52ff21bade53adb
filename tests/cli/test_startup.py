"""What starting costs: no heavy library is imported before something needs it."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gradsift
from gradsift.cli.commands import COMMANDS
from tests.support.killed import ends_as

HEAVY = ("torch", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "transformers", "jinja2", "fsspec")
HELP = "import typer; typer.main.get_command(gradsift.cli.app.app).main(['--help'], standalone_mode=False)"


@pytest.mark.parametrize("code", ["pass", "import gradsift.cli", f"import gradsift.cli.app; {HELP}"])
def test_neither_the_package_nor_the_help_imports_a_heavy_library(code):
    code = f"import sys, gradsift; {code}; print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.split() == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_the_first_sentence_of_its_own_help(name):
    entry = COMMANDS[name]
    command = getattr(import_module(f"gradsift.cli.{entry.module}"), name.replace("-", "_"))
    assert " ".join(command.__doc__.split("\n\n")[0].split()) == entry.summary


def test_public_names_are_found_where_they_are_promised():
    tree = ast.parse(Path(gradsift.__file__).read_text())
    promised = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gradsift.")
        for alias in node.names
    }
    assert promised == {name: f"gradsift.{module}" for name, module in gradsift._HOMES.items()}
    assert sorted(promised) == gradsift.__all__
    for name, module in promised.items():
        assert getattr(gradsift, name) is getattr(sys.modules[module], name)
    assert set(gradsift.__all__) <= set(dir(gradsift))


def test_a_name_of_a_function_and_a_module_shows_the_function_however_it_is_imported():
    def imported_anew():
        for name in [name for name in sys.modules if name.partition(".")[0] == "gradsift"]:
            del sys.modules[name]
        anew = import_module("gradsift")
        import_module("gradsift.plan.memory")
        import_module("gradsift.audit")
        assert anew is not gradsift
        assert callable(anew.audit)
        assert callable(anew.plan)

    assert ends_as(imported_anew) == 0
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        gradsift.absent  # noqa: B018
