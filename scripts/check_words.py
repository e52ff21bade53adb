"""Sentences that need a second reading: too many words, in pages, in messages and in the help of the command line.

    python scripts/check_words.py           # what is too long; the exit code tells
    python scripts/check_words.py --all     # the longest sentences of each kind

A word of code, a number and the text of a link count as one word each. Tables, blocks of code and what benchmarks write are
left out.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SHORT, LONG = 35, 45
"""Most words of a sentence that everybody reads, and of one on the other pages."""
FIRST = ("README.md", "docs/index.md", "docs/start.md", "docs/how-to/*.md", "docs/concepts/*.md", "examples/**/*.md")
"""Pages that everybody reads."""
WRITTEN_BY_BENCHMARKS = ("benchmark", "results", "performance", "defaults", "reliability", "worklog")
MADE = ("_build", "api", "results")
CODE = re.compile(r"```.*?```|~~~.*?~~~|<!--.*?-->|\A---\n.*?\n---\n", re.DOTALL)
END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[A-Z`*\[\"'“(]|gradsift )|\n\n+")


class Sentence(NamedTuple):
    """Where a sentence stands, its words, and how many it may have."""

    place: str
    text: str
    limit: int

    @property
    def words(self) -> int:
        """How many there are."""
        return sum(any(letter.isalnum() for letter in word) for word in self.text.split())


def sentences_of(text: str) -> Iterator[str]:
    """Sentences of Markdown: of paragraphs and of entries of lists, each on its own."""
    text = CODE.sub("\n\n", text)
    text = re.sub(r"^\s*(?:\||#|:::|    \S).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[*+-]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"``?[^`]*``?", "Code", text)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from (sentence for sentence in END.split(" ".join(paragraph.split())) if sentence.strip())


def of_pages() -> Iterator[Sentence]:
    """Sentences of README, pages and examples."""
    first = {page for pattern in FIRST for page in ROOT.glob(pattern)}
    for page in sorted({*first, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")}):
        place = page.relative_to(ROOT)
        if not (set(MADE) & set(place.parts[:-1]) or page.name.startswith(WRITTEN_BY_BENCHMARKS)):
            for text in sentences_of(page.read_text()):
                yield Sentence(str(place), text, SHORT if page in first else LONG)


def of_code() -> Iterator[Sentence]:
    """Sentences of all strings that users can see: errors, notices, help; docstrings of commands."""
    for file in sorted((ROOT / "src/gradsift").rglob("*.py")):
        tree = ast.parse(file.read_text())
        spoken = {id(node.body[0].value) for node in ast.walk(tree) if _is_command(file, node)}
        unheard = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)} - spoken
        formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        inner = {id(part) for node in formatted for part in ast.walk(node) if part is not node}
        for node in ast.walk(tree):
            if id(node) in inner or id(node) in unheard:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
                text = "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.partition("\n    Args:")[0]
            else:
                continue
            if " " in text and not text.lstrip().startswith(("<", "{%", "(function", "SELECT", "CREATE")):
                place = f"{file.relative_to(ROOT)}:{node.lineno}"
                yield from (Sentence(place, sentence, SHORT) for sentence in sentences_of(text))


def _is_command(file: Path, node: ast.AST) -> bool:
    """Whether a docstring is the help of a command."""
    return "cli" in file.parts and isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None


def main() -> None:
    """Prints what is too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the ten longest of pages and of code, too long or not")
    asked = parser.parse_args()
    kinds = [sorted(sentences, key=lambda one: -one.words) for sentences in (of_pages(), of_code())]
    wrong = [sentence for sentences in kinds for sentence in sentences if sentence.words > sentence.limit]
    for sentence in [one for sentences in kinds for one in sentences[:10]] if asked.all else wrong:
        print(f"{sentence.place}: {sentence.words} words, at most {sentence.limit}: {sentence.text}\n")
    sys.exit(1 if wrong and not asked.all else 0)


if __name__ == "__main__":
    main()
