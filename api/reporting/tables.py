"""Reports as tables (RFC 4180), for spreadsheets: columns are named in English, as in the JSON."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from core.escaping import escaped
from core.spreadsheet import cell
from fleet.findings.records import FindingView
from fleet.findings.summary import GatewayAccount
from fleet.findings.values import State
from fleet.monitoring.health import Health
from fleet.reporting.controls import ControlFigures
from ike.audit.values import Severity

MEDIA_TYPE: Final = "text/csv; charset=utf-8"
Row = Mapping[str, Any]
_FINDING: Final = (
    *("state", "severity", "rule", "path", "line", "subject", "title", "evidence", "why", "fix"),
    *("accepted_by", "accepted_why", "accepted_until", "opened_at", "seen_at", "id"),
)
_GATEWAY: Final = (
    *("gateway", "baseline", "verdict", *map(str, Severity)),
    *("accepted", "errors", "reported_at"),
)
# Of a certificate in `inventory`, and in what ends or ended.
_NAMES: Final = frozenset({"name", "names"})
FINDINGS: Final = ("gateway", *_FINDING)
ACCOUNTS: Final = (*_GATEWAY, "what", *_FINDING)
HEALTH: Final = (
    *("gateway", "connection", "worst", "rekeys", "established", "children", "failed"),
    *("failures", "open", "past", "authenticated_at", "idle_hours", "heard_at"),
)


def finding(found: FindingView) -> Row:
    """A finding in a line."""
    return named(found, FINDINGS)


def account(found: GatewayAccount) -> Iterator[Row]:
    """A gateway, each of its findings and exceptions, each unread place."""
    figures = named(found.figures, _GATEWAY)
    yield {**figures, "what": "gateway"}
    # The counts once: a sum over the column is right.
    figures = {name: figures[name] for name in ("gateway", "baseline", "verdict", "reported_at")}
    for each in found.findings:
        what = "exception" if each.state == State.ACCEPTED else "finding"
        yield {**figures, "what": what, **named(each, _FINDING)}
    for place in found.unread:
        said = {"path": place.path, "line": place.line, "evidence": place.error}
        yield {**figures, "what": "unread", **said}


def controls(found: ControlFigures) -> Iterator[Row]:
    """A line for each control, in the columns of accounts: `rule` is the control, `path` its framework."""
    for framework in found.frameworks:
        for each in framework.controls:
            yield {
                "what": "control",
                "state": found.state(each),
                "rule": each.id,
                "path": framework.title,
                "title": each.title,
                "evidence": "; ".join(_fact(found, name) for name in each.evidence),
                "why": each.gap,
            }


def _fact(found: ControlFigures, name: str) -> str:
    fact = found.facts[name]
    if fact.withheld:
        return f"{name}: withheld"
    return f"{name}: " + ", ".join(f"{key}={cell(value)}" for key, value in fact.values.items())


def health(row: Health) -> Row:
    """A connection in a line."""
    told = named(row, HEALTH)
    for name in ("failures", "open", "past"):
        told[name] = " ".join(f"{kind}={number}" for kind, number in told[name].items())
    return told


def named(row: object, names: Iterable[str]) -> dict[str, Any]:
    """Those attributes of a value."""
    return {name: getattr(row, name) for name in names}


def table(names: Sequence[str], rows: Iterable[Row], *, head: bool = True) -> bytes:
    """Rows as CSV; the columns are named first unless this goes on with a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    if head:
        writer.writeheader()
    for row in rows:
        writer.writerow({name: cell(_shown(name, row.get(name))) for name in names})
    return text.getvalue().encode()


def harmless(value: object) -> object:
    """What a gateway sent may hold what turns text round, or is not seen."""
    return escaped(value) if isinstance(value, str) else value


def _shown(name: str, value: object) -> object:
    """The names of a certificate are on record one in a line, and stand one after the other in a table."""
    if name in _NAMES and isinstance(value, str):
        return ", ".join(map(escaped, value.split("\n")))
    return harmless(value)
