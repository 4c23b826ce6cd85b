"""What EST, SCEP, CMP and ACME have in common: a request that came through an endpoint's door becomes a certificate.

Each door decodes, calls one of these, encodes. They end in `pki.issuance`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import bindparam, select

from core.errors import Conflict, NotPermitted
from pki import authorities, issuance, publication
from pki.actors import Action, Actor, Role, require
from pki.approvals import (
    ApprovalNotUsable,
    ApprovalRequired,
    asked_for,
    latest,
    require_approval,
)
from pki.authorities import Authority
from pki.certificates import CertificateNotFound, CertificateView, SerialAmbiguous, find, visible
from pki.desk import Desk
from pki.endpoints import Endpoint, EndpointNotFound
from pki.guarded import Act, Guarded, State
from pki.identity import certificate_credential
from pki.issuance import IssuedCertificate, IssueRequest
from pki.publication import Crl
from pki.x509 import serials
from pki.x509.csr import Csr, known_csr
from store.engine import Unit
from store.tables import certificates

Door = Literal["est", "scep", "acme", "cmp"]
#: How long a client waits before it asks again for what a person has to approve.
RETRY_AFTER: Final = 60  # seconds
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class EnrollmentWaits(Conflict):
    """A person has to approve the request first; the same request, sent again later, is answered then."""

    code = "enrollment_waits"
    next_step = "Send exactly the same request again later, with the same credential."


class EnrollmentOver(Conflict):
    """The same credential was given a certificate for the same key, and that one does not count any more."""

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
    wanted = IssueRequest(csr=csr, profile=through.profile, authority=through.authority)

    def consent(unit: Unit, issued: IssuedCertificate, spki: str) -> Mapping[str, Any]:
        act = _act(through, issued, spki)
        number = latest(unit.connection, desk, actor, act, now=now)
        asker = replace(actor, approval=number)
        said = require_approval(unit, desk, asker, act, now=now)
        return {"endpoint": through.name, "door": door, **note(unit, issued), **said}

    with _waiting(desk, actor, now):
        return issuance.issue(desk, actor, wanted, now=now, consent=consent)


_SAME_KEY = (
    select(certificates.c.der, certificates.c.status, certificates.c.not_after)
    .where(certificates.c.spki_sha256 == bindparam("spki"), certificates.c.der.is_not(None))
    .order_by(certificates.c.id.desc())
    .limit(1)
)
_GIVEN = _SAME_KEY.where(certificates.c.credential == bindparam("of"))
_SUCCEEDED = _SAME_KEY.where(certificates.c.renewed_from == bindparam("of"))


def given(desk: Desk, credential: str, csr: Csr, *, now: datetime) -> bytes | None:
    """The certificate (DER) that a counted token or a certificate was given for the key of a request, if it was: where
    the protocol lets anybody send a message again, that must not make a second one.

    Raises EnrollmentOver where it does not count any more, and what `read_csr` raises.
    """
    kind, _, rest = credential.partition(":")
    by_token = kind == "token"
    asked = {
        "spki": known_csr(csr).spki_sha256,
        "of": credential if by_token else rest.partition(":")[2],
    }
    row = next(iter(desk.store.look(_GIVEN if by_token else _SUCCEEDED, asked)), None)
    if row is None:
        return None
    if row.status != "valid" or row.not_after <= now:
        raise EnrollmentOver("This request was answered, with a certificate that is over.")
    found: bytes = row.der
    return found


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

    `note` as in `enroll`. Raises what `issuance.renew` raises.
    """
    require(actor, Action.CERTIFICATE_RENEW)
    _, authority, serial = actor.credential.split(":", 2)

    def consent(unit: Unit, issued: IssuedCertificate, spki: str) -> Mapping[str, Any]:
        return {"endpoint": through.name, "door": door, **said, **note(unit, issued)}

    return issuance.renew(desk, actor, serial, csr, now=now, authority=authority, consent=consent)
