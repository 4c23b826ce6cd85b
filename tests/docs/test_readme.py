"""The first page in two languages: who reads one of them misses nothing of the other."""

import re

import pytest

from tests.docs.blocks import ROOT, blocks

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
_HEADING = re.compile(r"^(#+) ", re.M)
_LINK = re.compile(r"\]\(([^)]+)\)")
_COMMENT = re.compile(r"\s+#.*")


def test_both_have_the_same_headings_and_as_many_rows() -> None:
    english, chinese = (page.read_text("utf-8") for page in (ENGLISH, CHINESE))
    assert _HEADING.findall(english) == _HEADING.findall(chinese)
    parts = [re.split(r"^## .*$", text, flags=re.M) for text in (english, chinese)]
    for one, other in zip(*parts, strict=True):
        for mark in ("| ", "- ", "```"):
            count = [
                len([line for line in part.splitlines() if line.startswith(mark)])
                for part in (one, other)
            ]
            assert count[0] == count[1], f"{mark}: bring README.zh.md into step\n{one[:300]}"


def test_both_give_the_same_commands() -> None:
    told = [
        [_COMMENT.sub("", command.text) for block in blocks(page) for command in block.commands]
        for page in (ENGLISH, CHINESE)
    ]
    assert told[0] == told[1]
    assert told[0]


def test_both_lead_to_the_same_pages() -> None:
    links = [
        sorted(link for link in _LINK.findall(page.read_text("utf-8")) if "README" not in link)
        for page in (ENGLISH, CHINESE)
    ]
    assert links[0] == links[1]


@pytest.mark.parametrize(
    "page",
    ["README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
)
def test_links_of_the_pages_outside_the_site_lead_somewhere(page: str) -> None:
    for link in _LINK.findall((ROOT / page).read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if link.startswith(("http:", "https:")):
            continue
        target = ROOT / (path or page)
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target.read_text("utf-8")), link


def _anchors(text: str) -> set[str]:
    """The anchors that a forge gives to headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found
