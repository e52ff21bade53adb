"""Counts lines of code (no docstrings, blanks or comments) of each package, and lists functions with long bodies.

python scripts/count_code.py [--longer-than 40]
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(path: Path) -> set[int]:
    """Numbers of the lines that hold code."""
    text = path.read_text()
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in SKIPPED]
    return {line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - strings


def long_functions(path: Path, longer_than: int) -> list[tuple[int, str]]:
    """Functions whose body has more lines of code, and how many."""
    code = lines_of_code(path)
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = sum(1 for line in code if node.body[0].lineno <= line <= (node.end_lineno or 0))
            if body > longer_than:
                found.append((body, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longer-than", type=int, default=40)
    limit = parser.parse_args().longer_than
    for folder in ("src/gradsift", "benchmarks", "tests"):
        counts: Counter[str] = Counter()
        for path in (ROOT / folder).rglob("*.py"):
            counts[path.relative_to(ROOT / folder).parts[0]] += len(lines_of_code(path))
        print(f"{folder}: {sum(counts.values()):,} lines of code")
        if folder == "src/gradsift":
            for name, count in counts.most_common():
                print(f"  {count:6,} {name}")
    long = sorted((one for path in (ROOT / "src").rglob("*.py") for one in long_functions(path, limit)), reverse=True)
    print(f"{len(long)} functions with more than {limit} lines of code in their body")
    for length, name in long:
        print(f"  {length:4} {name}")
