"""What a general message of CMP can learn (RFC 9483 §4.3): authorities, a root's successor, lists. Public."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities, publication, ra_credential
from pki.authorities import Authority
from pki.cmp.errors import CmpMalformed
from pki.cmp.messages import inner, members, sequence
from pki.desk import Desk
from pki.publication import Crl, CrlNotFound
from pki.rollover import crossing
from pki.x509 import der

_POINT, _ISSUER = 0xA0, 0xA1  # CRLSource
_FULL_NAME: Final = 0xA0
_URI, _DIRECTORY_NAME = 0x86, 0xA4  # GeneralName
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


@dataclass(frozen=True)
class RootUpdate:
    """The root that succeeds another (RFC 9810 §5.3.19.15): itself, and each certified by the other, where they are."""

    new: x509.Certificate
    new_with_old: bytes | None
    old_with_new: bytes | None


@dataclass(frozen=True)
class CrlStatus:
    """Which list a client wants: by the names of its issuer (DER) or by where it is, if it is newer than that."""

    issuers: tuple[bytes, ...]
    places: tuple[str, ...]
    this_update: datetime | None


def root_update(desk: Desk, issuer: Authority, root: bytes, *, now: datetime) -> RootUpdate | None:
    """Who will succeed the root (DER; none: that above who issues) once peers are told of it, if somebody will."""
    for name in (issuer.name, *_above(desk, issuer)):
        owner = authorities.load(desk, name)
        own = owner.certificate
        if owner.parent is not None or (root and _der(own) != root):
            continue
        heir = ra_credential.successor(desk, owner, now=now)
        if heir is None:
            return None
        return RootUpdate(heir.certificate, _cross(desk, heir, owner), _cross(desk, owner, heir))
    return None


def _above(desk: Desk, authority: Authority) -> Iterable[str]:
    parent = authority.parent
    while parent is not None:
        yield parent
        parent = authorities.load(desk, parent).parent


def _cross(desk: Desk, subject: Authority, by: Authority) -> bytes | None:
    with desk.store.read() as connection:
        found = crossing.of(connection, [subject.id])
    return next(
        (each.der for each in found if each.issuer == by.name and each.status == "valid"), None
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def current(desk: Desk, issuer: Authority) -> Crl:
    """The complete list of who issues. Raises CrlNotFound."""
    return publication.published(desk, issuer.name, publication.FULL)


def newer(desk: Desk, issuer: Authority, wanted: Iterable[CrlStatus]) -> list[Crl]:
    """The complete lists of who issues, and of all above, that are wanted and newer than what the client has."""
    found = []
    for name in (issuer.name, *_above(desk, issuer)):
        subject = authorities.load(desk, name).certificate.subject.public_bytes()
        place = authorities.full_crl_url(desk, name)
        for each in wanted:
            if subject in each.issuers or place in each.places:
                try:
                    crl = publication.published(desk, name, publication.FULL)
                except CrlNotFound:
                    break
                if each.this_update is None or crl.this_update > each.this_update:
                    found.append(crl)
                break
    return found


def read_statuses(value: bytes) -> list[CrlStatus]:
    """Read a CRLStatusListValue (RFC 9810 §5.3.19.16). Raises CmpMalformed."""
    try:
        return [_status(value, each) for each in members(value, sequence(value, 0))]
    except (ValueError, IndexError):
        raise CmpMalformed("The list of revocation lists cannot be read.") from None


def _status(value: bytes, element: der.Element) -> CrlStatus:
    source, *rest = members(value, element)
    since = _time(value, rest[0]) if rest else None
    names: list[der.Element] = []
    if source.tag == _ISSUER:
        # [1] GeneralNames: some encode the tag explicitly.
        names = members(value, source)
        if len(names) == 1 and names[0].tag == der.SEQUENCE:
            names = members(value, names[0])
    elif source.tag == _POINT:
        point = inner(value, source)
        names = members(value, point) if point.tag == _FULL_NAME else []
    issuers = tuple(
        value[name.start : name.end]
        for each in names
        if each.tag == _DIRECTORY_NAME
        for name in [inner(value, each)]
    )
    places = tuple(
        value[each.content : each.end].decode("ascii") for each in names if each.tag == _URI
    )
    return CrlStatus(issuers, places, since)


def _time(value: bytes, element: der.Element) -> datetime:
    text = value[element.content : element.end].decode("ascii")
    forms = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
    if element.tag not in forms:
        raise ValueError("no time")
    return datetime.strptime(text, forms[element.tag]).replace(tzinfo=UTC)
