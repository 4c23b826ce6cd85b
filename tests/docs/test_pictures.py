"""Pictures: drawn from the graphs beside them, asking nobody, and told in words to whoever does not see them."""

import re

import pytest

from docs.pictures import FOLDER, stamp
from tests.docs.blocks import ROOT, pages

GRAPHS = sorted(FOLDER.glob("*.dot"))
_PICTURE = re.compile(r"!\[([^]]*)\]\(([^)]+\.svg)\)")


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.stem)
def test_a_drawing_is_of_the_graph_as_it_is_now(graph) -> None:
    drawing = graph.with_suffix(".svg").read_text("utf-8")
    assert stamp(graph) in drawing, "run `make docs` where graphviz is installed"
    assert not re.search(r"(?:href|src)=\"(?:https?:)?//|url\(|<script|<!DOCTYPE", drawing)


def test_each_is_shown_and_told_in_words() -> None:
    shown = set()
    for page in pages():
        for words, path in _PICTURE.findall(page.read_text("utf-8")):
            shown.add((page.parent / path).resolve())
            # The words are to say what the picture does, not what it is called.
            assert len(words) > (40 if page.name.endswith(".zh.md") else 100), page
    assert shown == {graph.with_suffix(".svg").resolve() for graph in GRAPHS}


def test_there_is_no_drawing_without_its_graph() -> None:
    drawings = {path.stem for path in (ROOT / "docs").rglob("*.svg")}
    assert drawings == {graph.stem for graph in GRAPHS}
