"""What EST, SCEP, CMP and ACME have in common: a request that came through an endpoint's door becomes a certificate.

Each door decodes, calls one of these, encodes. They end in `pki.issuance`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import Select, bindparam, select

from core.errors import Conflict, NotFound, NotPermitted
from pki import authorities, issuance, profiles, publication
from pki.actors import Action, Actor, Role, require, require_endpoint, require_profile
from pki.approvals import (
    ApprovalNotUsable,
    ApprovalRequired,
    asked_for,
    latest,
    require_approval,
)
from pki.authorities import Authority, AuthorityNotFound
from pki.certificates import CertificateNotFound, CertificateView, SerialAmbiguous, find, visible
from pki.desk import Desk
from pki.endpoints import Endpoint, EndpointNotFound
from pki.guarded import Act, Guarded, State
from pki.identity import TokenUsedUp, certificate_credential
from pki.issuance import IssuedCertificate, IssueRequest
from pki.profiles import ProfileNotFound
from pki.publication import Crl
from pki.x509 import serials
from pki.x509.csr import Csr, known_csr
from store.engine import Unit
from store.errors import Duplicate
from store.tables import certificates, idempotency

Door = Literal["est", "scep", "acme", "cmp"]
#: How long a client waits before it asks again for what a person has to approve.
RETRY_AFTER: Final = 60  # seconds
# Rows that stand for a certificate which is about to be recorded, among the requests that must not be done twice.
_PLACES: Final = "enrollment"
_PLACE_KEPT: Final = timedelta(days=1)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class EnrollmentWaits(Conflict):
    """A person has to approve the request first; the same request, sent again later, is answered then."""

    code = "enrollment_waits"
    next_step = "Send exactly the same request again later, with the same credential."


class EnrollmentUnderWay(EnrollmentWaits):
    """A certificate for the same key is being signed, for the same credential: the same request came twice at once, or
    whoever asked first has died, and what was begun is given up in a few minutes.
    """

    code = "enrollment_under_way"


class EnrollmentOver(Conflict):
    """The same credential was given a certificate for the same key: one that does not count any more, or has other
    names.
    """

    code = "enrollment_over"
    next_step = "Make a new key, and a new token if that one is used up."


class EnrollmentDenied(NotPermitted):
    """A person has looked at the request and refused it."""

    code = "enrollment_denied"
    next_step = "Ask who runs the service why; a request with another key or other names is another request."


def list_(desk: Desk, actor: Actor) -> list[Endpoint]:
    """List the enrollment endpoints, by name. Raises RoleMayNot."""
    require(actor, Action.ENDPOINT_READ)
    return sorted(desk.rules.endpoints.values(), key=lambda each: each.name)


def endpoint(desk: Desk, name: str) -> Endpoint:
    """Find an endpoint. Public: its door asks who comes in. Raises EndpointNotFound."""
    found = desk.rules.endpoints.get(name)
    if found is None:
        raise EndpointNotFound(f"There is no enrollment endpoint {name[:100]!r}.")
    return found


def issuer(desk: Desk, of: Endpoint, *, now: datetime) -> Authority:
    """Who issues for an endpoint now. Public. Raises what `authorities.choose` raises."""
    service = Actor("service", Role.SCHEDULER)
    return authorities.choose(desk, service, of.authority, now=now)


def incomplete(desk: Desk, *, now: datetime) -> list[tuple[Endpoint, NotFound]]:
    """The endpoints whose profile or authority is not there, or not yet, with what is missing: nobody gets anything by
    them. For who starts the service.
    """
    found: list[tuple[Endpoint, NotFound]] = []
    for each in desk.rules.endpoints.values():
        try:
            profiles.load(desk, each.profile)
            issuer(desk, each, now=now)
        except (ProfileNotFound, AuthorityNotFound) as missing:
            found.append((each, missing))
    return found


def _nothing(unit: Unit, issued: IssuedCertificate) -> Mapping[str, Any]:
    return {}


def enroll(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    door: Door,
    csr: Csr,
    *,
    now: datetime,
    note: Callable[[Unit, IssuedCertificate], Mapping[str, Any]] = _nothing,
) -> IssuedCertificate:
    """Issue a first certificate for a request that came through an endpoint's door.

    `note` is called in the transaction that puts on record what will be signed, once a person has approved it where
    one must; what it raises keeps that from being done, what it gives is said in the audit log. Raises what
    `issuance.issue` raises; EnrollmentWaits, EnrollmentDenied where a person has to approve it.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    wanted = IssueRequest(
        csr=csr, profile=through.profile, authority=through.authority, endpoint=through.name
    )

    def consent(unit: Unit, issued: IssuedCertificate, spki: str) -> Mapping[str, Any]:
        act = _act(through, issued, spki)
        number = latest(unit.connection, desk, actor, act, now=now)
        asker = replace(actor, approval=number)
        said = require_approval(unit, desk, asker, act, now=now)
        return {"endpoint": through.name, "door": door, **note(unit, issued), **said}

    with _waiting(desk, actor, now):
        return issuance.issue(desk, actor, wanted, now=now, consent=consent)


