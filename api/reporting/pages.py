"""Reports as pages: one HTML file that fetches nothing, for the screen or for paper."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined, select_autoescape
from markupsafe import Markup, escape

from api.fixes import mended
from api.reporting.words import Words, rules, words
from core.escaping import escaped
from ike.audit.values import Severity

MEDIA_TYPE: Final = "text/html; charset=utf-8"
_STATIC: Final = Path(__file__).parent.parent / "static"
_LONG: Final = re.compile(r"\S{17,}")
_WORD: Final = re.compile(r"\S+|\s+")
_PIECE: Final = re.compile(r"\S{1,8}")
_QUOTED: Final = re.compile(r"`([^`]+)`")


def page(
    template: str, language: str, context: Mapping[str, Any], *, paper: bool = False
) -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets it do nothing but be looked at."""
    style = _style(paper)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    told = {**context, "style": style, "policy": policy, "severities": list(map(str, Severity))}
    return _environment(language, paper).get_template(template).render(told).encode(), policy


@lru_cache(maxsize=2)
def _style(paper: bool) -> str:
    names = ("report.css", "report_paper.css") if paper else ("report.css",)
    return "".join((_STATIC / name).read_text("utf-8") for name in names)


@lru_cache(maxsize=4)
def _environment(language: str, paper: bool) -> Environment:
    say = words(language)
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=select_autoescape(),
        finalize=_on_paper if paper else _harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_=say, lang={"en": "en", "zh": "zh-CN"}[language])
    filters: dict[str, Callable[..., Any]] = {
        "moment": partial(_moment, say),
        "labels": _labels,
        "prose": _prose,
        "term": partial(_term, say),
        "rule": partial(_term, rules(language)),
        "fix": partial(mended, rules(language)),
        "cell": partial(_cell, say),
        # Jinja would first try it as a key of each row.
        "value": getattr,
    }
    environment.filters.update(filters)
    return environment


def _moment(say: Words, value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M}Z" if value else say("never")


def _term(say: Words, value: object) -> str:
    """A value that has a word of its own in this language."""
    return say(str(value))


def _cell(say: Words, value: object, form: str) -> object:
    """What a table shows of a value."""
    if value is None or value == "" or isinstance(value, Undefined):
        return "–"
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, datetime):
        return _moment(say, value)
    if form == "term":
        return _term(say, value)
    if form == "name":
        return Markup("<br>").join(_labels(each) for each in str(value).split("\n"))
    return value


def _harmless(value: object) -> object:
    """What a gateway sent may hold what turns text round, or is not seen."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return escaped(str(value)) if plain else value


def _on_paper(value: object) -> object:
    """The same with places at which a long word may be broken: paper cannot be scrolled."""
    told = _harmless(value)
    if not isinstance(told, str) or isinstance(told, Markup) or not _LONG.search(told):
        return told
    return Markup("").join(
        Markup("<wbr>").join(_PIECE.findall(part)) if _LONG.fullmatch(part) else part
        for part in _WORD.findall(told)
    )


def _labels(name: str) -> Markup:
    """A name that is broken, if it must be, between its labels."""
    # A page has thousands: one replacement, for nothing that is escaped has a dot of its own.
    told = f"<i>{_markup(name).replace('.', '</i>.<wbr><i>')}</i>"
    return Markup(told)  # noqa: S704 - it is escaped


@lru_cache(maxsize=256)
def _prose(text: str) -> Markup:
    """Text in which what stands in backticks is code. A backtick without its end stays."""
    # The same for each gateway, mostly.
    parts = enumerate(_QUOTED.split(text))
    told = "".join(
        f"<code>{_markup(part)}</code>" if number % 2 else _markup(part) for number, part in parts
    )
    return Markup(told)  # noqa: S704 - it is escaped


def _markup(text: str) -> str:
    """Harmless text as it stands in HTML."""
    return str(escape(escaped(text)))
