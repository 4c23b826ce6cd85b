"""Names that whoever may write on the host has chosen, in every format: none of them acts."""

import json
import re
from collections.abc import Callable

import pytest

from ike.audit.forms import csv, html, junit, sarif, text
from ike.audit.forms import json as document
from tests.ike.audit.forms.audits import ODD_NAMES, RULES, odd

FORMS: dict[str, Callable[[], str]] = {
    "text": lambda: text.write(odd(), everything=True),
    "json": lambda: document.write(odd()),
    "sarif": lambda: sarif.write(odd(), RULES, "0.1.0"),
    "junit": lambda: junit.write(odd(), RULES),
    "html": lambda: html.write(odd()),
    "csv": lambda: csv.write(odd()),
}
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("form", FORMS)
def test_no_character_acts(form: str) -> None:
    told = FORMS[form]()
    assert not _ACTING.search(told)
    told.encode("utf-8")
    for line in told.splitlines():
        assert not line.startswith("CRITICAL  forged")


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_every_reader_of_json_takes_it(form: str) -> None:
    told = FORMS[form]()
    assert told.isascii()
    # Half a pair, which Python alone reads back.
    assert not re.search(r"\\u[dD][89a-fA-F]", told.replace("\\\\", ""))
    json.loads(told)


@pytest.mark.parametrize("form", ["junit", "html"])
def test_no_markup_of_theirs(form: str) -> None:
    told = FORMS[form]()
    for markup in ("<script", "<img", "]]>", "<!--"):
        assert markup not in told


@pytest.mark.parametrize("form", FORMS)
def test_every_name_can_be_recognized(form: str) -> None:
    told = FORMS[form]()
    for part in ("long" * 60, "jndi:x", "half", "drop"):
        assert part in told
    assert len(ODD_NAMES) > 15
