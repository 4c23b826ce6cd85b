"""Whom the end of a certificate concerns: gateways that must be told, tunnels that end, SAs that are known."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from fleet.bumps import chunks
from pki.identity import CHANNEL
from store.fleet_tables import gateway_reports, gateway_sas, gateways, tunnel_identities, tunnels
from store.tables import certificates


@dataclass(frozen=True)
class Subject:
    """The certificate, as far as peers can recognise it: `names` are all identities that it proves."""

    id: int
    serial: str
    fingerprint: str | None
    gateway: str | None
    names: tuple[str, ...]


def proven(names: Sequence[str], subject: str) -> tuple[str, ...]:
    """All identities that a certificate proves to an IKE peer: its names, and its subject (RFC 4945 §3.1.5)."""
    return (*names, f"dn:{subject}") if subject else tuple(names)


@dataclass(frozen=True)
class KnownSa:
    """An SA that will be cut, as it was reported."""

    gateway: str
    id: str
    connection: str
    remote_address: str
    remote_id: str
    matched_by: str


@dataclass(frozen=True)
class Affected:
    """A tunnel that ends: one on record, or a connection that is on no record (`tunnel` None). `gateway` ends it; None
    stands for one that the caller may not know of.
    """

    gateway: str | None
    tunnel: str | None
    connection: str | None
    peer: str | None
    sas: tuple[KnownSa, ...] = ()


@dataclass
class Told:
    """Who is told of each certificate: `peers` by its number; `own` is the gateway that it speaks for."""

    peers: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    own: dict[int, int] = field(default_factory=dict)


def has_fleet(connection: Connection) -> bool:
    """Whether any gateway is registered: without one there is nothing to ask."""
    return connection.execute(select(gateways.c.id).limit(1)).first() is not None


def told(connection: Connection, subjects: Sequence[Subject]) -> Told:
    """The gateways that have a tunnel with a certificate's holder, or an SA that it authenticated, or may have."""
    found = Told()
    for some in chunks(subjects):
        _own(connection, some, found)
        _by_tunnel(connection, some, found)
        _by_sa(connection, some, found)
        _by_name(connection, some, found)
    for number, own in found.own.items():
        found.peers[number].discard(own)
    return found


def _own(connection: Connection, subjects: Sequence[Subject], found: Told) -> None:
    names = {subject.gateway for subject in subjects if subject.gateway is not None}
    query = select(gateways.c.name, gateways.c.id).where(gateways.c.name.in_(names))
    ids = {row.name: row.id for row in connection.execute(query)}
    for subject in subjects:
        if subject.gateway in ids:
            found.own[subject.id] = ids[subject.gateway]


def _by_tunnel(connection: Connection, subjects: Sequence[Subject], found: Told) -> None:
    holders: dict[int, list[int]] = defaultdict(list)
    for number, own in found.own.items():
        holders[own].append(number)
    ids = set(holders)
    query = select(tunnels.c.left_id, tunnels.c.right_id).where(
        or_(tunnels.c.left_id.in_(ids), tunnels.c.right_id.in_(ids))
    )
    for left, right in connection.execute(query):
        for own, other in ((left, right), (right, left)):
            for number in holders.get(own, ()) if other is not None else ():
                found.peers[number].add(other)
    outside = _outside(connection, subjects)
    for subject in subjects:
        found.peers[subject.id] |= outside[subject.id]


def _outside(connection: Connection, subjects: Sequence[Subject]) -> Mapping[int, set[int]]:
    """The gateways with a tunnel to an outside peer that is, or has a name of, a certificate's holder."""
    by_identity: dict[str, set[int]] = defaultdict(set)
    names = sorted({name for subject in subjects for name in subject.names})
    for some in chunks(names):
        query = (
            select(tunnel_identities.c.identity, tunnels.c.left_id)
            .join_from(tunnel_identities, tunnels)
            .where(tunnel_identities.c.identity.in_(some))
        )
        for identity, left in connection.execute(query):
            by_identity[identity].add(left)
    return {
        subject.id: {left for name in subject.names for left in by_identity.get(name, ())}
        for subject in subjects
    }


def _by_sa(connection: Connection, subjects: Sequence[Subject], found: Told) -> None:
    numbers = {each.fingerprint: each.id for each in subjects if each.fingerprint is not None}
    query = select(gateway_sas.c.remote_certificate, gateway_sas.c.gateway_id).where(
        gateway_sas.c.remote_certificate.in_(numbers)
    )
    for fingerprint, gateway_id in connection.execute(query.distinct()):
        found.peers[numbers[fingerprint]].add(gateway_id)