_LAST = (
    select(
        certificates.c.id,
        certificates.c.status,
        certificates.c.der,
        certificates.c.names,
        certificates.c.not_after,
    )
    .where(certificates.c.spki_sha256 == bindparam("spki"))
    .order_by(certificates.c.id.desc())
    .limit(1)
)
_LAST_BY_TOKEN = _LAST.where(
    certificates.c.credential == bindparam("of"), certificates.c.profile == bindparam("profile")
)
_LAST_SUCCESSOR = _LAST.where(certificates.c.renewed_from == bindparam("of"))


@dataclass(frozen=True)
class _Place:
    """What a credential may have one certificate of: of one key, and by a token of one profile too."""

    credential: str
    profile: str
    spki_sha256: str

    @property
    def query(self) -> tuple[Select[Any], Mapping[str, str]]:
        """What asks for its last certificate, with the values for that."""
        kind, _, rest = self.credential.partition(":")
        asked = {"spki": self.spki_sha256}
        if kind == "token":
            return _LAST_BY_TOKEN, asked | {"of": self.credential, "profile": self.profile}
        return _LAST_SUCCESSOR, asked | {"of": rest.partition(":")[2]}


def given(
    desk: Desk, credential: str, through: Endpoint, csr: Csr, *, now: datetime
) -> bytes | None:
    """The certificate (DER) that a limited token or a certificate was given for the key of a request, if it was: where
    the protocol lets anybody send a message again, that must not make a second one. What a token was given is told
    where the same profile is asked for.

    Raises EnrollmentUnderWay while it is being signed, EnrollmentOver where it does not count any more or lacks a name
    that is asked for, and what `read_csr` raises.
    """
    asked = known_csr(csr)
    place = _Place(credential, through.profile, asked.spki_sha256)
    row = next(iter(desk.store.look(*place.query)), None)
    if row is None or row.status == "abandoned":
        return None
    if row.status == "pending":
        raise EnrollmentUnderWay("This request came before, and is being answered.")
    if row.status != "valid" or row.not_after <= now:
        raise EnrollmentOver("This request was answered, with a certificate that is over.")
    if not {str(name) for name in asked.names} <= {*row.names.split("\n")}:
        raise EnrollmentOver("The key has its certificate already, with other names.")
    found: bytes = row.der
    return found


def once(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    door: Door,
    csr: Csr,
    *,
    now: datetime,
    said: Mapping[str, Any] = _NOTHING,
    note: Callable[[Unit, IssuedCertificate], Mapping[str, Any]] = _nothing,
) -> bytes:
    """The certificate (DER) of a limited token, or the successor of a certificate, for a key: one, however often and at
    how many places at once it is asked for. `said` is told in the audit log beside; `note` as in `enroll`, where it is
    made now.

    Raises what `enroll` and `reenroll` and `given` raise.
    """
    renews = actor.role is Role.GATEWAY
    require(actor, Action.CERTIFICATE_RENEW if renews else Action.CERTIFICATE_ISSUE)
    asked = known_csr(csr)
    require_profile(actor, through.profile)
    require_endpoint(actor, through.name)

    def tell(unit: Unit, issued: IssuedCertificate) -> Mapping[str, Any]:
        return {**said, **note(unit, issued)}

    if not (renews or actor.one_time):  # somebody's own token: it may have as many as it asks for
        return enroll(desk, actor, through, door, asked, now=now, note=tell).der
    held = given(desk, actor.credential, through, asked, now=now)
    if held is not None:
        return held
    place = _Place(actor.credential, through.profile, asked.spki_sha256)

    def take(unit: Unit, issued: IssuedCertificate) -> Mapping[str, Any]:
        _take(unit, place, now)
        return tell(unit, issued)

    make = reenroll if renews else enroll
    try:
        return make(desk, actor, through, door, asked, now=now, note=take).der
    except (Duplicate, EnrollmentWaits, EnrollmentDenied, TokenUsedUp) as error:
        # Perhaps because the same request has just come by another way.
        held = given(desk, actor.credential, through, asked, now=now)
        if held is None and isinstance(error, Duplicate):
            raise EnrollmentUnderWay("This request came twice at once.") from None
        if held is None:
            raise
        return held


