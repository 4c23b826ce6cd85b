"""The diagnosis as it is printed: a checklist that ends with the one next thing to do, or JSON."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from ike.audit.forms.names import shown, visible
from ike.audit.forms.text import WIDTH, Line
from ike.doctor.diagnosis import TITLES, Diagnosis
from ike.doctor.values import Check, Verdict

VERSION: Final = 1
_MARKS: Final = {
    Verdict.OK: ("ok", "good"),
    Verdict.WRONG: ("WRONG", "critical"),
    Verdict.UNKNOWN: ("?", "quiet"),
}
# What is wrong only because something else is.
_FOLLOWS: Final = ("follows", "quiet")
_LABEL: Final = 9


def lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """The checklist line by line; nothing in it acts in a terminal."""
    wrong = len(diagnosis.causes)
    about = f"{shown(diagnosis.tunnel)}: " if diagnosis.tunnel else ""
    if wrong:
        yield Line(f"{about}{wrong} {'thing is' if wrong == 1 else 'things are'} wrong", "critical")
    else:
        yield Line(f"{about}nothing is wrong that can be seen from here", "good")
    yield Line()
    causes = diagnosis.causes
    for check in diagnosis.checks:
        follows = check.verdict is Verdict.WRONG and check not in causes
        yield from _check(check, *(_FOLLOWS if follows else _MARKS[check.verdict]))
    yield Line()
    yield from _next(diagnosis.first)


def _check(check: Check, mark: str, style: str) -> Iterator[Line]:
    yield Line(f"{mark:<{_LABEL}}{TITLES[check.name]}", style)
    yield from _wrapped(check.evidence, "quiet" if check.verdict is not Verdict.WRONG else "")


def _next(first: Check | None) -> Iterator[Line]:
    if first is None:
        yield Line("Next: nothing; the tunnel is as it should be.", "good")
        return
    yield Line("Next:", "place")
    yield from _wrapped(first.next_step, "place")


def _wrapped(text: str, style: str) -> Iterator[Line]:
    margin = " " * _LABEL
    for line in textwrap.wrap(
        shown(text),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield Line(line, style)


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as a JSON object; `next` is null where nothing is to be done."""
    first = diagnosis.first
    return {
        "version": VERSION,
        "tunnel": visible(diagnosis.tunnel) or None,
        "verdict": "wrong" if diagnosis.wrong else "ok",
        "checks": [_entry(each) for each in diagnosis.checks],
        "next": None if first is None else _entry(first),
    }


def _entry(check: Check) -> dict[str, str]:
    return {
        "check": check.name,
        "title": TITLES[check.name],
        "verdict": check.verdict.value,
        "evidence": visible(check.evidence),
        "next_step": visible(check.next_step),
    }


def write_json(diagnosis: Diagnosis) -> str:
    """The JSON object, indented; ASCII only, so that no character in it acts in a terminal."""
    return json.dumps(document(diagnosis), indent=2, ensure_ascii=True) + "\n"
