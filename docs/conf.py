"""How the documentation is built: Markdown pages, one page per experiment, an API reference, a gallery of examples."""

from __future__ import annotations

import sys
from pathlib import Path

import thalweg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "Thalweg"
author = "The Thalweg developers"
copyright = "2026, The Thalweg developers"
release = version = thalweg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "experiment_pages",
    "plain_docstrings",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py"]

html_theme = "furo"
html_title = "Thalweg"
html_static_path: list[str] = []

suppress_warnings = ["ref.python"]  # a short name such as Plan in a signature, which two packages have

myst_enable_extensions = ["deflist", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "abort_on_example_error": True,
    "show_memory": False,
    "remove_config_comments": True,
}
