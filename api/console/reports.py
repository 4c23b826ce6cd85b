"""Reports: every kind, in every form and language, made at a click and kept as a file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Literal

from pydantic import Field

from api.console.lists import Search
from api.console.mending import refused
from api.console.page import Answer, Download, Page, Refused, Screen, Visit, text
from api.registry import Nothing
from api.reporting import files
from api.reporting.values import FORMATS, Asked, Format, Language
from api.v1.certificates import Word
from core.errors import IkewardenError, Unavailable
from fleet.reporting.periods import FORMS
from pki.actors import Action

_PATH: Final = "/reports"


@dataclass(frozen=True)
class Offered:
    """A kind as the page offers it: its name in words, what it tells, and the action of its operations."""

    name: str
    title: str
    tells: str
    action: Action
    #: What is told where no period is given; empty: it tells how things are, and has none.
    usual: str = ""
    by: Literal["", "baseline", "gateway"] = ""


OFFERED: Final = (
    Offered(
        "inventory",
        text("Inventory"),
        text("CAs, gateways, tunnels, shared secrets, certificates in force."),
        Action.GATEWAY_READ,
    ),
    Offered(
        "expiring",
        text("What ends"),
        text("Certificates and CAs that end in a period, the soonest first."),
        Action.GATEWAY_READ,
        "next-30d",
    ),
    Offered(
        "revocations",
        text("Revocations"),
        text("What was revoked in a period, and how soon gateways confirmed it."),
        Action.GATEWAY_READ,
        "last-30d",
    ),
    Offered(
        "psk-age",
        text("Ages of shared secrets"),
        text("How old shared secrets are, the oldest first; never a value."),
        Action.SECRET_READ,
    ),
    Offered(
        "sa-health",
        text("How the tunnels fared"),
        text("Rekeys, failures and alerts of all tunnels over a time, the worst first."),
        Action.SA_READ,
        "last-7d",
        "gateway",
    ),
    Offered(
        "audit",
        text("What the audits found"),
        text("Findings of all gateways: by severity, rule and gateway, and one by one."),
        Action.FINDING_READ,
        by="baseline",
    ),
    Offered(
        "compliance",
        text("Compliance"),
        text("Which gateways are as their baseline wants them, and the evidence for each control."),
        Action.FINDING_READ,
        "last-90d",
        "baseline",
    ),
)


class ReportSearch(Search):
    """How a report is written, of which time and of what."""

    format: Format = "html"
    lang: Language = "en"
    period: str | None = Field(default=None, max_length=80)
    signed: bool = False
    baseline: Word | None = None
    gateway: Word | None = None


def show(visit: Visit[None, Nothing]) -> Answer:
    """All kinds that somebody may have, with a form each."""
    return _show(visit)


def make(kind: str, visit: Visit[None, ReportSearch]) -> Answer:
    """Make a report, as a file."""
    query = visit.query
    asked = Asked(
        kind,
        format=query.format,
        language=query.lang,
        period=query.period,
        signed=query.signed,
        baseline=query.baseline,
        gateway=query.gateway,
    )
    try:
        found = files.made(visit.desk, visit.actor, asked, now=visit.now)
    except IkewardenError as error:
        return _show(visit, refused(error, visit, also=(Unavailable,)), kind)
    return Download(found.content, found.media_type, found.filename)


def _show(visit: Visit[Any, Any], error: Refused | None = None, kind: str = "") -> Screen:
    shown = {
        "kinds": [each for each in OFFERED if visit.may(each.action)],
        "formats": _formats(),
        "periods": FORMS,
        "error": error,
        "asked": visit.query if kind else ReportSearch(lang=_language(visit)),
        "of": kind,
    }
    return Screen("reports/list.html", shown, status=error.status if error else 200)


def _formats() -> tuple[str, ...]:
    """The last one is offered first: PDF, unless it cannot be made here."""
    *others, paper = FORMATS
    return FORMATS if find_spec("weasyprint") else (paper, *others)


def _language(visit: Visit[Any, Any]) -> Language:
    return "zh" if visit.language.code == "zh" else "en"


def _page(offered: Offered) -> Page:
    view: Callable[[Visit[Any, Any]], Answer] = partial(make, offered.name)
    return Page("GET", f"{_PATH}/{offered.name}", view, offered.action, query=ReportSearch)


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, show, None, menu="Reports"),
    *map(_page, OFFERED),
)
