"""Cross-certificates: an authority's key certified by another one here, beside its parent (RFC 4210 §4.4)."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, or_, select

from core import spans
from core.errors import InvalidInput
from pki import authorities, founding
from pki.actors import Action, Actor, require, require_authority, require_whole
from pki.approvals import asked_for, require_approval
from pki.authorities import Authority
from pki.conditions import check_in_force, check_still
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.trail import leave
from pki.x509 import serials
from pki.x509.authority import AuthoritySpec, Pointers, draft_subordinate
from pki.x509.csr import spki_sha256
from pki.x509.names import GeneralName
from pki.x509.signing import complete, default_hash, sign
from store.engine import Unit
from store.rollover_tables import cross_certificates
from store.tables import authorities as authorities_table
from store.tables import certificates
from store.unit import insert

_DER: Final = serialization.Encoding.DER


class CrossingRefused(InvalidInput):
    """A cross-certificate that would make no chain, or a circle."""

    code = "cross_certificate_refused"
    next_step = (
        "Name an issuer that is neither the subject itself, nor its parent, nor below it, "
        "and may have authorities below it."
    )


@dataclass(frozen=True)
class CrossCertificate:
    """A cross-certificate on record. `status` is that of the certificate, as of any other."""

    subject: str
    issuer: str
    serial: str
    status: str
    not_before: datetime
    not_after: datetime
    der: bytes
    created_at: datetime
    created_by: str

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return authorities.pem(x509.load_der_x509_certificate(self.der))


@dataclass(frozen=True)
class Crossing:
    """Whose key is to be certified by whom."""

    subject: Authority
    issuer: Authority


@dataclass(frozen=True)
class Terms:
    """What a written ceremony wants of a cross-certificate.

    `names` are those of the act that was approved as a whole. `beside`: authorities that are made in the same ceremony,
    and so had no certificate yet when that was approved. `judge` is given the certificate in the transaction that would
    keep it, and raises what is against it.
    """

    names: tuple[Guarded, ...]
    beside: AbstractSet[str]
    judge: Callable[[Unit, x509.Certificate], None]


@dataclass(frozen=True)
class _Draft:
    """What will be signed."""

    crossing: Crossing
    spec: AuthoritySpec
    tbs: bytes

    @property
    def serial(self) -> str:
        """The serial number, as it is on record."""
        return serials.to_hex(self.spec.serial)


def cross_sign(
    desk: Desk,
    actor: Actor,
    subject: str,
    issuer: str,
    days: int | None,
    *,
    now: datetime,
    terms: Terms | None = None,
) -> CrossCertificate:
    """Certify an authority's key by another authority. It ends with the issuer's certificate and the subject's own at
    the latest; its limits are the subject's.

    Raises RoleMayNot, OutsideScope, AuthorityNotFound, AuthorityRetired, AuthorityExpired, CrossingRefused,
    NameOutsideConstraints, the errors of `pki.approvals`, SignerUnavailable, IssuanceOvertaken; under `terms` also what
    their judge raises.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    crossing = Crossing(authorities.get(desk, actor, subject), authorities.get(desk, actor, issuer))

    def look_again(unit: Unit) -> None:
        for each in sorted((crossing.subject, crossing.issuer), key=lambda known: known.id):
            check_still(unit.connection, each)

    [serial] = make(desk, actor, [crossing], days, now, look_again, terms)
    [made] = [each for each in list_(desk, actor, subject) if each.serial == serial]
    return made


def list_(desk: Desk, actor: Actor, subject: str) -> list[CrossCertificate]:
    """The cross-certificates for an authority's key, newest first.

    Raises RoleMayNot, OutsideScope, AuthorityNotFound.
    """
    require(actor, Action.AUTHORITY_READ)
    require_authority(actor, subject)
    known = authorities.load(desk, subject)
    with desk.store.read() as connection:
        return of(connection, [known.id])


def of(connection: Connection, subjects: Iterable[int]) -> list[CrossCertificate]:
    """The cross-certificates for the keys of authorities (their numbers), newest first, whatever became of them."""
    subject, issuer = authorities_table.alias("subject"), authorities_table.alias("issuer")
    query = (
        select(
            subject.c.name.label("subject"),
            issuer.c.name.label("issuer"),
            certificates.c.serial,
            certificates.c.status,
            certificates.c.not_before,
            certificates.c.not_after,
            certificates.c.der,
            cross_certificates.c.created_at,
            cross_certificates.c.created_by,
        )
        .join_from(cross_certificates, subject, subject.c.id == cross_certificates.c.subject_id)
        .join(issuer, issuer.c.id == cross_certificates.c.issuer_id)
        .join(
            certificates,
            (certificates.c.authority_id == cross_certificates.c.issuer_id)
            & (certificates.c.serial == cross_certificates.c.serial),
        )
        .where(cross_certificates.c.subject_id.in_(list(subjects)))
        .order_by(cross_certificates.c.id.desc())
    )
    return [CrossCertificate(**row._mapping) for row in connection.execute(query)]