def _by_name(connection: Connection, subjects: Sequence[Subject], found: Told) -> None:
    """The gateways with an SA of one of the names whose certificate nobody saw: it is cut by its name."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for subject in subjects:
        for name in subject.names:
            numbers[name].append(subject.id)
    for some in chunks(sorted(numbers)):
        query = select(gateway_sas.c.remote_name, gateway_sas.c.gateway_id).where(
            gateway_sas.c.remote_name.in_(some), gateway_sas.c.remote_certificate.is_(None)
        )
        for name, gateway_id in connection.execute(query.distinct()):
            for number in numbers[name]:
                found.peers[number].add(gateway_id)


def affected(connection: Connection, subject: Subject) -> tuple[Affected, ...]:
    """The tunnels that end with a certificate: exactly those, each once.

    A tunnel is counted where an SA of it is known to be under the certificate or under an unknown one; where no SA of
    it is known, if the certificate is the one its holder uses.
    """
    own = connection.execute(
        select(gateways.c.id, gateways.c.name, gateway_reports.c.certificate)
        .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
        .where(gateways.c.name == subject.gateway)
    ).one_or_none()
    in_use = _in_use(connection, subject, None if own is None else own.certificate)
    own_id = None if own is None else own.id
    mine = _routes(connection, subject, own_id)
    return ending(subject, own_id, in_use, mine, _sas(connection, subject, [at.id for at in mine]))


def ending(
    subject: Subject, own: int | None, in_use: bool, routes: Sequence[Any], sas: Sequence[Any]
) -> tuple[Affected, ...]:
    """The same of what is on record: `own` is the gateway that the certificate speaks for, `in_use` whether it uses it;
    `routes` are all tunnels and `sas` all SAs that may be concerned.
    """
    found = [each for route in routes if (each := _ending(route, sas, subject, own, in_use))]
    counted = {each.tunnel for each in found}
    for name, some in _loose(sas, subject, own).items():
        if name not in counted:
            first = some[0]
            found.append(
                Affected(
                    first.gateway,
                    first.tunnel,
                    None if first.tunnel else first.connection,
                    None,
                    tuple(_known(sa, _matched_by(sa.remote_certificate)) for sa in some),
                )
            )
    return tuple(found)


def _in_use(connection: Connection, subject: Subject, applied: str | None) -> bool:
    if applied is not None:
        return applied == subject.fingerprint
    if subject.gateway is None:
        return True
    newer = select(certificates.c.id).where(
        certificates.c.gateway == subject.gateway,
        certificates.c.status == "valid",
        certificates.c.profile != CHANNEL,
        certificates.c.id > subject.id,
    )
    return connection.execute(newer.limit(1)).first() is None


def _routes(connection: Connection, subject: Subject, own: int | None) -> Sequence[Any]:
    by_name = select(tunnel_identities.c.tunnel_id).where(
        tunnel_identities.c.identity.in_(subject.names)
    )
    conditions: list[ColumnElement[bool]] = [tunnels.c.id.in_(by_name)]
    if own is not None:
        conditions += [tunnels.c.left_id == own, tunnels.c.right_id == own]
    return connection.execute(all_routes().where(or_(*conditions))).all()


def all_routes() -> Select[Any]:
    """The tunnels, as `ending` takes them."""
    left, right = gateways.alias(), gateways.alias()
    return (
        select(
            tunnels.c.id,
            tunnels.c.name,
            tunnels.c.left_id,
            tunnels.c.right_id,
            tunnels.c.peer_name,
            left.c.name.label("left"),
            right.c.name.label("right"),
        )
        .join_from(tunnels, left, left.c.id == tunnels.c.left_id)
        .outerjoin(right, right.c.id == tunnels.c.right_id)
        .order_by(tunnels.c.id)
    )


def _sas(connection: Connection, subject: Subject, routes: Sequence[int]) -> Sequence[Any]:
    concerned = or_(
        gateway_sas.c.tunnel_id.in_(routes),
        gateway_sas.c.remote_certificate == subject.fingerprint,
        and_(
            gateway_sas.c.remote_certificate.is_(None),
            gateway_sas.c.remote_name.in_(subject.names),
        ),
    )
    return connection.execute(all_sas().where(concerned)).all()


def all_sas() -> Select[Any]:
    """The SAs, as `ending` takes them."""
    return (
        select(gateway_sas, gateways.c.name.label("gateway"), tunnels.c.name.label("tunnel"))
        .join_from(gateway_sas, gateways)
        .outerjoin(tunnels, tunnels.c.id == gateway_sas.c.tunnel_id)
        .order_by(gateway_sas.c.id)
    )


def _ending(
    route: Any, sas: Sequence[Any], subject: Subject, own: int | None, in_use: bool
) -> Affected | None:
    # An outside peer, or a gateway of ours: then its other end cuts; without one of ours there, only it itself can.
    cutter, name, peer = route.left_id, route.left, route.right or route.peer_name
    if route.left_id == own and route.right_id is not None:
        cutter, name, peer = route.right_id, route.right, route.left
    mine = [sa for sa in sas if sa.tunnel_id == route.id and sa.gateway_id == cutter]
    under = "local_certificate" if cutter == own else "remote_certificate"
    hit = [sa for sa in mine if getattr(sa, under) in {subject.fingerprint, None}]
    if not hit and (mine or not in_use):
        return None
    return Affected(
        name,
        route.name,
        None,
        peer,
        tuple(_known(sa, _matched_by(getattr(sa, under))) for sa in hit),
    )


def _loose(
    sas: Iterable[Any], subject: Subject, own: int | None
) -> Mapping[str | tuple[int, str], list[Any]]:
    found: dict[str | tuple[int, str], list[Any]] = defaultdict(list)
    for sa in sas:
        unseen = sa.remote_certificate is None and sa.remote_name in subject.names
        if (unseen or sa.remote_certificate == subject.fingerprint) and sa.gateway_id != own:
            found[sa.tunnel or (sa.gateway_id, sa.connection)].append(sa)
    return found


def _matched_by(certificate: str | None) -> str:
    return "identity" if certificate is None else "certificate"


def _known(sa: Any, matched_by: str) -> KnownSa:
    return KnownSa(
        gateway=sa.gateway,
        id=sa.sa_id,
        connection=sa.connection,
        remote_address=str(sa.document.get("remote_address", "")),
        remote_id=str(sa.document.get("remote_id", "")),
        matched_by=matched_by,
    )
