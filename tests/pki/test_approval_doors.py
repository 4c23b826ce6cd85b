"""Whatever the two-person rule is about is written in one place each, and that place asks for the approval."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("store", "hsm", "pki", "fleet", "api", "scheduler", "ikewarden")
# What makes a token, an authority, a CA's certificate, the end of a certificate.
WAYS = {
    r"\binsert\(\s*tokens\b|\btokens\.insert\(": {"pki/tokens.py"},
    r"\binsert\(\s*authorities(_table)?\b|\bauthorities(_table)?\.insert\(": {
        "pki/founding.py",
        "pki/outside.py",
    },
    r"(?<!def )\bdraft_(root|subordinate)\(": {
        "pki/founding.py",
        "pki/outside.py",
        "pki/rollover/crossing.py",
    },
    r"\binsert\(\s*revocations\b|\brevocations\.insert\(": {"pki/revocation.py"},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_act_is_done_in_one_place_which_asks(way: str) -> None:
    sources = {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    found = {name for name, text in sources.items() if re.search(way, text)}
    assert found == WAYS[way]
    assert all("require_approval(" in sources[name] for name in found)
