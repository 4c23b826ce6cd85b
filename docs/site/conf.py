"""How the site is built from the pages: `make docs`; strict, offline, light and dark."""

import re
import tomllib
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+\.md)(?:#[^)]*)?\)")

project = "ikewarden"
copyright = "the authors of ikewarden, Apache-2.0"
release = version = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "version"
]
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["site"]
root_doc = "index"
language = "en"

# A heading is linked to by its words, as on every forge.
myst_heading_anchors = 4
nitpicky = True
# `…` in an example is no mistake of the page.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "ikewarden"
html_static_path = ["static"]
html_css_files = ["ikewarden.css"]
html_copy_source = False
html_show_sourcelink = False
# The words around a hit would be fetched from the pages, which a browser refuses to do in a folder.
html_show_search_summary = False
html_show_sphinx = False
pygments_style = "tango"
pygments_dark_style = "monokai"


def _with_contents(app: Any, name: str, source: list[str]) -> None:
    """Make the list of links of an index page the navigation too: one list to keep, and a page that is in none is an
    error.
    """
    if name.rpartition("/")[2] not in ("index", "README"):
        return
    linked = [link for link in _LINK.findall(source[0]) if not link.startswith("../")]
    if name == root_doc:
        # Its other links lead to pages that stand in the indexes below it.
        linked = [link for link in linked if link.endswith("/index.md")]
    entries = "\n".join(dict.fromkeys(link.removesuffix(".md") for link in linked))
    source[0] += f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 2\n\n{entries}\n```\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _with_contents)
