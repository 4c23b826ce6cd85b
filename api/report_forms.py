"""Reports for people and spreadsheets: one HTML file that fetches nothing, or CSV."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from core.escaping import escaped
from core.spreadsheet import cell
from fleet.findings.records import FindingView
from fleet.findings.summary import AuditFigures, ComplianceFigures, GatewayAccount
from fleet.findings.values import State
from fleet.monitoring.health import Health, HealthFigures
from ike.audit.values import Severity

Kind = Literal["audit", "compliance", "sa-health"]
_QUOTED: Final = re.compile(r"`([^`]+)`")


_FINDING: Final = (
    *("state", "severity", "rule", "path", "line", "subject", "title", "evidence", "why", "fix"),
    *("accepted_by", "accepted_why", "accepted_until", "opened_at", "seen_at", "id"),
)
_GATEWAY: Final = (
    *("gateway", "baseline", "verdict", *map(str, Severity)),
    *("accepted", "errors", "reported_at"),
)


def findings_csv(found: Iterable[FindingView]) -> bytes:
    """A line for each finding (RFC 4180). Names the columns first."""
    names = ("gateway", *_FINDING)
    return _csv(names, (_named(each, names) for each in found))


def accounts_csv(found: Iterable[GatewayAccount]) -> bytes:
    """A line for each gateway, each of its findings and exceptions, each unread place. Names the columns first."""
    return _csv((*_GATEWAY, "what", *_FINDING), (row for each in found for row in _account(each)))


def _account(account: GatewayAccount) -> Iterator[Mapping[str, Any]]:
    figures = _named(account.figures, _GATEWAY)
    yield {**figures, "what": "gateway"}
    # The counts once: a sum over the column is right.
    figures = {name: figures[name] for name in ("gateway", "baseline", "verdict", "reported_at")}
    for each in account.findings:
        what = "exception" if each.state == State.ACCEPTED else "finding"
        yield {**figures, "what": what, **_named(each, _FINDING)}
    for place in account.unread:
        said = {"path": place.path, "line": place.line, "evidence": place.error}
        yield {**figures, "what": "unread", **said}


def _named(row: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell(_harmless(row.get(name))) for name in names})
    return text.getvalue().encode()


_HEALTH: Final = (
    *("gateway", "connection", "worst", "rekeys", "established", "children", "failed"),
    *("failures", "open", "past", "authenticated_at", "idle_hours", "heard_at"),
)


def health_csv(found: Iterable[Health]) -> bytes:
    """A line for each connection. Names the columns first."""
    return _csv(_HEALTH, (_health(each) for each in found))


def _health(row: Health) -> Mapping[str, Any]:
    told = _named(row, _HEALTH)
    for name in ("failures", "open", "past"):
        told[name] = " ".join(f"{kind}={number}" for kind, number in told[name].items())
    return told


def page(kind: Kind, found: AuditFigures | ComplianceFigures | HealthFigures) -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets it do nothing but be looked at."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    content = _template("sa_health.html" if kind == "sa-health" else "report.html").render(
        kind=kind, report=found, style=style, policy=policy, severities=list(map(str, Severity))
    )
    return content.encode(), policy


@lru_cache(maxsize=1)
def _style() -> str:
    return (Path(__file__).parent / "static" / "report.css").read_text("utf-8")


@lru_cache(maxsize=2)
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = lambda value: f"{value:%Y-%m-%d %H:%M}Z" if value else "never"
    environment.filters["labels"] = _labels
    environment.filters["prose"] = _prose
    return environment.get_template(name)


def _harmless(value: object) -> object:
    """What a gateway sent may hold what turns text round, or is not seen."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return escaped(str(value)) if plain else value


def _labels(name: str) -> Markup:
    """A name that is broken, if it must be, between its labels."""
    return Markup(".<wbr>").join(Markup("<i>{}</i>").format(each) for each in name.split("."))


def _prose(text: str) -> Markup:
    """Text in which what stands in backticks is code. A backtick without its end stays."""
    parts = enumerate(_QUOTED.split(escaped(text)))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in parts
    )
