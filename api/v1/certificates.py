"""Certificates: issued, searched, held, released, renewed."""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from cryptography import x509
from pydantic import AfterValidator, AwareDatetime, Field

from api import cursors
from api.cursors import PageQuery
from api.errors import CursorInvalid
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from fleet import revoking
from pki import certificates, issuance, revocation
from pki.actors import Action
from pki.authorities import pem
from pki.certificates import COUNTED, CertificateQuery, CertificateView
from pki.issuance import IssuedCertificate, IssueRequest
from pki.x509 import renewal

_PATH = "/v1/certificates"
_NEWER = _PATH + "#newer"
_TAG = "Certificates"
_MAX_CSR = 64_000
_CSR = "-----BEGIN CERTIFICATE REQUEST-----\nMIHz…\n-----END CERTIFICATE REQUEST-----\n"
# No control characters: such a name would act in a terminal, and PostgreSQL takes no NUL.
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Csr = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_CSR,
        description="PKCS #10 request, signed with its own key: PEM, or base64 of DER.",
    ),
]


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; ValueError for one that no certificate or record can hold."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1970 and 9999 in UTC") from None
    if not 1970 <= utc.year <= 9999:
        raise ValueError("must lie between the years 1970 and 9999 in UTC")
    return utc


When = Annotated[
    AwareDatetime, AfterValidator(_in_utc), Field(description="RFC 3339 with a time zone.")
]
Reason = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]


class Issue(Sent):
    """What certificate is wanted."""

    csr: Csr
    profile: Word = Field(description="Name of a profile, as GET /v1/profiles lists them.")
    authority: Word | None = Field(
        default=None, description="Name of the issuing authority; the default one if left out."
    )
    not_after: When | None = Field(
        default=None, description="Wished end of validity, within the profile's longest."
    )
    names: list[Word] = Field(
        default_factory=list,
        max_length=100,
        description="Names beside those in the request: `dns:`, `ip:`, `email:`, `uri:`, `dn:`.",
    )
    gateway: Word | None = Field(
        default=None,
        description="Which gateway it speaks for; the credential's, or the first name, if left out.",
    )


class Renew(Sent):
    """A request with a new key, or nothing to keep the key."""

    csr: Csr | None = Field(default=None)
    proof: str | None = Field(
        default=None,
        max_length=4096,
        description="From a gateway's channel: base64 of the signature that the key of the old certificate made over "
        "the new request (docs/explanation/agent-tokens.md).",
    )


class Hold(Sent):
    """What may stop with it."""

    cut_confirmed: int | None = Field(
        default=None,
        ge=0,
        description="For the certificate of a CA: how many certificates and tunnels below it may stop, where that is"
        " more than the limit.",
    )


class Which(Sent):
    """Which authority's certificate is meant."""

    authority: Word | None = Field(
        default=None, description="Needed only where two authorities used the same serial number."
    )


class Search(PageQuery):
    """What to look for; what is given holds together."""

    q: Word | None = Field(
        default=None,
        description="With what a word of a subject, name or gateway begins; or, in any spelling, a serial number, a "
        "fingerprint, or the SHA-256 of a key: hexadecimal, eight digits at least, or all of it in base64.",
    )
    name: Word | None = Field(
        default=None, description="With what a word of a subject, name or gateway begins."
    )
    serial: Word | None = Field(
        default=None, description="With what the serial number begins, in any spelling."
    )
    key: Word | None = Field(
        default=None,
        description="SHA-256 of the SubjectPublicKeyInfo: with what it begins, hexadecimal, or all of it in base64.",
    )
    status: Literal["pending", "valid", "held", "revoked", "abandoned", "expired"] | None = None
    expires_before: When | None = None
    expires_after: When | None = Field(default=None, description="At this moment, or later.")
    issued_before: When | None = None
    issued_after: When | None = Field(default=None, description="At this moment, or later.")
    renewed: bool | None = Field(
        default=None,
        description="Whether there is a valid successor, or the service renews it by itself.",
    )
    gateway: Word | None = None
    profile: Word | None = None
    authority: Word | None = None


