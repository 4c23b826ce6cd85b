"""What is still in use of an authority: what it signed, and an IKE peer may meet or need."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from pki.authorities import PROFILE, RETIRED
from store.rollover_tables import cross_certificates, rollovers
from store.tables import authorities, certificates

# How many are called by their names.
_NAMED: Final = 5


@dataclass(frozen=True)
class Usage:
    """How much of it: certificates of gateways, hosts and people; those being signed, of whatever kind; names of the
    authorities below; cross-certificates for others than its successor. `until`: when the last of them ends.
    """

    certificates: int
    pending: int
    authorities: tuple[str, ...]
    cross_certificates: int
    until: datetime | None

    @property
    def total(self) -> int:
        """All of them."""
        return self.certificates + self.pending + len(self.authorities) + self.cross_certificates

    def told(self) -> str:
        """What is counted, how many, until when."""
        parts = [
            _several(self.certificates, "certificate"),
            f"{self.pending} being signed" if self.pending else "",
            _several(len(self.authorities), "CA certificate") + _names(self.authorities),
            _several(self.cross_certificates, "cross-certificate"),
        ]
        until = "" if self.until is None else f"; the last ends {self.until:%Y-%m-%dT%H:%M:%SZ}"
        return ", ".join(each for each in parts if each) + until


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _names(some: tuple[str, ...]) -> str:
    if not some:
        return ""
    more = ", …" if len(some) > _NAMED else ""
    return f" ({', '.join(map(repr, some[:_NAMED]))}{more})"


def in_force(connection: Connection, authority_id: int, now: datetime) -> Usage:
    """Count what an authority signed and peers may still need.

    Not the service's own OCSP responders, nor what answers SCEP; not what it and its successor, or whom it succeeded,
    signed for each other;
    and not the certificates of authorities below it that are retired themselves and of which nothing is in force: no
    peer meets those.
    """
    mine = (
        certificates.c.authority_id == authority_id,
        certificates.c.status.in_(("pending", "valid", "held")),
        certificates.c.not_after > now,
        certificates.c.profile.not_in(("ocsp-responder", "scep-ra")),
    )
    counted = (
        select(
            certificates.c.status,
            func.count().label("number"),
            func.max(certificates.c.not_after).label("until"),
        )
        .where(*mine, certificates.c.profile != PROFILE)
        .group_by(certificates.c.status)
    )
    ends, numbers = [], {"pending": 0, "valid": 0, "held": 0}
    for row in connection.execute(counted):
        numbers[row.status] = row.number
        ends.append(row.until)
    below, crosses = [], 0
    for row in _needed(connection, authority_id, connection.execute(_authorities(mine)), now):
        ends.append(row.not_after)
        if row.status == "pending":
            numbers["pending"] += 1
        elif row.subject_id is not None:
            crosses += 1
        else:
            below.append(row.name or row.subject)
    return Usage(
        certificates=numbers["valid"] + numbers["held"],
        pending=numbers["pending"],
        authorities=tuple(sorted(below)),
        cross_certificates=crosses,
        until=max(ends, default=None),
    )


def _authorities(mine: Iterable[Any]) -> Any:
    """The certificates of authorities that one signed; whose they are, where that is on record here."""
    crosses = cross_certificates.c
    return (
        select(
            certificates.c.status,
            certificates.c.subject,
            certificates.c.not_after,
            authorities.c.id,
            authorities.c.name,
            authorities.c.status.label("standing"),
            crosses.subject_id,
        )
        .select_from(certificates)
        .outerjoin(
            authorities,
            and_(
                authorities.c.parent_id == certificates.c.authority_id,
                authorities.c.serial == certificates.c.serial,
            ),
        )
        .outerjoin(
            cross_certificates,
            and_(
                crosses.issuer_id == certificates.c.authority_id,
                crosses.serial == certificates.c.serial,
            ),
        )
        .where(*mine, certificates.c.profile == PROFILE)
    )


def _needed(
    connection: Connection, authority_id: int, rows: Iterable[Any], now: datetime
) -> Iterable[Any]:
    pair = (rollovers.c.authority_id, rollovers.c.successor_id)
    of = or_(*(column == authority_id for column in pair))
    kin = {each for row in connection.execute(select(*pair).where(of)) for each in row}
    for row in list(rows):
        if row.subject_id in kin:
            continue
        if row.standing == RETIRED and not in_force(connection, row.id, now).total:
            continue
        yield row
