"""A small fleet in which something of everything has happened."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, update

from api.reporting import files
from api.reporting.kinds import KINDS
from api.reporting.values import Asked, ReportFile
from core.secret import Secret
from fleet import revoking
from fleet.findings import orders
from fleet.rotation import slots
from fleet.rotation.imports import Import
from fleet.rotation.slots import SlotRequest
from fleet.rotation.values import Policy
from fleet.tunnels import Peer
from ike.audit.values import Severity
from pki import sequencing, tokens
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.tokens import TokenRequest
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateways, tunnels
from store.monitoring_tables import sa_alerts, sa_counts, sa_days
from store.rotation_tables import secret_slots, secrets
from store.tables import authorities, certificates
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, drain, reopened
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import Member, connect, enlist, later, sa
from tests.fleet.monitoring import after, event, failures, sent
from tests.pki.acts import issue
from tests.pki.test_clockwork import Blobs

AUDITOR = Actor("ada", Role.AUDITOR, credential="token:auditor", request_id="r-auditor")
# When all of it has happened.
THEN = NOW + timedelta(hours=1)
AROUND = f"{(NOW - timedelta(days=5)):%Y-%m-%d}..{(NOW + timedelta(days=5)):%Y-%m-%d}"
# Of each kind, a period in which something of it is.
PERIODS = {"expiring": "next-400d", "revocations": AROUND, "compliance": AROUND}
STRONG = "q8Zr2Kx0vP5mT7cY1nB4sW6eL9hD3jFa"


@dataclass(frozen=True)
class Fleet:
    """The desk, and its gateways."""

    desk: Desk
    members: dict[str, Member]

    def made(self, kind: str, **asked: Any) -> ReportFile:
        """A report as an auditor gets it."""
        return made(self.desk, kind, **asked)


def made(desk: Desk, kind: str, *, now: datetime = THEN, **asked: Any) -> ReportFile:
    """A report as an auditor gets it; of the usual period here, where none is named."""
    if kind in PERIODS and "period" not in asked:
        asked["period"] = PERIODS[kind]
    return files.made(desk, AUDITOR, Asked(kind, **asked), now=now)


def fill(desk: Desk) -> Fleet:
    """Have something of everything happen."""
    desk = reopened(desk, blobs=Blobs())
    members = {name: enlist(desk, f"{name}.example") for name in ("berlin", "paris", "oslo")}
    berlin, paris, oslo = members.values()
    connect(desk, "berlin-paris", berlin, paris)
    connect(desk, "oslo-bank", oslo, Peer("bank", ("dns:vpn.bank.example",)))
    _secrets(desk)
    _audits(desk, berlin, paris)
    sent(berlin, failures(), until=after(60))
    fine = [
        event(connection="berlin-paris", name="berlin-paris"),
        event("ike_rekeyed", 90, ike_id=2, old_ike_id=1),
    ]
    sent(paris, fine, until=after(120))
    _revocations(desk, paris, oslo)
    paris.renew(now=later(60))
    tokens.create(desk, ADMIN, TokenRequest("endless", Role.AUDITOR), now=NOW)
    assert desk.blobs is not None
    sequencing.sequence(desk, CLOCKWORK, desk.blobs, now=later(120))
    return Fleet(desk, members)


def _secrets(desk: Desk) -> None:
    for tunnel, value, days in (("berlin-paris", STRONG, 400), ("oslo-bank", STRONG[::-1], 20)):
        old = Import(Secret(value.encode()), since=NOW - timedelta(days=days))
        slots.create(
            desk, OPERATOR, tunnel, SlotRequest(imported=old, policy=Policy(jitter=0)), now=NOW
        )


def _audits(desk: Desk, berlin: Member, paris: Member) -> None:
    bad = found("secrets-file-open-to-others", Severity.CRITICAL, area="access")
    audited(berlin, bad, found("psk-short", Severity.MEDIUM))
    unread = ({"path": "/etc/swanctl", "error": "Permission denied"},)
    audited(paris, found("psk-short", Severity.MEDIUM), errors=unread, baseline="nist")
    [one] = all_of(desk, gateway="paris.example")
    orders.accept(desk, OPERATOR, one.id, later(10**6), "a lab", now=NOW)


def _revocations(desk: Desk, paris: Member, oslo: Member) -> None:
    lost = oslo.leaf
    oslo.renew(now=later(5))
    connect(desk, "paris-oslo", paris, oslo)
    paris.sas(sa("dns:oslo.example", under=lost.fingerprint), now=later(6))
    revoking.revoke(desk, OPERATOR, lost.serial, "superseded", now=later(10), confirmed=9)
    drain(desk, later(11))
    for command in paris.commands(now=later(20)):
        paris.report((command.id, "done"), now=later(31))
    held = issue(desk, ["dns:held.example"])
    revoking.hold(desk, OPERATOR, held.serial, now=later(40), confirmed=9)
    drain(desk, later(41))


# Where what others have named is kept.
_NAMED: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (authorities, ("name", "subject")),
    (gateways, ("name",)),
    (tunnels, ("name", "peer_name")),
    (secret_slots, ("name",)),
    (secrets, ("source",)),
    (certificates, ("subject", "names", "profile", "gateway")),
    (findings, ("title", "evidence", "path", "subject", "accepted_why", "accepted_by", "area")),
    (audit_reports, ("baseline",)),
    (sa_alerts, ("connection", "kind")),
    (sa_counts, ("connection",)),
    (sa_days, ("connection",)),
)


def spoil(desk: Desk, text: str) -> None:
    """Have a text stand wherever a name does, whatever door would have refused it."""
    with desk.store.write() as connection:
        for table, names in _NAMED:
            for name in names:
                column = table.c[name]
                values: Any = text
                if table in (authorities, gateways, tunnels, secret_slots) and name == "name":
                    values = text + column  # each of its own
                connection.execute(update(table).where(column.is_not(None)).values({name: values}))


def every(*formats: str) -> Iterator[tuple[str, str]]:
    """Every kind in these forms."""
    for kind in KINDS:
        for form in formats:
            yield kind, form
