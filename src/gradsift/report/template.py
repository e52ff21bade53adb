"""Templates of the page and of its drawings: everything from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gradsift.printable import printable


def fill(name: str, content: Mapping[str, Any]) -> str:
    """A template with its content.

    Args:
        name: File name of the template.
        content: The names that it uses.

    Returns:
        HTML or SVG.
    """
    environment = Environment(
        loader=PackageLoader("gradsift.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
    )
    return environment.get_template(name).render(content)
