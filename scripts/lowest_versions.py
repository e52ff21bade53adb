"""Prints the lowest versions that pyproject.toml allows, as pip constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
extras = [line for lines in project["optional-dependencies"].values() for line in lines]
for line in [*project["dependencies"], *extras]:
    found = re.fullmatch(r"([\w-]+)>=([\w.]+)", line)
    if found:
        print(f"{found[1]}=={found[2]}")
