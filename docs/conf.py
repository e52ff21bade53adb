import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import reference

reference.write()

project = "gradsift"
author = "the gradsift authors"
release = metadata.version("gradsift")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.apidoc", "sphinx.ext.napoleon", "myst_nb"]
html_theme = "furo"
html_title = f"gradsift {release}"
exclude_patterns = ["_build", "worklog.md", "api/modules.rst"]
apidoc_modules = [{"path": "../src/gradsift", "destination": "api", "separate_modules": True, "module_first": True}]
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True
myst_heading_anchors = 3
suppress_warnings = [
    "ref.python",  # a class is reachable by its room and by its module
    "toc.empty_glob",  # the index leaves places for pages
    "toc.duplicate_entry",
]
nb_execution_mode = "force"  # notebooks run when the docs are built, and what fails there fails the build
nb_execution_raise_on_error = True
nb_execution_timeout = 300
