"""The report as one HTML file: no script, nothing from elsewhere, light and dark, for any screen and for paper.

The Content-Security-Policy in it allows its own style sheet and nothing else: even a mistake here would load and run
nothing.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from ike.audit.forms.grouping import Group, extent, grouped, number, totals, unread, unread_sum
from ike.audit.forms.names import shown
from ike.audit.forms.references import url
from ike.audit.values import Audit, Finding, Severity

_QUOTED: Final = re.compile("`([^`]+)`")
_HEAD: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""


def write(audit: Audit) -> str:
    """The page."""
    return "".join(f"{part}\n" for part in _page(audit))


def _page(audit: Audit) -> Iterator[str]:
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"Audit of {audit.host}"
    yield _HEAD.format(policy=policy, title=_text(title), style=style).rstrip("\n")
    weights = [finding.weight for finding in audit.findings]
    there = [each for each in Severity if each in weights]
    for severity in there:
        # Before all that they hide: a sheet of styles sees only what follows.
        yield (
            f'<input class="choice" type="checkbox" id="see-{severity}" checked'
            f' aria-label="Show {severity} findings">'
        )
    yield from _header(audit)
    if there:
        yield '<nav class="filter" aria-label="Severities that are shown">'
        for severity in there:
            count = weights.count(severity)
            yield f'<label class="{severity}" for="see-{severity}"><b>{count:,}</b> {severity}</label>'
        yield "</nav>"
    yield "</header>\n<main>"
    for position, group in enumerate(grouped(audit.findings)):
        yield from _group(group, position)
    yield from _aside(audit)
    yield "</main>\n<footer>"
    yield f'<p class="quiet">{_text(extent(audit))}. Written by ikewarden audit.</p>'
    yield "</footer>\n</body>\n</html>"


def _header(audit: Audit) -> Iterator[str]:
    yield f"<header>\n<h1>Audit of {_text(audit.host)}</h1>"
    yield f'<p class="quiet">{audit.started:%Y-%m-%d %H:%M} UTC, baseline {_text(audit.policy.baseline)}</p>'
    if audit.findings:
        new = "new " if audit.earlier else ""
        found = number(len(audit.findings), f"{new}finding")
        yield f'<p class="verdict">{found}: {_text(totals(audit))}.</p>'
    elif not audit.items:
        yield '<p class="verdict">No keys or configuration of an IKE daemon were found.</p>'
    elif audit.problems:
        what = "Nothing new" if audit.earlier else "Nothing wrong"
        yield f'<p class="verdict">{what} was found in what could be read.</p>'
    else:
        what = "Nothing new was found." if audit.earlier else "Nothing wrong was found."
        yield f'<p class="verdict good">{what}</p>'
    if audit.problems:
        yield f"<p>{_text(unread_sum(audit))}</p>"


def _group(group: Group, position: int) -> Iterator[str]:
    rule, fix = group.rule, group.fix
    yield f'<section class="{group.severity}">'
    yield (
        f'<h2><span class="tag">{group.severity}</span> {_prose(rule.title)}'
        f' <code class="rule">{_text(rule.id)}</code></h2>'
    )
    first = group.first()
    yield from _places(first, own=not fix)
    rest = group.findings[len(first) :]
    if rest:
        yield f'<input class="choice" type="checkbox" id="more-{position}">\n<div class="rest">'
        yield from _places(rest, own=not fix)
        yield f'</div>\n<label class="more" for="more-{position}">and {_text(group.rest())}</label>'
    yield f"<dl>\n<dt>Why</dt><dd>{_prose(rule.why)}</dd>"
    if fix or rest:
        yield f"<dt>Fix</dt><dd>{_fix(fix or rule.fix)}</dd>"
    if group.sources:
        yield f"<dt>See</dt><dd>{'; '.join(map(_reference, group.sources))}</dd>"
    yield "</dl>\n</section>"


def _places(findings: Iterable[Finding], *, own: bool) -> Iterator[str]:
    yield "<ul>"
    for finding in findings:
        told = f"{_place(str(finding.place))}{_prose(finding.evidence)}"
        if own:
            told += f"<br>Fix: {_fix(finding.fix or finding.rule.fix)}"
        yield f"<li>{told}</li>"
    yield "</ul>"


def _aside(audit: Audit) -> Iterator[str]:
    """What does not count, and what an audit says of itself."""
    accepted = []
    for finding in audit.suppressed:
        why = audit.accepted.get(finding.id)
        by = f" by {why.by}" if why and why.by else ""
        reason = f"{why.reason} (until {why.until}{by})" if why else ""
        accepted.append((str(finding.place), f"{finding.rule.title}. {reason}"))
    yield from _listed("Not read", ((str(place), text) for place, text in unread(audit.problems)))
    yield from _listed("Accepted", accepted)
    yield from _listed(
        "Known from the report before", ((str(each.place), each.rule.title) for each in audit.known)
    )
    yield from _listed(
        "Gone since the report before", ((str(each.place), each.title) for each in audit.gone)
    )
    yield from _listed("Notes", (("", each) for each in audit.remarks))


def _listed(title: str, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    items = [f"<li>{_place(place) if place else ''}{_prose(text)}</li>" for place, text in pairs]
    if items:
        yield f'<section class="plain">\n<h2>{_text(title)}</h2>\n<ul>'
        yield from items
        yield "</ul>\n</section>"


def _place(place: str) -> str:
    return f'<code class="place">{_text(place)}</code> '


def _reference(reference: str) -> str:
    address = url(reference)
    text = _text(reference)
    return f'<a href="{escape(address)}" rel="noreferrer">{text}</a>' if address else text


@cache
def _style() -> str:
    sheet = (files("ike.audit.forms") / "audit.css").read_text("utf-8")
    return sheet + "".join(map(_filter, Severity))


def _filter(severity: Severity) -> str:
    chosen = f"#see-{severity}"
    label = f'.filter label[for="see-{severity}"]'
    return (
        f"{chosen}:not(:checked) ~ main section.{severity} {{ display: none; }}\n"
        f"{chosen}:checked ~ header {label} {{ opacity: 1; text-decoration: none; }}\n"
        f"{chosen}:focus-visible ~ header {label} {{ outline: 2px solid; outline-offset: 2px; }}\n"
    )


def _text(text: str) -> str:
    return escape(shown(text))


def _prose(text: str) -> str:
    """Text in which what stands in backticks is code."""
    return _QUOTED.sub(r"<code>\1</code>", _text(text))


def _fix(text: str) -> str:
    """A sentence; or a whole command, which alone begins with a small letter."""
    is_command = text[:1].islower() and "`" not in text
    return f"<code>{_text(text)}</code>" if is_command else _prose(text)
