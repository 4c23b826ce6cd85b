"""Certificate authorities as a process knows them: looked up once, their keys opened once."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, Select, bindparam, exists, false, or_, select

from core.errors import InvalidInput, NotFound, Unavailable
from hsm.ports import PrivateKey
from pki import compromise
from pki.actors import Action, Actor, require, require_authority
from pki.desk import Desk
from pki.x509.constraints import NameConstraints
from pki.x509.signing import PublicKey
from store.rollover_tables import rollovers
from store.tables import authorities, certificates
from store.text import storable

PROFILE = "authority"
# The status of one whose key is not here: its certificate and its lists were brought in.
OUTSIDE = "outside"
ACTIVE = "active"
# It is to succeed another one, and nobody was told of it yet (pki.rollover).
PREPARED = "prepared"
# It issues nothing any more; its lists and its OCSP go on.
RETIRED = "retired"
# Its certificate, or one above it, is revoked or on hold. No status on record: it follows from the certificates.
REVOKED = "revoked"


class AuthorityNotFound(NotFound):
    """No authority of this name."""

    code = "authority_not_found"
    next_step = "`ikewarden ca list` shows their names (GET /v1/authorities)."


class NoDefaultAuthority(InvalidInput):
    """Several authorities could issue, and none was named."""

    code = "authority_not_named"
    next_step = (
        "Name one: --authority NAME, `authority` in a request; or set [issuing] default_authority."
    )


class KeyDoesNotFit(Unavailable):
    """The key store gave a key that is not the authority's."""

    code = "authority_key_mismatch"
    next_step = "Restore the right key: the key URI of this authority points at another key."


@dataclass(frozen=True)
class Authority:
    """An authority as the process holds it: immutable, with its chain (itself first, root last).

    `status` is that of when it was read; `get`, `list_`, `choose` and `current` give that of now. `line` tells under
    which (authority's number, serial number) those certificates of the chain are on record that were signed here.
    """

    id: int
    name: str
    kind: str
    status: str
    parent: str | None
    certificate: x509.Certificate
    public_key: PublicKey
    key_uri: str
    serial: str
    shards: int
    chain: tuple[x509.Certificate, ...]
    constraints: tuple[NameConstraints, ...]
    line: tuple[tuple[int, str], ...]
    created_at: datetime

    @property
    def path_length(self) -> int | None:
        """How many authorities may follow below this one; None: any number (RFC 5280 §4.2.1.9)."""
        basic = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        return basic.value.path_length

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of its certificate: what its name means at this moment."""
        return sha256(self.certificate)

    @property
    def ends_at(self) -> datetime:
        """When its time is over: at the end of its certificate, or of one above it."""
        return min(each.not_valid_after_utc for each in self.chain)

    def shard_of(self, serial: int) -> int:
        """The shard that tells of this serial number; 0 where there is one complete list."""
        return serial % self.shards if self.shards else 0


def pem(certificate: x509.Certificate) -> str:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def pem_of(der: bytes) -> str:
    """The same of a certificate in DER."""
    return pem(x509.load_der_x509_certificate(der))


def sha256(certificate: x509.Certificate) -> str:
    """SHA-256 (hex) of a certificate."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def full_crl_url(desk: Desk, name: str) -> str:
    """Where the complete CRL of an authority is."""
    return f"{desk.rules.validation_url}/crl/{name}.crl"


def shard_crl_url(desk: Desk, name: str, shard: int | str) -> str:
    """Where one shard of an authority's CRL is."""
    return f"{desk.rules.validation_url}/crl/{name}/{shard}.crl"


def delta_crl_url(desk: Desk, name: str) -> str:
    """Where the delta to the complete CRL is."""
    return f"{desk.rules.validation_url}/crl/{name}/delta.crl"


def ocsp_url(desk: Desk, name: str) -> str:
    """Where OCSP answers for an authority's certificates are."""
    return f"{desk.rules.validation_url}/ocsp/{name}"


def certificate_url(desk: Desk, name: str) -> str:
    """Where the authority's own certificate is."""
    return f"{desk.rules.validation_url}/ca/{name}.crt"


