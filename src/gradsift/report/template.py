"""Templates of the page and of its drawings: everything from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gradsift.printable import printable


def fill(name: str, content: Mapping[str, Any], package: str = "gradsift.report") -> str:
    """A template with its content.

    Args:
        name: File name of the template.
        content: The names that it uses.
        package: The package in whose folder ``templates`` it lies.

    Returns:
        HTML or SVG.
    """
    return environment(package).get_template(name).render(content)


@cache
def environment(package: str) -> Environment:
    """The templates of a package, each compiled once.

    Args:
        package: The package in whose folder ``templates`` they lie.

    Returns:
        Jinja's environment.
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
    )