class Certificate(Shown):
    """A certificate on record."""

    serial: str = Field(description="Lower-case hexadecimal.")
    authority: str
    status: str
    profile: str
    subject: str = Field(description="RFC 4514.")
    names: list[str]
    gateway: str | None
    not_before: datetime
    not_after: datetime
    fingerprint: str | None = Field(description="SHA-256 of the DER, hexadecimal.")
    certificate: str | None = Field(description="PEM, once it is signed.")
    requested_by: str
    created_at: datetime
    issued_at: datetime | None
    renewed_from: str | None = Field(description="Serial number of its predecessor.")
    revoked_at: datetime | None
    reason: str | None
    invalidity_date: datetime | None


class CertificateOnRecord(Certificate):
    """A certificate on record, and whether its authority is in force."""

    in_force: bool = Field(
        description="False where its authority's certificate, or one above, is revoked or on hold: no verifier accepts"
        " it then, whatever its own status is."
    )


class CertificatePage(Shown):
    """Some certificates, newest first."""

    items: list[CertificateOnRecord]
    next_cursor: str | None = Field(description="Of the older ones that come after these.")
    previous_cursor: str | None = Field(description="Of the newer ones that come before these.")
    total: int | None = Field(
        description=f"How many were found, counted up to {COUNTED:,}; null for a credential that is limited in names."
    )
    total_is_more: bool = Field(description="Whether there are more than `total`.")


class Issued(Shown):
    """A new certificate with everything a daemon needs to present it."""

    serial: str = Field(description="Lower-case hexadecimal.")
    authority: str
    profile: str
    subject: str = Field(description="RFC 4514.")
    names: list[str]
    gateway: str | None
    not_before: datetime
    not_after: datetime
    fingerprint: str = Field(description="SHA-256 of the DER, hexadecimal.")
    certificate: str = Field(description="PEM.")
    chain: list[str] = Field(description="PEM certificates: the issuer first, the root last.")
    lint: Mapping[str, str] = Field(description="Verdict of each dialect: pass, warn or fail.")
    renewed_from: str | None


def shown(view: CertificateView, now: datetime) -> Certificate:
    """A certificate on record as clients see it."""
    return Certificate(
        serial=view.serial,
        authority=view.authority,
        status=view.status_at(now),
        profile=view.profile,
        subject=view.subject,
        names=list(view.names),
        gateway=view.gateway,
        not_before=view.not_before,
        not_after=view.not_after,
        fingerprint=view.fingerprint,
        certificate=None if view.der is None else ssl.DER_cert_to_PEM_cert(view.der),
        requested_by=view.requested_by,
        created_at=view.created_at,
        issued_at=view.issued_at,
        renewed_from=view.renewed_from,
        revoked_at=view.revoked_at,
        reason=view.reason,
        invalidity_date=view.invalidity_date,
    )


def _found(view: CertificateView, now: datetime) -> CertificateOnRecord:
    return CertificateOnRecord(**shown(view, now).model_dump(), in_force=view.in_force)


def _issued(made: IssuedCertificate) -> Reply:
    # model_construct: all of it is ours already, and validating again costs more than the rest.
    content = Issued.model_construct(
        serial=made.serial,
        authority=made.authority.name,
        profile=made.profile.name,
        subject=made.subject,
        names=list(made.names),
        gateway=made.gateway,
        not_before=made.not_before,
        not_after=made.not_after,
        fingerprint=made.fingerprint,
        certificate=ssl.DER_cert_to_PEM_cert(made.der),
        chain=list(_chain(made.authority.chain)),
        lint={dialect: made.report.verdict(dialect) for dialect in made.report.dialects},
        renewed_from=made.renewed_from,
    )
    return Reply(content, status=201, headers=(("Location", f"{_PATH}/{made.serial}"),))


@lru_cache(maxsize=64)
def _chain(certificates_: tuple[x509.Certificate, ...]) -> tuple[str, ...]:
    return tuple(pem(certificate) for certificate in certificates_)


def issue(call: Call[Issue, Nothing]) -> Reply:
    """Issue a certificate."""
    wanted = IssueRequest(
        csr=call.body.csr.encode(),
        profile=call.body.profile,
        authority=call.body.authority,
        not_after=call.body.not_after,
        names=tuple(call.body.names),
        gateway=call.body.gateway,
    )
    return _issued(issuance.issue(call.desk, call.actor, wanted, now=call.now))