def standing(connection: Connection, crossing: Crossing, now: datetime) -> bool:
    """Whether there is one that counts."""
    return any(
        each.issuer == crossing.issuer.name and each.status == "valid" and each.not_after > now
        for each in of(connection, [crossing.subject.id])
    )


def pending(connection: Connection, crossing: Crossing) -> bool:
    """Whether one is being signed."""
    query = select(certificates.c.id).where(
        certificates.c.authority_id == crossing.issuer.id,
        certificates.c.status == "pending",
        certificates.c.spki_sha256 == spki_sha256(crossing.subject.public_key),
    )
    return connection.execute(query).first() is not None


def touching(connection: Connection, authority_id: int) -> list[tuple[str, str]]:
    """All that are for an authority's key or by it: (issuer, serial number)."""
    crosses = cross_certificates.c
    query = (
        select(authorities_table.c.name, crosses.serial)
        .join_from(
            cross_certificates, authorities_table, authorities_table.c.id == crosses.issuer_id
        )
        .where(or_(crosses.subject_id == authority_id, crosses.issuer_id == authority_id))
    )
    return [(row.name, row.serial) for row in connection.execute(query)]


def make(
    desk: Desk,
    actor: Actor,
    crossings: list[Crossing],
    days: int | None,
    now: datetime,
    look_again: Callable[[Unit], None],
    terms: Terms | None = None,
) -> list[str]:
    """Make these together, under one approval: all are on record, and none before all are signed. Gives their serial
    numbers. `look_again` is asked in the transaction of the intent. Raises as `cross_sign` says, and what that raises.
    """
    drafts = [_draft(desk, each, days, now) for each in crossings]
    keys = [authorities.signer(desk, each.issuer) for each in crossings]

    def intend(unit: Unit) -> None:
        look_again(unit)
        _intend(unit, desk, actor, drafts, days, now, terms)

    with asked_for(desk, actor, now=now):
        desk.store.together(intend)
    signed = []
    for draft, key in zip(drafts, keys, strict=True):
        issuer = draft.crossing.issuer
        with spans.span("sign certificate"):
            der = complete(draft.tbs, sign(key, draft.tbs, default_hash(issuer.public_key)))
        certificate = x509.load_der_x509_certificate(der)
        founding.verify_made(certificate, issuer.certificate)
        signed.append((draft, certificate))

    def settle(unit: Unit) -> None:
        for draft, certificate in signed:
            if terms is not None:
                terms.judge(unit, certificate)
            _settle(unit, actor, draft, certificate.public_bytes(_DER), now)

    desk.store.together(settle)
    return [draft.serial for draft in drafts]


def check(crossing: Crossing, now: datetime) -> int | None:
    """Make sure that the certificate would make a chain; give its path length. Raises AuthorityRetired,
    AuthorityExpired, AuthorityNotYetValid, CrossingRefused, NameOutsideConstraints.
    """
    subject, issuer = crossing.subject, crossing.issuer
    check_in_force(issuer, now)
    check_in_force(subject, now)
    path_length = _path_length(crossing)
    _refuse_lost_limits(crossing)
    for constraints in issuer.constraints:
        constraints.check([GeneralName("dn", subject.certificate.subject.rfc4514_string())])
    return path_length


def bound(
    pairs: Iterable[tuple[str, str]], sha256: Mapping[str, str], days: int | None
) -> dict[str, object]:
    """What an approval of cross-certificates is for: subject and issuer of each, and what these names mean at this
    moment: the hashes of their certificates, of those that have one.
    """
    meant = [
        {
            "subject": subject,
            "issuer": issuer,
            "subject_sha256": sha256.get(subject),
            "issuer_sha256": sha256.get(issuer),
        }
        for subject, issuer in pairs
    ]
    return {"cross_certificates": meant, "days": days}


