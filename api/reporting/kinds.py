"""The kinds of reports: what each is made of, and in which forms it is told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from api import cursors
from api.registry import Shown
from api.reporting import facts, sheets, shown, tables
from api.reporting.tables import Row
from api.reporting.values import Making, PeriodUnwanted
from api.reporting.words import N_
from fleet.findings import shown as findings
from fleet.findings import summary
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from fleet.monitoring import health
from fleet.monitoring.health import HealthQuery
from fleet.reporting import controls, expiring, inventory, listing, psk_age, revocations
from fleet.reporting.listing import Part
from pki.certificates import MAX_PAGE

Rows = tuple[Iterable[Row], str | int | None]
"""Rows of a part of a table, and the position after which the next part comes; None after the last."""


@dataclass(frozen=True)
class Kind:
    """A kind. `usual` is the period where none is asked for; None: it tells how things are, and has none.

    `rows` gives a part of the table, by the position of the part before. `context` is what the template shows.
    """

    name: str
    title: str
    usual: str | None
    figures: Callable[[Making], Any]
    shown: Callable[[Any], Shown]
    template: str
    context: Callable[[Any], Mapping[str, Any]]
    columns: Sequence[str]
    rows: Callable[[Making, str | None], Rows]


def path(kind: str) -> str:
    """Where the API has it."""
    return f"/v1/reports/{kind}"


# Of each on paper, however much was asked for: setting it takes long, and nobody reads more.
PAPER: Final = 500


def _told(making: Making, asked: int | None, usual: int) -> int:
    """How many are told one by one."""
    wanted = usual if asked is None else asked
    return min(wanted, PAPER) if making.asked.format == "pdf" else wanted


def _rows(making: Making) -> int:
    return _told(making, making.asked.rows, listing.USUAL)


def _query(making: Making) -> ReportQuery:
    asked, plain = making.asked, ReportQuery(making.asked.baseline)
    return replace(
        plain,
        gateways=_told(making, asked.gateways, plain.gateways),
        findings=_told(making, asked.findings, plain.findings),
    )


def _audit(making: Making) -> summary.AuditFigures:
    return summary.audit(making.desk, making.actor, _query(making), now=making.at)


def _audit_rows(making: Making, cursor: str | None) -> Rows:
    position = cursors.decode_pair(path("audit"), cursor)
    wanted = FindingQuery(
        baseline=making.asked.baseline, present=True, cursor=position, limit=MAX_PAGE
    )
    rows: list[Row] = []
    while True:
        found = findings.search(making.desk, making.actor, wanted)
        rows += map(tables.finding, found)
        if len(found) < wanted.limit:
            return rows, None
        after = (found[-1].rank, found[-1].id)
        if len(rows) >= summary.MOST_FINDINGS:
            return rows, f"{after[0]}:{after[1]}"
        wanted = replace(wanted, cursor=after)


Compliance = tuple[summary.ComplianceFigures, controls.ControlFigures]


def _compliance(making: Making) -> Compliance:
    found = summary.compliance(making.desk, making.actor, _query(making), now=making.at)
    return found, _controls(making)


def _controls(making: Making) -> controls.ControlFigures:
    return controls.figures(making.desk, making.actor, making.span, now=making.at)


def _compliance_context(found: Compliance) -> Mapping[str, Any]:
    figures, held = found
    told = tuple(facts.told(held.facts.values()))
    return {"report": figures, "controls": held, "facts": told, "titles": facts.TITLES}


def _compliance_rows(making: Making, cursor: str | None) -> Rows:
    after = cursors.decode(path("compliance"), cursor, int) or 0
    found = summary.accounts(making.desk, making.actor, making.asked.baseline, after, now=making.at)
    rows = [row for each in found for row in tables.account(each)]
    if len(found) == summary.ACCOUNTS:
        return rows, found[-1].number
    return [*rows, *tables.controls(_controls(making))], None


def _health(making: Making, connections: int | None = None) -> health.HealthFigures:
    asked = making.asked
    since, until = asked.since, asked.until
    if making.period is not None:
        if since or until:
            raise PeriodUnwanted("A report has a period, or `since` and `until`.")
        since, until = making.period.since, making.period.until
    plain = HealthQuery(asked.gateway, since, until)
    wanted = _told(making, asked.connections, connections or plain.connections)
    query = replace(plain, connections=wanted)
    return health.report(making.desk, making.actor, query, now=making.at)


def _health_rows(making: Making, _cursor: str | None) -> Rows:
    return map(tables.health, _health(making, health.MOST).worst), None


def _listed(
    name: str, part: Callable[[Making, tuple[int, int] | None], Part[Any]], row: type[Any]
) -> Callable[[Making, str | None], Rows]:
    """The rows of a list by its parts; the columns are the fields of a row."""

    def rows(making: Making, cursor: str | None) -> Rows:
        found = part(making, cursors.decode_pair(path(name), cursor))
        told = (tables.named(each, _fields(row)) for each in found.rows)
        return told, None if found.after is None else f"{found.after[0]}:{found.after[1]}"

    return rows


def _fields(row: type[Any]) -> tuple[str, ...]:
    return tuple(row.__dataclass_fields__)


def _sheet(make: Callable[[Any], sheets.Sheet], found: Any) -> Mapping[str, Any]:
    return {"sheet": make(found)}


def _valid(model: type[Shown], found: Any) -> Shown:
    return model.model_validate(found)


def _listing(
    name: str,
    title: str,
    usual: str | None,
    figures: Callable[[Making], Any],
    forms: tuple[type[Shown], Callable[[Any], sheets.Sheet], type[Any]],
    part: Callable[[Making, tuple[int, int] | None], Part[Any]],
) -> Kind:
    model, sheet, row = forms
    return Kind(
        name=name,
        title=title,
        usual=usual,
        figures=figures,
        shown=partial(_valid, model),
        template="report_sheet.html",
        context=partial(_sheet, sheet),
        columns=_fields(row),
        rows=_listed(name, part, row),
    )


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        _listing(
            "inventory",
            N_("Inventory"),
            None,
            lambda m: inventory.figures(m.desk, m.actor, _rows(m), now=m.at),
            (shown.InventoryShown, sheets.inventory, inventory.Item),
            lambda m, after: inventory.page(m.desk, m.actor, after, listing.PART, now=m.at),
        ),
        _listing(
            "expiring",
            N_("What ends"),
            expiring.USUAL,
            lambda m: expiring.figures(m.desk, m.actor, m.span, _rows(m), now=m.at),
            (shown.ExpiringShown, sheets.expiring, expiring.Ending),
            lambda m, after: expiring.page(m.desk, m.actor, m.span, after, listing.PART, now=m.at),
        ),
        _listing(
            "revocations",
            N_("Revocations"),
            revocations.USUAL,
            lambda m: revocations.figures(m.desk, m.actor, m.span, _rows(m), now=m.at),
            (shown.RevocationsShown, sheets.revocations, revocations.RevokedCertificate),
            lambda m, after: revocations.page(m.desk, m.actor, m.span, after, listing.PART),
        ),
        _listing(
            "psk-age",
            N_("Ages of shared secrets"),
            None,
            lambda m: psk_age.figures(m.desk, m.actor, _rows(m), now=m.at),
            (shown.PskAgeShown, sheets.psk_age, psk_age.SecretAge),
            lambda m, after: psk_age.page(m.desk, m.actor, after, listing.PART, now=m.at),
        ),
        Kind(
            name="sa-health",
            title=N_("How the tunnels fared"),
            usual=None,
            figures=_health,
            shown=shown.health,
            template="sa_health.html",
            context=lambda found: {"report": found},
            columns=tables.HEALTH,
            rows=_health_rows,
        ),
        Kind(
            name="audit",
            title=N_("What the audits found"),
            usual=None,
            figures=_audit,
            shown=shown.audit,
            template="report.html",
            context=lambda found: {"report": found},
            columns=tables.FINDINGS,
            rows=_audit_rows,
        ),
        Kind(
            name="compliance",
            title=N_("Compliance"),
            usual=controls.USUAL,
            figures=_compliance,
            shown=shown.compliance,
            template="report.html",
            context=_compliance_context,
            columns=tables.ACCOUNTS,
            rows=_compliance_rows,
        ),
    )
}
# Without a period of their own; that of the health of tunnels goes back from now.
TIMELESS: Final = frozenset({"inventory", "psk-age", "audit"})
