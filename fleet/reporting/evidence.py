"""What is on record that can stand as evidence for a control: counted, each with what of it needs a look.

A fact is told to whoever may read what it is counted from; of the others only that it is withheld.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from sqlalchemy import Column, ColumnElement, Connection, and_, case, func, select

from fleet.findings.values import State as FindingState
from fleet.monitoring.values import AlertState
from fleet.reporting import psk_age, successors
from fleet.reporting.periods import Period
from fleet.reporting.revocations import latencies
from fleet.rotation.values import State as RotationState
from ike.audit.values import Severity
from pki import audit_log
from pki.actors import GRANTS, Action, Actor
from pki.desk import Desk
from pki.guarded import State as ApprovalState
from pki.x509.keys import key_algorithm
from store.approval_tables import approvals
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateway_reports, gateways, tunnels
from store.monitoring_tables import sa_alerts
from store.rotation_tables import rotations
from store.tables import audit_events, authorities, certificates, crls, revocations, tokens

Value = int | str | datetime | None
_LATE: Final = timedelta(days=8)
_SOON: Final = timedelta(days=30)
_HEAD: Final = timedelta(days=1)


@dataclass(frozen=True)
class Fact:
    """Some numbers of one kind. `attention`: the names of those that need a look. `withheld`: the caller may not read
    what they are counted from, and there are none.
    """

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    attention: tuple[str, ...] = ()
    withheld: bool = False

    @property
    def something(self) -> bool:
        """Whether anything was counted: a fleet without a gateway is no evidence of good gateways."""
        return any(self.values.values())


@dataclass(frozen=True)
class Ground:
    """What facts are counted on."""

    connection: Connection
    desk: Desk
    period: Period
    now: datetime

    def count(self, table: Any, *of: ColumnElement[bool]) -> int:
        """How many rows."""
        query = select(func.count()).select_from(table).where(*of)
        return self.connection.scalar(query) or 0

    def within(self, column: Column[datetime]) -> ColumnElement[bool]:
        """Whether a time is in the period."""
        return and_(column >= self.period.since, column < self.period.until)


def facts(ground: Ground, actor: Actor) -> dict[str, Fact]:
    """All facts by name."""
    found = {}
    for name, (action, count, watched) in FACTS.items():
        if action not in GRANTS[actor.role]:
            found[name] = Fact(name, withheld=True)
            continue
        values = count(ground)
        found[name] = Fact(name, values, tuple(each for each in watched if values.get(each)))
    return found


def _inventory(ground: Ground) -> dict[str, Value]:
    heard = gateway_reports.c.seen_at
    silent = ground.count(
        gateways.outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id),
        (heard.is_(None)) | (heard < ground.now - _LATE),
    )
    return {
        "gateways": ground.count(gateways),
        "tunnels": ground.count(tunnels),
        "gateways_silent": silent,
        "gateways_drifting": ground.count(gateway_reports, gateway_reports.c.drifting > 0),
    }


def _certificates(ground: Ground) -> dict[str, Value]:
    own = certificates.c
    is_valid, horizon = own.status == "valid", ground.now + _SOON
    soon = (is_valid, own.not_after > ground.now, own.not_after <= horizon)
    ending = successors.stretch(ground.connection, *soon)
    # The service renews its own certificates by itself.
    others = own.profile.not_in(
        [each.name for each in ground.desk.rules.profiles.values() if each.internal]
    )
    unrenewed = (*soon, others, ~successors.renewed(ending))
    return {
        "in_force": ending.total + ground.count(certificates, is_valid, own.not_after > horizon),
        "issued_in_period": ground.count(certificates, ground.within(own.issued_at)),
        "on_hold": ground.count(certificates, own.status == "held"),
        "ending_unrenewed": ground.count(certificates, *unrenewed),
    }


def _authorities(ground: Ground) -> dict[str, Value]:
    own = authorities.c
    keys: dict[str, int] = {}
    places: dict[str, int] = {}
    query = select(own.certificate, own.key_uri).where(own.status == "active").limit(1000)
    for der, uri in ground.connection.execute(query):
        kind = key_algorithm(x509.load_der_x509_certificate(der).public_key())
        keys[kind] = keys.get(kind, 0) + 1
        place = uri.partition(":")[0]
        places[place] = places.get(place, 0) + 1
    return {"active": sum(keys.values()), "algorithms": _told(keys), "key_places": _told(places)}


def _secrets(ground: Ground) -> dict[str, Value]:
    found = psk_age.counted(ground.connection, 0, ground.now)
    return {
        "shared_secrets": found.total,
        "oldest_days": found.oldest_days,
        "older_than_a_year": found.ages[f"over {psk_age.CLASSES[-1]}"],
        "overdue": found.overdue,
    }


def _rotations(ground: Ground) -> dict[str, Value]:
    own = rotations.c

    def ended(state: RotationState) -> int:
        return ground.count(rotations, own.state == state, ground.within(own.ended_at))

    return {
        "rotations_completed": ended(RotationState.RETIRED),
        "rotations_rolled_back": ended(RotationState.ROLLED_BACK),
        "rotations_stuck": ground.count(rotations, own.state == RotationState.STUCK),
    }


def _revocations(ground: Ground) -> dict[str, Value]:
    found = latencies(ground.connection, ground.period)
    own = revocations.c
    return {
        "revoked_in_period": ground.count(
            revocations, own.state == "revoked", ground.within(own.revoked_at)
        ),
        "gateways_told": found.cuts,
        "confirmed": found.confirmed,
        "median_seconds": found.median,
        "slowest_seconds": found.slowest,
        "unconfirmed": found.cuts - found.confirmed,
    }


def _lists(ground: Ground) -> dict[str, Value]:
    own = crls.c
    return {
        "lists": ground.count(crls),
        "lists_overdue": ground.count(crls, own.next_update <= ground.now),
    }


def _audit_log(ground: Ground) -> dict[str, Value]:
    newest = audit_log.latest_head(ground.connection)
    told: dict[str, Value] = {
        "events_in_period": ground.count(audit_events, ground.within(audit_events.c.at)),
        "entries_proven": 0 if newest is None else newest.size,
        "head_signed_at": None if newest is None else newest.signed_at,
        "head_root": None if newest is None else newest.root.hex(),
    }
    late = newest is None or newest.signed_at < ground.now - _HEAD
    return {**told, "not_proven_yet": int(late)}


def _approvals(ground: Ground) -> dict[str, Value]:
    own = approvals.c
    rules = ground.desk.rules.approvals.required

    def counted(*states: ApprovalState) -> int:
        return ground.count(
            approvals, own.state.in_(list(map(str, states))), ground.within(own.asked_at)
        )

    return {
        "acts_under_two_persons": ", ".join(sorted(rules)) or None,
        "asked": ground.count(approvals, ground.within(own.asked_at)),
        "approved": counted(ApprovalState.APPROVED, ApprovalState.USED),
        "refused": counted(ApprovalState.REFUSED),
        "nothing_needs_two": int(not rules),
    }


def _findings(ground: Ground) -> dict[str, Value]:
    own, told = findings.c, audit_reports.c
    query = select(own.rank, func.count()).where(own.state == FindingState.OPEN).group_by(own.rank)
    counts = {rank: number for rank, number in ground.connection.execute(query)}
    audited = and_(told.seen_at >= ground.now - _LATE)
    reported = ground.count(audit_reports, audited)
    return {
        "gateways_audited": reported,
        "gateways_not_audited": ground.count(gateways) - reported,
        **{
            f"open_{each}": counts.get(each.rank, 0)
            for each in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
        },
        "accepted": ground.count(findings, own.state == FindingState.ACCEPTED),
    }


def _alerts(ground: Ground) -> dict[str, Value]:
    own = sa_alerts.c
    return {
        "alerts_in_period": ground.count(sa_alerts, ground.within(own.opened_at)),
        "alerts_open": ground.count(sa_alerts, own.state == AlertState.OPEN),
    }


def _access(ground: Ground) -> dict[str, Value]:
    own = tokens.c
    usable = and_(
        own.revoked_at.is_(None),
        (own.expires_at.is_(None)) | (own.expires_at > ground.now),
        (own.uses_left.is_(None)) | (own.uses_left > 0),
    )
    query = select(own.role, func.count(), func.count(case((own.expires_at.is_(None), 1)))).where(
        usable
    )
    rows = ground.connection.execute(query.group_by(own.role).order_by(own.role)).all()
    return {
        "tokens": sum(number for _, number, _ in rows),
        "tokens_by_role": _told({role: number for role, number, _ in rows}),
        "tokens_without_end": sum(endless for _, _, endless in rows),
    }


def _told(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or None


_Row = tuple[Action, Callable[[Ground], dict[str, Value]], tuple[str, ...]]
# By name: what the caller must be able to read, how it is counted, which numbers should be nought.
FACTS: Final[Mapping[str, _Row]] = {
    "inventory": (Action.GATEWAY_READ, _inventory, ("gateways_silent", "gateways_drifting")),
    "certificates": (Action.CERTIFICATE_READ, _certificates, ("ending_unrenewed",)),
    "authorities": (Action.AUTHORITY_READ, _authorities, ()),
    "secrets": (Action.SECRET_READ, _secrets, ("older_than_a_year", "overdue")),
    "rotations": (Action.SECRET_READ, _rotations, ("rotations_stuck",)),
    "revocations": (Action.CERTIFICATE_READ, _revocations, ("unconfirmed",)),
    "lists": (Action.CRL_READ, _lists, ("lists_overdue",)),
    "audit_log": (Action.AUDIT_READ, _audit_log, ("not_proven_yet",)),
    "approvals": (Action.APPROVAL_READ, _approvals, ("nothing_needs_two",)),
    "findings": (
        Action.FINDING_READ,
        _findings,
        ("gateways_not_audited", "open_critical", "open_high", "open_medium"),
    ),
    "alerts": (Action.ALERT_READ, _alerts, ("alerts_open",)),
    "access": (Action.TOKEN_READ, _access, ("tokens_without_end",)),
}