def load(desk: Desk, name: str) -> Authority:
    """Find an authority without asking who wants it: for operations that asked already.

    Raises AuthorityNotFound.
    """
    held = desk.holdings.authorities.get(name)
    if held is not None:
        return held
    with desk.store.read() as connection:
        authority = _read(connection, name)
    desk.holdings.authorities[name] = authority
    return authority


def _read(connection: Connection, name: str) -> Authority:
    rows: list[Any] = []
    query = select(authorities)
    row = connection.execute(query.where(authorities.c.name == storable(name))).one_or_none()
    if row is None:
        raise AuthorityNotFound(f"There is no authority {name[:100]!r}.")
    rows.append(row)
    while rows[-1].parent_id is not None:
        parent_id = rows[-1].parent_id
        rows.append(connection.execute(query.where(authorities.c.id == parent_id)).one())
    chain = tuple(x509.load_der_x509_certificate(each.certificate) for each in rows)
    return Authority(
        id=row.id,
        name=row.name,
        kind=row.kind,
        status=row.status,
        parent=rows[1].name if len(rows) > 1 else None,
        certificate=chain[0],
        public_key=_known_key(chain[0]),
        key_uri=row.key_uri,
        serial=row.serial,
        shards=row.shards,
        chain=chain,
        constraints=tuple(NameConstraints.of(each) for each in chain),
        line=tuple((each.parent_id, each.serial) for each in rows[:-1]),
        created_at=row.created_at,
    )


def _known_key(certificate: x509.Certificate) -> PublicKey:
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise KeyDoesNotFit("The authority's certificate has a kind of key we cannot sign with.")
    return key


def signer(desk: Desk, authority: Authority) -> PrivateKey:
    """Open the authority's private key; refuse one that does not fit its certificate.

    The key store is asked each time, so that a signer that is away is told before anything is put on record for it.
    Raises KeyDoesNotFit, or what the key store raises (SignerUnavailable, KeyNotFound…).
    """
    key = desk.keys.open(authority.key_uri)
    if desk.holdings.signers.get(authority.key_uri) is not key:
        if key.public_key() != authority.public_key:
            raise KeyDoesNotFit(f"The key of authority {authority.name!r} does not fit.")
        desk.holdings.signers[authority.key_uri] = key
    return key


def all_names(desk: Desk) -> list[str]:
    """Names of all authorities, sorted."""
    with desk.store.read() as connection:
        return list(connection.scalars(select(authorities.c.name).order_by(authorities.c.name)))


def own_names(desk: Desk) -> list[str]:
    """Names of those whose keys are here, sorted."""
    query = select(authorities.c.name).where(authorities.c.status != OUTSIDE)
    with desk.store.read() as connection:
        return list(connection.scalars(query.order_by(authorities.c.name)))


_successors = authorities.alias("successors")
_predecessors = authorities.alias("predecessors")
_inherits = rollovers.alias("inherits")


@cache
def _now(levels: int) -> Select[Any]:
    """What is on record of an authority `of` now, with so many certificates in its `line`, and of a key with the hash
    `spki` that it is to certify: asked together, because each issuance asks.
    """
    line = (
        (certificates.c.authority_id == bindparam(f"issuer_{level}"))
        & (certificates.c.serial == bindparam(f"serial_{level}"))
        for level in range(levels)
    )
    ended = exists().where(or_(false(), *line), certificates.c.status != "valid")
    return (
        select(
            authorities.c.status,
            ended.label("ended"),
            compromise.is_of("spki").label("compromised"),
            rollovers.c.switch_at,
            _successors.c.name.label("successor"),
            _predecessors.c.name.label("predecessor"),
            _inherits.c.switch_at.label("inherits_at"),
        )
        .select_from(authorities)
        .outerjoin(
            rollovers,
            (rollovers.c.authority_id == authorities.c.id) & rollovers.c.switch_at.is_not(None),
        )
        .outerjoin(_successors, _successors.c.id == rollovers.c.successor_id)
        .outerjoin(_inherits, _inherits.c.successor_id == authorities.c.id)
        .outerjoin(_predecessors, _predecessors.c.id == _inherits.c.authority_id)
        .where(authorities.c.id == bindparam("of"))
    )


