"""Gateways: who is reachable and holds what it should; registered, enrolled, told something, removed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import Field

from api import cursors
from api.console import acting
from api.console.alerts import open_alerts
from api.console.errors import PageStale
from api.console.handovers import hours_of
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import MENDABLE, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.tones import GATEWAYS, SEVERITIES, ends, tone_of
from api.registry import Nothing
from core.errors import IkewardenError
from fleet import commands, enrollment, gateways, inventory, removal
from fleet.findings import shown as findings
from fleet.findings.shown import FindingQuery
from fleet.gateways import GatewayQuery, GatewayRequest
from fleet.monitoring.shown import AlertQuery
from pki import authorities, certificates, profiles
from pki.actors import Action, require
from pki.approvals import ApprovalRequired
from pki.certificates import CertificateQuery

_PATH: Final = "/gateways"
_ONE: Final = "/gateways/{name}"
_SOON: Final = timedelta(days=30)
_FEW: Final = 10
PROBLEMS: Final = {
    "not_loaded": text("should be there and is not"),
    "not_desired": text("is there and should not be"),
    "outdated": text("is older than it should be"),
    "in_use": text("is in use and should not be"),
    "foreign": text("another secret answers for this peer"),
    "shadowed": text("another secret is taken in its place"),
    "reused": text("another tunnel has the same value"),
    "unknown": text("is kept by the agent and should not be"),
}
KINDS: Final = {
    "certificate": text("Certificate"),
    "authority": text("CA certificate"),
    "crl": text("Revocation list"),
    "connection": text("Connection"),
    "secret": text("Shared secret"),
}
COMMANDS: Final = {
    "renew": text("Renew its certificate"),
    "reauthenticate": text("Authenticate afresh"),
    "cut": text("Cut off what a revoked certificate authenticated"),
}


class GatewaySearch(ListSearch):
    """Which gateways."""

    q: str | None = Field(default=None, max_length=200)
    status: Literal["new", "no_certificate", "ok", "behind", "unreachable"] | None = None
    drift: Literal["true", "false"] | None = None
    expiring: Literal["1"] | None = None


class CreateForm(Form):
    """Who the gateway is; one identity in a line."""

    name: str = Field(default="", max_length=253)
    identities: str = Field(default="", max_length=20_000)
    profile: str = Field(default="gateway", max_length=100)
    authority: str | None = Field(default=None, max_length=100)
    daemon: Literal["strongswan", "libreswan", "windows", "files"] | None = None


class EnrollForm(Form):
    """How long the enrollment may be used, and where the key will be."""

    hours: str = Field(default="24", max_length=5)
    key: Literal["file", "token"] = "file"


class AfreshForm(Form):
    """Which connection."""

    connection: str = Field(default="", max_length=255)


class RemoveForm(Form):
    """What becomes of its certificates, and which gateway the page showed. `approval` is a number, where one was asked
    for.
    """

    number: str = Field(default="", max_length=20)
    revoke: Literal["cessationOfOperation", "keyCompromise", "superseded"] | None = None
    approval: str | None = Field(default=None, max_length=18)


def search(visit: Visit[None, GatewaySearch]) -> Answer:
    """The gateways, in the order in which they were registered."""
    query = visit.query
    wanted = GatewayQuery(
        q=query.q,
        status=query.status,
        drift=None if query.drift is None else query.drift == "true",
        expires_before=None if query.expiring is None else visit.now + _SOON,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
    )
    found = gateways.search(visit.desk, visit.actor, wanted, now=visit.now)
    listed = {
        "gateways": [
            (each, tone_of(GATEWAYS, each.status), ends(each.ends_at, visit.now)) for each in found
        ],
        "statuses": GATEWAYS,
        "behind": behind(visit, _PATH, found, found[-1].id if found else None),
        "filtered": any((query.q, query.status, query.drift, query.expiring, query.cursor)),
    }
    return Screen("gateways/list.html", listed)


def look(visit: Visit[None, Nothing]) -> Answer:
    """A gateway with everything around it."""
    return _whole(visit)


def _whole(visit: Visit[Any, Any], error: IkewardenError | None = None) -> Screen:
    name = visit.path["name"]
    found = inventory.look(visit.desk, visit.actor, name, now=visit.now)
    open_findings = []
    if visit.may(Action.FINDING_READ):
        wanted = FindingQuery(gateway=name, state="open", limit=_FEW)
        open_findings = findings.search(visit.desk, visit.actor, wanted)
    whole = {
        "whole": found,
        "gateway": found.gateway,
        "tone": tone_of(GATEWAYS, found.gateway.status),
        "end": ends(found.gateway.ends_at, visit.now),
        "tunnels": [(each, ends(each.ends_at, visit.now)) for each in found.tunnels],
        "alerts": open_alerts(visit, AlertQuery("open", gateway=name, limit=_FEW)),
        "findings": [(each, tone_of(SEVERITIES, each.severity)) for each in open_findings],
        "problems": PROBLEMS,
        "kinds": KINDS,
        "commands": COMMANDS,
    }
    if error is not None:
        return again(visit, error, "gateways/one.html", whole)
    return Screen("gateways/one.html", whole, part="live")


def ask_creation(visit: Visit[None, Nothing]) -> Answer:
    """The form of a new gateway."""
    return Screen("gateways/new.html", _choices(visit, CreateForm()))


def _choices(visit: Visit[Any, Any], typed: CreateForm) -> dict[str, Any]:
    known = profiles.list_(visit.desk, visit.actor)
    issuing = authorities.list_(visit.desk, visit.actor)
    return {
        "typed": typed,
        "profiles": [each.name for each in known if each.authenticates_as == "gateway"],
        "authorities": [each.name for each in issuing if each.kind != "root"],
        "daemons": gateways.DAEMONS,
    }


def create(visit: Visit[CreateForm, Nothing]) -> Answer:
    """Register a gateway, and go on to its enrollment."""
    sent = visit.body
    request = GatewayRequest(
        name=sent.name,
        identities=acting.lines(sent.identities),
        profile=sent.profile,
        authority=sent.authority,
        daemon=sent.daemon,
    )
    try:
        gateways.create(visit.desk, visit.actor, request, now=visit.now)
    except MENDABLE as error:
        return again(visit, error, "gateways/new.html", _choices(visit, sent))
    return Redirect(_path_of(sent.name, "/enroll"), "gateway-created")


def _path_of(name: str, more: str = "") -> str:
    return f"{_PATH}/{quote(name, safe='')}{more}"


def ask_enrollment(visit: Visit[None, Nothing]) -> Answer:
    """What an enrollment is, and the form that makes one."""
    return Screen("gateways/enroll.html", _to_enroll(visit, "24"))


def _to_enroll(visit: Visit[Any, Any], hours: str) -> dict[str, Any]:
    found = gateways.get(visit.desk, visit.actor, visit.path["name"], now=visit.now)
    return {"gateway": found, "hours": hours, "made": None, "line": ""}


def enroll(visit: Visit[EnrollForm, Nothing]) -> Answer:
    """Make the one line of the agent, and show it this once."""
    require(visit.actor, Action.GATEWAY_ENROLL)  # before anything is looked at
    sent = visit.body
    shown = _to_enroll(visit, sent.hours)
    try:
        made = enrollment.enroll(
            visit.desk,
            visit.actor,
            visit.path["name"],
            hours_of(sent.hours),
            now=visit.now,
            in_token=sent.key == "token",
        )
    except MENDABLE as error:
        return again(visit, error, "gateways/enroll.html", shown)
    once = {"made": made, "line": made.line.reveal().decode()}
    return Screen("gateways/enroll.html", {**shown, **once})


def renew(visit: Visit[Form, Nothing]) -> Answer:
    """Have the gateway renew its certificate."""
    return _give(visit, "renew", None)


def reauthenticate(visit: Visit[AfreshForm, Nothing]) -> Answer:
    """Have the gateway authenticate a connection afresh."""
    return _give(visit, "reauthenticate", visit.body.connection or None)


def _give(visit: Visit[Any, Any], kind: str, connection: str | None) -> Answer:
    name = visit.path["name"]
    try:
        commands.give(visit.desk, visit.actor, name, kind, connection, now=visit.now)
    except MENDABLE as error:
        return _whole(visit, error)
    return Redirect(_path_of(name), "gateway-told")


def ask_removal(visit: Visit[None, Nothing]) -> Answer:
    """What removing a gateway does."""
    return Screen("gateways/remove.html", _to_remove(visit))


def _to_remove(visit: Visit[Any, Any]) -> dict[str, Any]:
    name = visit.path["name"]
    found = inventory.look(visit.desk, visit.actor, name, now=visit.now)
    valid = CertificateQuery(status="valid", gateway=name, limit=ROWS)
    held = certificates.search(visit.desk, visit.actor, valid, now=visit.now)
    return {
        "whole": found,
        "gateway": found.gateway,
        "held": held,
        "many": len(held) >= ROWS,
        "revoke": "",
        "approval": "",
    }


def remove(visit: Visit[RemoveForm, Nothing]) -> Answer:
    """Take it off the records."""
    require(visit.actor, Action.GATEWAY_REMOVE)  # before anything is looked at
    name, sent, actor = visit.path["name"], visit.body, visit.actor
    if sent.approval is not None and sent.approval.isdecimal():
        actor = replace(actor, approval=int(sent.approval))
    try:
        found = gateways.get(visit.desk, actor, name, now=visit.now)
        if sent.number != str(found.id):
            raise PageStale("This is another gateway of the same name. Nothing was removed.")
        removal.remove(visit.desk, actor, name, now=visit.now, reason=sent.revoke)
    except (*MENDABLE, ApprovalRequired) as error:
        number = error.details.get("approval", sent.approval or "")
        typed = {"revoke": sent.revoke or "", "approval": str(number)}
        return again(visit, error, "gateways/remove.html", {**_to_remove(visit), **typed})
    return Redirect(_PATH, "gateway-removed")


tell(
    gateway_created="The gateway is registered. Next, its agent enrolls.",
    gateway_told="The gateway learns of it within a second, if its agent is there.",
    gateway_removed="The gateway was removed.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.GATEWAY_READ, query=GatewaySearch, menu="Gateways"),
    Page("GET", "/gateway-new", ask_creation, Action.GATEWAY_READ),
    Page("POST", "/gateway-new", create, Action.GATEWAY_CREATE, form=CreateForm),
    Page("GET", _ONE, look, Action.GATEWAY_READ, live=True),
    Page("GET", _ONE + "/enroll", ask_enrollment, Action.GATEWAY_READ),
    Page("POST", _ONE + "/enroll", enroll, Action.GATEWAY_ENROLL, form=EnrollForm, secret=True),
    Page("POST", _ONE + "/renew", renew, Action.GATEWAY_COMMAND, form=Form),
    Page("POST", _ONE + "/afresh", reauthenticate, Action.GATEWAY_COMMAND, form=AfreshForm),
    Page("GET", _ONE + "/remove", ask_removal, Action.GATEWAY_READ),
    Page("POST", _ONE + "/remove", remove, Action.GATEWAY_REMOVE, form=RemoveForm),
)
