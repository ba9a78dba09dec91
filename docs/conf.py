"""The site: ``python -m sphinx -W -n docs build/site`` builds it. Its cells are run, and warnings are errors."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = f"{PROJECT['urls']['Repository']}/blob/main"

sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)  # for the kernels in which cells run

project = PROJECT["name"]
version = release = PROJECT["version"]
author = copyright = "the tapegrad authors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]  # conf.py has a function, which no pickle of the settings holds

# Pages link to headings as they do on GitHub, and formulas stand between dollar signs.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]

nb_execution_mode = "cache"  # a page runs again only if its cells have changed
nb_execution_cache_path = str(ROOT / "build" / "cells")
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings give shapes and dtypes, which types do not
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True
nitpick_ignore_regex = [  # what torch and Python document, and what is no public name
    (r"py:.*", r"(torch|numpy|graphviz|tapegrad\.engine)\b.*"),
    (r"py:(exc|class)", r"(TypeError|ValueError|RuntimeError|NotImplementedError|AssertionError)"),
]

html_theme = "furo"
html_title = f"tapegrad {release}"
html_theme_options = {
    "source_repository": PROJECT["urls"]["Repository"],
    "source_branch": "main",
    "source_directory": "docs/",
}
html_static_path: list[str] = []
html_copy_source = False

# Nothing here is a promise of ours but that the page was there when it was linked to.
linkcheck_timeout = 20
linkcheck_ignore = [re.escape(PROJECT["urls"]["Repository"]) + ".*"]


def lead_to_source(app: Sphinx, page: str, text: list[str]) -> None:
    """Links out of docs/, to code, which is not on the site, lead to the repository."""
    up = "../" * (page.count("/") + 1)
    text[0] = re.sub(rf"\]\({re.escape(up)}(?!\.\.)([^)\s]*)\)", rf"]({SOURCE}/\1)", text[0])


def setup(app: Sphinx) -> None:
    """Have Sphinx call what is above."""
    app.connect("source-read", lead_to_source)