def _draft(desk: Desk, crossing: Crossing, days: int | None, now: datetime) -> _Draft:
    subject, issuer = crossing.subject, crossing.issuer
    path_length = check(crossing, now)
    ends = [each.certificate.not_valid_after_utc for each in (subject, issuer)]
    if days is not None:
        ends.append((now + timedelta(days=days)).replace(microsecond=0))
    spec = AuthoritySpec(
        subject=subject.certificate.subject,
        public_key=subject.public_key,
        serial=serials.from_random(desk.entropy(serials.BYTES), now),
        not_before=(now - timedelta(minutes=10)).replace(microsecond=0),
        not_after=min(ends),
        path_length=path_length,
        constraints=subject.constraints[0],
        pointers=Pointers(
            crl=authorities.full_crl_url(desk, issuer.name),
            ocsp=authorities.ocsp_url(desk, issuer.name),
            ca_issuers=authorities.certificate_url(desk, issuer.name),
        ),
    )
    return _Draft(crossing, spec, draft_subordinate(spec, issuer.certificate, issuer.public_key))


def _refuse_lost_limits(crossing: Crossing) -> None:
    # The certificate carries the subject's own limits: the way by it would be without those of the authorities above.
    subject, issuer = crossing.subject, crossing.issuer
    kept = (subject.constraints[0], *issuer.constraints)
    if any(limits and limits not in kept for limits in subject.constraints[1:]):
        raise CrossingRefused(
            f"Names are limited above {subject.name!r}; by a certificate of {issuer.name!r} it would be free of that.",
            next_step="Certify the authority above it that has the limits, or name an issuer that has them too.",
        )


def _path_length(crossing: Crossing) -> int | None:
    """As the subject's own, and no more than the issuer's certificate lets be. Raises CrossingRefused."""
    subject, issuer = crossing.subject, crossing.issuer
    if subject.name == issuer.name:
        raise CrossingRefused("An authority does not certify itself beside its own certificate.")
    if subject.parent == issuer.name:
        raise CrossingRefused(f"{issuer.name!r} is the parent of {subject.name!r}.")
    if subject.certificate in issuer.chain:
        raise CrossingRefused(f"{issuer.name!r} is below {subject.name!r}.")
    above, own = issuer.path_length, subject.path_length
    if above is None:
        return own
    # RFC 5280 §4.2.1.9: a certificate whose subject is its issuer's name is not counted.
    if subject.certificate.subject != issuer.certificate.subject:
        above -= 1
    if above < 0:
        raise CrossingRefused(f"The authority {issuer.name!r} may not have authorities below it.")
    return above if own is None else min(above, own)


def _intend(
    unit: Unit,
    desk: Desk,
    actor: Actor,
    drafts: list[_Draft],
    days: int | None,
    now: datetime,
    terms: Terms | None,
) -> None:
    said = require_approval(unit, desk, actor, _act(drafts, days, terms), now=now)
    for draft in drafts:
        subject, issuer = draft.crossing.subject, draft.crossing.issuer
        row = founding.pending_row(actor, issuer, draft.spec, draft.tbs, now)
        # At once: who looks for pending ones in the same transaction must see it.
        insert(unit.connection, certificates, row)
        detail = {"serial": draft.serial, "signed_by": issuer.name, **said}
        about = f"authority:{subject.name}"
        leave(unit, actor, "authority.cross", about, now=now, outcome="intent", **detail)


def _act(drafts: list[_Draft], days: int | None, terms: Terms | None) -> Act:
    names = (Guarded.AUTHORITY_ISSUE,) if terms is None else terms.names
    beside = frozenset[str]() if terms is None else terms.beside
    crossings = [draft.crossing for draft in drafts]
    sha256 = {
        each.name: each.sha256
        for crossing in crossings
        for each in (crossing.subject, crossing.issuer)
        if each.name not in beside
    }
    pairs = [(each.subject.name, each.issuer.name) for each in crossings]
    return Act(names, bound(pairs, sha256, days))


def _settle(unit: Unit, actor: Actor, draft: _Draft, der: bytes, now: datetime) -> None:
    subject, issuer = draft.crossing.subject, draft.crossing.issuer
    founding.settle_pending(unit, issuer, draft.serial, der, now)
    unit.insert(
        cross_certificates,
        {
            "subject_id": subject.id,
            "issuer_id": issuer.id,
            "serial": draft.serial,
            "created_at": now,
            "created_by": actor.name,
        },
    )
    about = f"authority:{subject.name}"
    leave(
        unit, actor, "authority.crossed", about, now=now, serial=draft.serial, signed_by=issuer.name
    )