def _asked(authority: Authority, spki: str = "") -> tuple[Select[Any], dict[str, Any]]:
    values: dict[str, Any] = {"of": authority.id, "spki": spki}
    for level, (issuer, serial) in enumerate(authority.line):
        values[f"issuer_{level}"], values[f"serial_{level}"] = issuer, serial
    return _now(len(authority.line)), values


_USABLE: Final = frozenset({ACTIVE, PREPARED})


def _as_of(row: Any, authority: Authority) -> Authority:
    """The authority with the status that these records give it."""
    status = REVOKED if row.ended and row.status in _USABLE else row.status
    return authority if authority.status == status else replace(authority, status=status)


def seen(connection: Connection, authority: Authority) -> Authority:
    """The authority with its status of now, as a transaction sees it."""
    return _as_of(connection.execute(*_asked(authority)).one(), authority)


def current(
    desk: Desk, authority: Authority, *, now: datetime, spki: str = "", tried: bool = False
) -> Authority:
    """The authority that issues in place of this one: itself, the successor that a rollover has switched to, or, as
    long as nothing is switched to it, whom it is to succeed. `tried`: a successor that is named issues before its time.

    The records are asked each time: all processes follow a switch, and the way back, at once. `spki` is the hash of
    the key that it is to certify. Raises KeyCompromised.
    """
    while True:
        (row,) = desk.store.look(*_asked(authority, spki))
        if row.compromised:
            raise compromise.refused()
        waits = row.predecessor is not None and (row.inherits_at is None or now < row.inherits_at)
        if waits and not tried:
            authority = load(desk, row.predecessor)
        elif row.successor is not None and now >= row.switch_at:
            authority = load(desk, row.successor)
        else:
            return _as_of(row, authority)


def choose(
    desk: Desk, actor: Actor, name: str | None, *, now: datetime, spki: str = ""
) -> Authority:
    """The authority to issue from: the one named, the default, the only issuing one, or the only one that the actor is
    limited to; or who issues in its place. Who is limited to none may name a successor to try it before the switch.

    Raises AuthorityNotFound, NoDefaultAuthority, OutsideScope, and as `current` does.
    """
    chosen = name or _unnamed(desk, actor, now)
    require_authority(actor, chosen)
    tried = name is not None and actor.scope.authorities is None
    return current(desk, load(desk, chosen), now=now, spki=spki, tried=tried)


def _unnamed(desk: Desk, actor: Actor, now: datetime) -> str:
    """Who is meant where nobody is named."""
    limits = actor.scope.authorities
    chosen = desk.rules.default_authority
    if limits is not None and chosen not in limits:
        # Of those that an actor may use, and that there are, one issues, in the place of the others.
        known = {*limits} & {*all_names(desk)}
        names = {current(desk, load(desk, each), now=now).name for each in known}
        if len(names) == 1:
            return names.pop()
    return chosen if chosen is not None else _only_one(desk)


def _only_one(desk: Desk) -> str:
    query = select(authorities.c.name).where(
        authorities.c.kind == "issuing",
        authorities.c.status == ACTIVE,
        # Whoever is to succeed another one is no choice of its own as long as that one is there.
        authorities.c.id.not_in(
            select(rollovers.c.successor_id).where(rollovers.c.ended_at.is_(None))
        ),
    )
    with desk.store.read() as connection:
        issuers = list(connection.scalars(query.limit(2)))
    if len(issuers) != 1:
        raise NoDefaultAuthority("No authority was named and there is no single default.")
    found: str = issuers[0]
    return found


def get(desk: Desk, actor: Actor, name: str) -> Authority:
    """Look at one authority. Raises RoleMayNot, OutsideScope, AuthorityNotFound."""
    require(actor, Action.AUTHORITY_READ)
    require_authority(actor, name)
    known = load(desk, name)
    with desk.store.read() as connection:
        return seen(connection, known)


def list_(desk: Desk, actor: Actor) -> list[Authority]:
    """List the authorities this caller may see, by name. Raises RoleMayNot."""
    require(actor, Action.AUTHORITY_READ)
    visible = actor.scope.authorities
    known = [load(desk, name) for name in all_names(desk) if visible is None or name in visible]
    with desk.store.read() as connection:
        return [seen(connection, each) for each in known]
