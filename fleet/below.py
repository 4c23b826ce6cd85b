"""What stands below a CA's certificate: the authorities, the certificates that live, their gateways and tunnels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select

from fleet.concern import Affected, Subject, all_routes, all_sas, ending, proven
from pki import ocsp_signers
from pki.authorities import PROFILE
from pki.certificates import CertificateView
from pki.descent import below
from pki.identity import CHANNEL
from store.fleet_tables import gateway_reports, gateways, tunnel_identities
from store.tables import certificates

# Those of CAs are counted as authorities, and those of OCSP responders say nothing of anybody else.
_NOT_COUNTED: Final = (PROFILE, ocsp_signers.PROFILE)


@dataclass(frozen=True)
class Below:
    """What no verifier accepts any more once a CA's certificate is revoked or on hold: how many certificates of how
    many gateways, and the tunnels that cannot be authenticated again. SAs that are up stay up until then.
    """

    authorities: tuple[str, ...]
    certificates: int
    gateways: int
    tunnels: tuple[Affected, ...]


def what_is_below(connection: Connection, found: CertificateView, now: datetime) -> Below | None:
    """Count what stands below a certificate; None where it is no CA's."""
    if found.profile != PROFILE:
        return None
    branches = below(connection, found.authority_id, found.serial)
    query = select(
        certificates.c.id,
        certificates.c.serial,
        certificates.c.fingerprint,
        certificates.c.gateway,
        certificates.c.names,
        certificates.c.subject,
        certificates.c.profile,
    ).where(
        certificates.c.authority_id.in_([each.id for each in branches]),
        certificates.c.status.in_(("valid", "held")),
        certificates.c.not_after > now,
        certificates.c.profile.not_in(_NOT_COUNTED),
    )
    rows = connection.execute(query).all()
    leaves = [_subject(row) for row in rows if row.profile != CHANNEL]
    return Below(
        authorities=tuple(each.name for each in branches),
        certificates=len(rows),
        gateways=len({row.gateway for row in rows if row.gateway is not None}),
        tunnels=_tunnels(connection, leaves),
    )


def _subject(row: Any) -> Subject:
    names = tuple(row.names.split("\n")) if row.names else ()
    return Subject(row.id, row.serial, row.fingerprint, row.gateway, proven(names, row.subject))


def _tunnels(connection: Connection, subjects: Sequence[Subject]) -> tuple[Affected, ...]:
    """As `affected` tells of one, of all together. Everything is read once: below a CA is most of a fleet."""
    records = _Records(connection)
    found: dict[object, Affected] = {}
    for each in subjects:
        for tunnel in records.ending(each):
            found.setdefault(tunnel.tunnel or (tunnel.gateway, tunnel.connection), tunnel)
    return tuple(found.values())


class _Records:
    """The fleet's tunnels and SAs, to be looked up by what a certificate tells."""

    def __init__(self, connection: Connection) -> None:
        self._routes = {row.id: row for row in connection.execute(all_routes())}
        self._at: dict[int, list[int]] = defaultdict(list)
        for row in self._routes.values():
            self._at[row.left_id].append(row.id)
            if row.right_id is not None:
                self._at[row.right_id].append(row.id)
        self._named: dict[str, list[int]] = defaultdict(list)
        named = select(tunnel_identities.c.identity, tunnel_identities.c.tunnel_id)
        for identity, tunnel in connection.execute(named):
            self._named[identity].append(tunnel)
        self._sas: dict[object, list[Any]] = defaultdict(list)
        for sa in connection.execute(all_sas()):
            unseen = sa.remote_certificate is None
            for key in {sa.tunnel_id, sa.remote_name if unseen else sa.remote_certificate} - {None}:
                self._sas[key].append(sa)
        self._own = _applied(connection)
        self._newest = _newest(connection)

    def ending(self, subject: Subject) -> tuple[Affected, ...]:
        own, applied = self._own.get(subject.gateway, (None, None))
        numbers = {tunnel for name in subject.names for tunnel in self._named.get(name, ())}
        if own is not None:
            numbers |= set(self._at.get(own, ()))
        keys = (*sorted(numbers), subject.fingerprint, *subject.names)
        sas = {sa.id: sa for key in keys for sa in self._sas.get(key, ())}
        if applied is not None:
            in_use = applied == subject.fingerprint
        else:
            in_use = self._newest.get(subject.gateway, 0) <= subject.id
        routes = [self._routes[number] for number in sorted(numbers)]
        return ending(subject, own, in_use, routes, [sas[number] for number in sorted(sas)])


def _applied(connection: Connection) -> Mapping[str | None, tuple[int, str | None]]:
    query = select(gateways.c.id, gateways.c.name, gateway_reports.c.certificate).outerjoin(
        gateway_reports, gateway_reports.c.gateway_id == gateways.c.id
    )
    return {row.name: (row.id, row.certificate) for row in connection.execute(query)}


def _newest(connection: Connection) -> Mapping[str | None, int]:
    query = (
        select(certificates.c.gateway, func.max(certificates.c.id))
        .where(
            certificates.c.gateway.is_not(None),
            certificates.c.status == "valid",
            certificates.c.profile != CHANNEL,
        )
        .group_by(certificates.c.gateway)
    )
    return {gateway: newest for gateway, newest in connection.execute(query)}
