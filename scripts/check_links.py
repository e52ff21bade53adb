"""Links between the pages of the repository, without a network: files that are not there, headings that are not there.

python scripts/check_links.py    # what leads nowhere; the exit code tells
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE = {"command-line.md", "settings.md", "columns.md"}
"""Pages of the reference that are made from the code when the docs are built."""
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")


def pages(root: Path) -> list[Path]:
    """Every page in Markdown that belongs to the repository."""
    found = [
        *root.glob("*.md"),
        *root.glob("docs/**/*.md"),
        *root.glob("examples/**/*.md"),
        *root.glob(".github/**/*.md"),
    ]
    return sorted(page for page in found if "_build" not in page.parts and page.parent.name != "api")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST make them, and its own labels."""
    text = page.read_text()
    headings = re.findall(r"^#{1,4} (.+)$", text, flags=re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE))


def broken(root: Path = ROOT) -> list[str]:
    """Page and target of each link that leads nowhere.

    Args:
        root: The repository.

    Returns:
        Words for each.
    """
    wrong = []
    for page in pages(root):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        included = re.findall(r"^```\{include\} (\S+)$", page.read_text(), flags=re.MULTILINE)
        for target, anchor in [*LINK.findall(text), *((target, "") for target in included)]:
            place = page.parent / target if target else page
            if place.name in MADE and place.parent.name == "reference":
                continue
            if not place.exists():
                wrong.append(f"{page.relative_to(root)}: {target} is not there")
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                wrong.append(f"{page.relative_to(root)}: {target}#{anchor} names no heading")
    return wrong


def main() -> None:
    """Prints what leads nowhere."""
    wrong = broken()
    print("\n".join(wrong) or f"the links of {len(pages(ROOT))} pages lead somewhere")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