def renew(call: Call[Renew, Which]) -> Reply:
    """Issue the successor of a certificate."""
    csr = None if call.body.csr is None else call.body.csr.encode()
    made = issuance.renew(
        call.desk,
        call.actor,
        call.path["serial"],
        csr,
        now=call.now,
        authority=call.query.authority,
        proof=None if call.body.proof is None else renewal.decode(call.body.proof),
    )
    return _issued(made)


def search(call: Call[None, Search]) -> Reply:
    """Search certificates."""
    query = call.query
    given = query.model_dump(exclude={"cursor", "limit"})
    after, newer = _place(query.cursor)
    wanted = CertificateQuery(**given, cursor=after, newer=newer, limit=query.limit)
    found = certificates.browse(call.desk, call.actor, wanted, now=call.now)
    older = None if found.older is None else cursors.encode(_PATH, found.older)
    newer_ones = None if found.newer is None else cursors.encode(_NEWER, found.newer)
    content = CertificatePage(
        items=[_found(view, call.now) for view in found.items],
        next_cursor=older,
        previous_cursor=newer_ones,
        total=found.total,
        total_is_more=found.is_more,
    )
    return Reply(content, headers=cursors.next_link(_PATH, query, older))


def _place(cursor: str | None) -> tuple[int | None, bool]:
    """The certificate that a cursor names, and whether it leads to newer ones."""
    try:
        return cursors.decode(_PATH, cursor, int), False
    except CursorInvalid:
        return cursors.decode(_NEWER, cursor, int), True


def show(call: Call[None, Which]) -> Reply:
    """Look at one certificate."""
    found = certificates.get(
        call.desk, call.actor, call.path["serial"], authority=call.query.authority
    )
    return Reply(_found(found, call.now))


def hold(call: Call[Hold, Which]) -> Reply:
    """Stop a certificate for a while."""
    held = revoking.hold(
        call.desk,
        call.actor,
        call.path["serial"],
        now=call.now,
        authority=call.query.authority,
        confirmed=call.body.cut_confirmed,
    )
    return Reply(shown(held, call.now))


def release(call: Call[Nothing, Which]) -> Reply:
    """Let a held certificate be valid again."""
    released = revocation.release(
        call.desk,
        call.actor,
        call.path["serial"],
        now=call.now,
        authority=call.query.authority,
    )
    return Reply(shown(released, call.now))


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=issue,
        summary="Issue a certificate for a certificate signing request",
        description=(
            "The request's signature proves that you hold the key. The profile decides what the certificate "
            "contains; your credential decides for which names. The certificate is checked against the rules of "
            "the IKE daemons that the profile names before anything is signed."
        ),
        tag=_TAG,
        action=Action.CERTIFICATE_ISSUE,
        body=Issue,
        answer=Issued,
        status=201,
        example={"csr": _CSR, "profile": "gateway", "names": ["dns:gw1.example.com"]},
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search certificates by anything, newest first",
        tag=_TAG,
        action=Action.CERTIFICATE_READ,
        query=Search,
        answer=CertificatePage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path=_PATH + "/{serial}",
        view=show,
        summary="Look at one certificate",
        tag=_TAG,
        action=Action.CERTIFICATE_READ,
        query=Which,
        answer=CertificateOnRecord,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{serial}/hold",
        view=hold,
        summary="Stop a certificate for a while",
        description=(
            "Daemons refuse it from their next look at OCSP or a list on; tunnels that are up stay up. That of a CA "
            "stops all that stands below it, and where that is more than the limit it is refused with "
            "`cut_needs_approval` until `cut_confirmed` allows so many."
        ),
        tag=_TAG,
        approval=True,
        action=Action.CERTIFICATE_REVOKE,
        query=Which,
        body=Hold,
        answer=Certificate,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{serial}/release",
        view=release,
        summary="Let a certificate on hold be valid again",
        tag=_TAG,
        approval=True,
        action=Action.CERTIFICATE_REVOKE,
        query=Which,
        body=Nothing,
        answer=Certificate,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{serial}/renew",
        view=renew,
        summary="Issue the successor of a certificate",
        description=(
            "With a new key in `csr`, or with the same key without it. Profile, authority and names stay as they "
            "are. A gateway renews its own certificates only."
        ),
        tag=_TAG,
        action=Action.CERTIFICATE_RENEW,
        query=Which,
        body=Renew,
        answer=Issued,
        status=201,
        example={"csr": _CSR},
        refusals=(404, 409, 422),
    ),
)
