"""The code and the commands of a page, run as they stand there."""

import re
import shlex
from pathlib import Path

from tests.support.in_process import gradsift

ROOT = Path(__file__).parents[2]


def blocks(page, language="python"):
    """The blocks of a page in one language; of a notebook, its cells."""
    return re.findall(rf"```(?:{language}|\{{code-cell\}} {language})\n(.*?)```", page.read_text(), flags=re.DOTALL)


def run_code(page, count):
    """Runs all blocks of Python, of which there must be so many, one after the other in the working directory."""
    found = blocks(page)
    assert len(found) == count
    exec(compile("\n".join(found), str(page), "exec"), {"__name__": "__main__"})


def run_command(line, folder, **variables):
    """Runs a command line of a page in a folder, with variables of the shell in place."""
    line = re.sub(r'"?\$(\w+)"?', lambda name: variables[name[1]], line)
    return gradsift(*shlex.split(line, comments=True)[1:], cwd=folder)


def commands_of(block):
    """The command lines of gradsift in a block of the shell's language."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("gradsift ")]
