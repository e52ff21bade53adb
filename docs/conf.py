from importlib import metadata

project = "gradsift"
author = "the gradsift authors"
release = metadata.version("gradsift")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.apidoc", "sphinx.ext.napoleon", "myst_parser"]
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
suppress_warnings = ["ref.python"]  # a class is reachable by its room and by its module
