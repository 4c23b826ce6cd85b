"""From a screen to HTML. What came from elsewhere is shown so that it can neither act nor deceive."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from api.console.assets import address
from api.console.language import NAMES
from api.console.page import DONE, Page, Screen, Visit
from core.escaping import escaped

#: No script, style or picture of another host, none within the page; no frame.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DURATION: Final = re.compile(
    r"([0-9]{1,8}) days?, ([0-9]|1[0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])"
)
_QUOTED: Final = re.compile(r"`([^`]+)`")


def render(screen: Screen, visit: Visit[Any, Any], menu: tuple[Page, ...]) -> bytes:
    """The whole page, or only the block that the screen names."""
    template = environment().get_template(screen.template)
    shown = {
        "visit": visit,
        "menu": [
            page for page in menu if visit.session is not None and visit.actor.role in page.roles
        ],
        "done": DONE.get(visit.done, ""),
        "languages": NAMES,
        "error": None,
        **screen.shown,
    }
    if not screen.part:
        return template.render(shown).encode()
    context = template.new_context(shown)
    return "".join(template.blocks[screen.part](context)).encode()


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Jinja with our filters and functions; templates/parts.html has what pages are put together from."""
    made = Environment(
        loader=PackageLoader("api.console"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.globals.update(_=_say, asset=address, link=link, once=_once)
    made.filters.update(
        moment=_moment,
        ago=_ago,
        number=_number,
        data=_data,
        prose=_prose,
        labels=_labels,
        short=_short,
        say=_said,
        duration=_duration,
        named=_named,
        raw=_raw,
        pairs=parse_qsl,
    )
    return made


def link(path: str, /, **query: object) -> str:
    """A path with a query string; parameters that are None or empty are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "", ())}
    return (
        f"{quote(path, safe='/:@,+=%')}?{urlencode(given)}"
        if given
        else quote(path, safe="/:@,+=%")
    )


def _harmless(value: object) -> object:
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return escaped(str(value)) if plain else value


@pass_context
def _say(context: Context, text: str, /, **values: object) -> str | Markup:
    """The text in the visitor's language; `{name}` is replaced by a value, as text."""
    said: str = context["visit"].language.say(text)
    if not values:
        return said
    harmless = {name: escape(_harmless(value)) for name, value in values.items()}
    return Markup(str(escape(said)).format_map(harmless))  # noqa: S704 - both were escaped before


@pass_context
def _said(context: Context, text: str) -> str:
    said: str = context["visit"].language.say(str(text))
    return said


@pass_context
def _duration(context: Context, text: str) -> Markup | str:
    """A text; one that a duration of days is kept as (`str` of a timedelta) as people say it, and as it is kept as its
    title.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        return text
    days, hours, minutes, seconds = map(int, found.groups())
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    said = context["visit"].language.length(length)
    return Markup('<span title="{}">{}</span>').format(text, said)


@pass_context
def _named(context: Context, name: str) -> str:
    """A name in small letters, as a kind of alert: its words in the visitor's language."""
    said: str = context["visit"].language.say(name)
    return name.replace("_", " ") if said == name else said


@pass_context
def _once(context: Context, action: str) -> str:
    """What tells one sending of a form from the next, so that a second click does nothing.

    The same as long as the page is watched, which would otherwise change each time that it is looked at.
    """
    request_id = context["visit"].request_id
    return hashlib.sha256(f"{request_id} {action}".encode()).hexdigest()[:24]


def _raw(text: str) -> Markup:
    """What somebody typed, as it was: for the value of a field, never to be read."""
    return escape(text)


@pass_context
def _moment(context: Context, value: datetime | None) -> Markup | str:
    language = context["visit"].language
    if value is None:
        return str(language.say("never"))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), language.full(value), language.moment(value)
    )


@pass_context
def _ago(context: Context, value: datetime | None) -> Markup | str:
    visit = context["visit"]
    if value is None:
        return str(visit.language.say("never"))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), visit.language.moment(value), visit.language.ago(value, visit.now)
    )


@pass_context
def _number(context: Context, value: float) -> str:
    return str(context["visit"].language.number(value))


def _data(value: Any) -> Markup:
    """JSON that may stand in a script element of the type application/json."""
    text = json.dumps(_all_harmless(value), ensure_ascii=True, default=str)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _all_harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _all_harmless(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_all_harmless(each) for each in value]
    return escaped(value) if isinstance(value, str) else value


def _prose(text: str) -> Markup:
    """Text in which what stands in backticks is code."""
    parts = enumerate(_QUOTED.split(escaped(str(text))))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in parts
    )


def _labels(name: str) -> Markup:
    """A name that is broken, if it must be, behind its dots, colons and slashes."""
    return Markup(re.sub(r"([.:/@])", r"\1<wbr>", str(escape(escaped(str(name))))))  # noqa: S704 - escaped before


def _short(text: str, length: int = 16) -> Markup:
    """The beginning of a long identifier, the whole as its title."""
    whole = escaped(str(text))
    if len(whole) <= length + 1:
        return Markup("<code>{}</code>").format(whole)
    return Markup('<code title="{}">{}…</code>').format(whole, whole[:length])
