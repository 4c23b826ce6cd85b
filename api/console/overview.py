"""The overview: what needs a person now, and how the fleet is; for a new installation, what to do first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeGuard, TypeVar

from markupsafe import Markup

from api.console.acting import told
from api.console.page import Answer, Page, Screen, Visit, text
from api.console.render import link
from api.console.tones import SEVERITIES, Tone
from api.registry import Nothing
from fleet import gateways, overview, tunnels
from fleet.gateways import GatewayQuery
from fleet.overview import Age, Need, Overview, Span
from fleet.tunnels import TunnelQuery
from pki import certificates, profiles
from pki.actors import Action
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from pki.certificates import CertificateQuery
from pki.health import AuthorityHealth

Counted = TypeVar("Counted", bound=tuple[Span, ...] | tuple[Age, ...])
_SOON: Final = timedelta(days=14)
_FEW: Final = 20
#: What each need is called where it is well, and what is said where it is not.
NEEDS: Final[Mapping[str, tuple[str, str]]] = {
    "lists_late": (
        text("Revocation lists"),
        text("Authorities without a revocation list in its time: {number}"),
    ),
    "ocsp_late": (text("OCSP"), text("Authorities without anybody who answers OCSP: {number}")),
    "authorities_expiring": (
        text("Authorities"),
        text("Authorities that end within 90 days: {number}"),
    ),
    "jobs_failed": (text("Jobs"), text("Jobs that failed when they ran last: {number}")),
    "certificates_expiring": (
        text("Certificates"),
        text("Certificates that end within 14 days and have no successor: {number}"),
    ),
    "gateways_unreachable": (text("Gateways"), text("Gateways that are not heard of: {number}")),
    "gateways_no_certificate": (
        text("Gateways"),
        text("Gateways without a valid certificate: {number}"),
    ),
    "alerts_critical": (text("Alerts"), text("Critical alerts that are open: {number}")),
    "alerts_high": (text("Alerts"), text("Alerts of high severity that are open: {number}")),
    "findings_critical": (text("Findings"), text("Critical findings that are open: {number}")),
    "findings_high": (text("Findings"), text("Findings of high severity that are open: {number}")),
    "rotations_stuck": (
        text("Rotations"),
        text("Rotations that are stuck and need a decision: {number}"),
    ),
    "rotations_rolled_back": (
        text("Rotations"),
        text("Rotations that were rolled back within a day: {number}"),
    ),
    "approvals_pending": (text("Approvals"), text("Requests that wait for an approval: {number}")),
    "dead_letters": (text("Outbox"), text("Work after commit that failed for good: {number}")),
}
# Where the console lists in another way than REST.
_PATHS: Final[Mapping[str, str]] = {"/jobs/dead-letters": "/jobs"}
_HEALTH: Final[Mapping[str, Tone]] = {
    "kept": Tone("good", text("In force")),
    "late": Tone("bad", text("Run out")),
    "ending": Tone("warn", text("Expires soon")),
    "elsewhere": Tone("off", text("Not kept here")),
}


@dataclass(frozen=True)
class _Shown:
    """A need as the page shows it."""

    state: Tone
    said: str
    number: str
    about: tuple[str, ...]
    href: str


def show(visit: Visit[None, Nothing]) -> Answer:
    """What needs a person now, and how the fleet is."""
    found = told(
        visit,
        Action.METRICS_READ,
        lambda: overview.overview(visit.desk, visit.actor, now=visit.now),
    )
    if found is None:
        return Screen("overview.html", {"found": None, "steps": _steps(visit)})
    shown = {
        "found": found,
        "steps": _steps(visit),
        "needs": [_shown(visit, each) for each in found.needs if each.count],
        "well": _well(found),
        "authorities": [_health(each, visit.now) for each in found.authorities or ()],
        "expiry": _expiry(visit, found.expiry) if _any(found.expiry) else None,
        "ages": _ages(visit, found.key_ages) if _any(found.key_ages) else None,
        "rekeys": _rekeys(visit, found.rekeys)
        if found.rekeys and any(found.rekeys.values())
        else None,
    }
    return Screen("overview.html", shown)


def _any(counted: Counted | None) -> TypeGuard[Counted]:
    """Whether there is anything to draw."""
    return counted is not None and any(each.count for each in counted)


def _shown(visit: Visit[Any, Any], need: Need) -> _Shown:
    return _Shown(
        state=SEVERITIES[need.severity],
        said=NEEDS[need.kind][1],
        number=visit.language.number(need.count) + ("+" if need.is_more else ""),
        about=need.about,
        href=address(need),
    )


def address(need: Need) -> str:
    """The page that lists what a need counts."""
    path = need.path.removeprefix("/v1")
    return link(_PATHS.get(path, path), **need.query)


def _well(found: Overview) -> list[str]:
    """What was looked at and needs nobody."""
    bad = {NEEDS[each.kind][0] for each in found.needs if each.count}
    names = dict.fromkeys(NEEDS[each.kind][0] for each in found.needs)
    return [name for name in names if name not in bad]


def _health(each: AuthorityHealth, now: datetime) -> dict[str, Any]:
    def state(until: datetime | None) -> Tone:
        if not each.is_kept:
            return _HEALTH["elsewhere"]
        return _HEALTH["late" if until is None or until <= now else "kept"]

    end = "late" if each.ends_at <= now else "kept"
    if end == "kept" and each.ends_at <= now + timedelta(days=90):
        end = "ending"
    return {
        "health": each,
        "href": link(f"/authorities/{each.name}"),
        "end": _HEALTH[end],
        "lists": state(each.lists_until),
        "ocsp": state(each.ocsp_until),
    }


def _expiry(visit: Visit[Any, Any], spans: tuple[Span, ...]) -> dict[str, Any]:
    """Bars by days and weeks; each leads to the certificates that it counts."""
    names, bars, rows = [], [], []
    later = 0
    for span in spans:
        if span.end is None:
            later = span.count
            continue
        href = link(
            "/certificates",
            status="valid",
            expires_after=_written(span.begin),
            expires_before=_written(span.end),
        )
        soon = span.begin < visit.now + _SOON
        names.append(f"{span.begin:%m-%d}")
        colour = "@warn" if soon else "@accent"
        bars.append({"value": span.count, "href": href, "itemStyle": {"color": colour}})
        if span.count:
            number = visit.language.number(span.count)
            leads = Markup('<a href="{}">{}</a>').format(href, number)
            rows.append((visit.language.moment(span.begin), visit.language.moment(span.end), leads))
    return {"option": _option("bar", names, bars), "rows": rows, "later": later}


def _ages(visit: Visit[Any, Any], ages: tuple[Age, ...]) -> dict[str, Any]:
    """Bars by days in use."""
    names = [
        visit.say("{days}+ days", days=each.days)
        if each.below is None
        else visit.say("{days}–{below} days", days=each.days, below=each.below)
        for each in ages
    ]
    old = [
        {"value": each.count, "itemStyle": {"color": "@warn" if each.days >= 180 else "@accent"}}
        for each in ages
    ]
    rows = [
        (name, visit.language.number(each.count)) for name, each in zip(names, ages, strict=True)
    ]
    return {"option": _option("bar", names, old), "rows": rows}


def _rekeys(visit: Visit[Any, Any], rekeys: Mapping[datetime, int]) -> dict[str, Any]:
    """A line by hours."""
    hours = sorted(rekeys)
    names = [f"{hour.astimezone(UTC):%H:%M}" for hour in hours]
    line = [{"value": rekeys[hour], "itemStyle": {"color": "@accent"}} for hour in hours]
    rows = [(visit.language.moment(hour), visit.language.number(rekeys[hour])) for hour in hours]
    return {"option": _option("line", names, line), "rows": rows}


def _option(kind: str, names: list[str], data: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "grid": {"left": 8, "right": 16, "top": 24, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": names},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [
            {"type": kind, "data": data, "lineStyle": {"color": "@accent"}, "showSymbol": False}
        ],
    }


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _steps(visit: Visit[Any, Any]) -> list[tuple[str, str, str, bool]]:
    """What a new user does first, each with its page and whether it is done; nothing once all of it is."""
    desk, actor = visit.desk, visit.actor
    may = visit.may
    if not (may(Action.CERTIFICATE_ISSUE) and may(Action.GATEWAY_CREATE)):
        return []
    query = CertificateQuery(limit=_FEW)
    newest = certificates.search(desk, actor, query, now=visit.now)
    issued = any(not _of_service(visit, each.profile) for each in newest)
    known = gateways.search(desk, actor, GatewayQuery(limit=1), now=visit.now)
    joined = tunnels.search(desk, actor, TunnelQuery(limit=1)) if known else []
    steps = [
        (
            text("Issue a first certificate"),
            text("Paste a request: you see at once which daemons take the certificate."),
            "/certificates/issue",
            issued,
        ),
        (
            text("Register a gateway"),
            text(
                "You get one line for its agent, which then fetches and renews certificates itself."
            ),
            "/gateways",
            bool(known),
        ),
        (
            text("Put a tunnel on record"),
            text("Then a revocation reaches it, and its keys are rotated and watched."),
            "/tunnels",
            bool(joined),
        ),
    ]
    return steps if not all(done for *_, done in steps) else []


def _of_service(visit: Visit[Any, Any], profile: str) -> bool:
    return profile == AUTHORITY_PROFILE or profiles.load(visit.desk, profile).internal


PAGES: tuple[Page, ...] = (Page("GET", "/", show, None, menu="Overview"),)