def _take(unit: Unit, place: _Place, now: datetime) -> None:
    """Take the place after the last certificate, which must be given up if there is one. Of several that do so at once
    one is committed: the row can be there once.
    """
    last = unit.connection.execute(*place.query).one_or_none()
    if last is not None and last.status != "abandoned":
        raise EnrollmentUnderWay("This request came before, and is being answered.")
    after = 0 if last is None else last.id
    query, values = place.query
    told = f"{query is _LAST_BY_TOKEN} {sorted(values.items())} {after}"
    row = {
        "actor": _PLACES,
        "key": hashlib.sha256(told.encode()).hexdigest(),
        "route": _PLACES,
        "request_sha256": place.spki_sha256,
        "state": "done",
        "status": None,
        "body": None,
        "created_at": now,
        # From when the certificate itself is seen, nobody looks at the row.
        "expires_at": now + _PLACE_KEPT,
    }
    unit.insert(idempotency, row)


def certificate_of(desk: Desk, actor: Actor, issuer: bytes, serial: int) -> CertificateView:
    """A certificate by the name of its issuer (DER) and its number, for who has proved itself by that one or by another
    of the same gateway. Raises RoleMayNot, CertificateNotFound.
    """
    require(actor, Action.CERTIFICATE_READ)
    found = _named(desk, issuer, serial)
    own = actor.credential == certificate_credential(found.authority, found.serial)
    if found.der is None or not (own or visible(actor, found)):
        raise CertificateNotFound("There is no such certificate.")
    return found


def is_issuer(desk: Desk, name: bytes) -> bool:
    """Whether this is the name (DER) of an authority of this service. Public: it is in each certificate."""
    names = authorities.all_names(desk)
    return any(
        authorities.load(desk, each).certificate.subject.public_bytes() == name for each in names
    )


def list_for(desk: Desk, actor: Actor, issuer: bytes, serial: int) -> Crl:
    """The complete revocation list that tells of a certificate. Raises RoleMayNot, CertificateNotFound, CrlNotFound."""
    require(actor, Action.CRL_READ)
    return publication.published(desk, _named(desk, issuer, serial).authority, publication.FULL)


def _named(desk: Desk, issuer: bytes, serial: int) -> CertificateView:
    if not 0 < serial < 1 << 160:  # RFC 5280 §4.1.2.2
        raise CertificateNotFound("There is no such certificate.")
    try:
        found = find(desk, serials.to_hex(serial))
    except SerialAmbiguous:
        raise CertificateNotFound("There is no such certificate.") from None
    if authorities.load(desk, found.authority).certificate.subject.public_bytes() != issuer:
        raise CertificateNotFound("There is no such certificate.")
    return found


def _act(through: Endpoint, issued: IssuedCertificate, spki: str) -> Act:
    return Act(
        (Guarded.CERTIFICATE_ENROLL,),
        {
            "endpoint": through.name,
            "authority": issued.authority.name,
            "profile": issued.profile.name,
            "subject": issued.subject,
            "names": issued.names,
            "gateway": issued.gateway,
            "key_sha256": spki,
        },
        always=through.manual,
    )


@contextmanager
def _waiting(desk: Desk, actor: Actor, now: datetime) -> Iterator[None]:
    """Say what the two-person rule says in the words that every protocol has."""
    try:
        with asked_for(desk, actor, now=now):
            yield
    except ApprovalRequired as missing:
        raise EnrollmentWaits(
            "A person has to approve this request.", details=missing.details
        ) from None
    except ApprovalNotUsable as other:
        if other.details.get("state") == State.PENDING:
            raise EnrollmentWaits(
                "A person has to approve this request.", details=other.details
            ) from None
        raise EnrollmentDenied("This request was refused.", details=other.details) from None


def reenroll(
    desk: Desk,
    actor: Actor,
    through: Endpoint,
    door: Door,
    csr: Csr,
    *,
    now: datetime,
    said: Mapping[str, Any] = _NOTHING,
    note: Callable[[Unit, IssuedCertificate], Mapping[str, Any]] = _nothing,
) -> IssuedCertificate:
    """Issue the successor of the certificate by which the actor has proved itself: with its subject and its names,
    whatever subject the request has; one with other names is refused (RFC 7030 §4.2.2).

    It must be of the endpoint's profile: what has no endpoint, or one that takes no certificates, is not renewed by
    another's door. `note` as in `enroll`. Raises what `issuance.renew` raises.
    """
    require(actor, Action.CERTIFICATE_RENEW)
    require_profile(actor, through.profile)
    _, authority, serial = actor.credential.split(":", 2)

    def consent(unit: Unit, issued: IssuedCertificate, spki: str) -> Mapping[str, Any]:
        return {"endpoint": through.name, "door": door, **said, **note(unit, issued)}

    return issuance.renew(desk, actor, serial, csr, now=now, authority=authority, consent=consent)
