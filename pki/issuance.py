"""Issuance: every door ends here (DESIGN §2, house rule 1).

Decide → record the intent (commit) → sign → record the result (commit) → tell. A certificate that left this process is
on record; a signature that was asked for is on record before it exists.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from sqlalchemy import bindparam, exists, select, update

from core import spans
from hsm.errors import KeyStoreError
from hsm.signonly import is_elsewhere, with_key
from pki import authorities, compromise, conditions, persons, profiles
from pki.actors import (
    Action,
    Actor,
    Role,
    require,
    require_authority,
    require_endpoint,
    require_gateway,
    require_names,
    require_profile,
)
from pki.authorities import Authority
from pki.certificates import CertificateView, find
from pki.desk import Desk
from pki.identity import CHANNEL, certificate_credential, use_up
from pki.refusals import (
    IssuanceOvertaken,
    NamesChanged,
    NotRenewable,
    ProofMissing,
)
from pki.trail import leave
from pki.x509 import renewal, serials
from pki.x509.authority import Pointers
from pki.x509.csr import Csr, SigningRequest, known_csr
from pki.x509.draft import Draft, Mould, Subject, subject_for
from pki.x509.keys import check_key
from pki.x509.lint import LintReport
from pki.x509.names import GeneralName
from pki.x509.profile import Profile
from pki.x509.signing import PublicKey, complete, sign
from store.engine import Unit
from store.tables import authorities as authorities_table
from store.tables import certificates


@dataclass(frozen=True)
class IssueRequest:
    """What a door passes on: `csr` in PEM, DER or base64; `names` are added to those in the request.

    `itself`: the authority itself shall issue, whoever issues in its place now. `endpoint`: the enrollment endpoint
    that it came through.
    """

    csr: Csr
    profile: str
    authority: str | None = None
    not_after: datetime | None = None
    names: tuple[str, ...] = ()
    gateway: str | None = None
    itself: bool = False
    endpoint: str | None = None


@dataclass(frozen=True)
class IssuedCertificate:
    """A new certificate: DER, and its chain in PEM (issuer first, root last)."""

    authority: Authority
    profile: Profile
    serial: str
    der: bytes
    fingerprint: str
    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    gateway: str | None
    report: LintReport
    renewed_from: str | None = None

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return authorities.pem(x509.load_der_x509_certificate(self.der))


# Asked in the transaction that puts an intent on record, with the hash of the key: what it raises keeps that from being
# done, and what it gives is said in the audit log.
Consent = Callable[[Unit, IssuedCertificate, str], Mapping[str, Any]]


def _nothing_said(unit: Unit, issued: IssuedCertificate, spki: str) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class _Plan:
    """Everything decided, nothing done."""

    authority: Authority
    profile: Profile
    subject: Subject
    public_key: PublicKey
    spki_sha256: str
    not_after: datetime | None
    gateway: str | None
    renewed: CertificateView | None = None
    consent: Consent = _nothing_said

    @property
    def renewed_from(self) -> str | None:
        """The serial number of what it succeeds."""
        return None if self.renewed is None else self.renewed.serial


def issue(
    desk: Desk,
    actor: Actor,
    request: IssueRequest,
    *,
    now: datetime,
    consent: Consent = _nothing_said,
) -> IssuedCertificate:
    """Issue a certificate for a request whose private key the requester holds, with the `consent` of its door.

    Raises RoleMayNot, OutsideScope, ProfileNotFound, AuthorityNotFound, KeyCompromised, the errors of `pki.conditions`,
    `pki.x509.csr`, `.names`, `.keys`, `.draft` and `.constraints`, LintRefused, NameOfPerson (an admin's request may
    raise what `pki.approvals` raises), TokenUsedUp, SignerUnavailable (the intent stays on record and is settled
    later), and the errors of the store. Nothing is signed unless all of that passed.
    """
    require(actor, Action.CERTIFICATE_ISSUE)
    require_profile(actor, request.profile)
    require_endpoint(actor, request.endpoint)
    profile = profiles.load(desk, request.profile)
    conditions.check_profile(actor, profile)
    asked = known_csr(request.csr)
    if request.itself and request.authority is not None:
        authority = authorities.load(desk, request.authority)
    else:
        authority = authorities.choose(
            desk, actor, request.authority, now=now, spki=asked.spki_sha256
        )
    check_key(asked.public_key, profile.key_algorithms)
    extra = tuple(GeneralName.parse(text) for text in request.names)
    subject = subject_for(profile, asked.subject, (*asked.names, *extra))
    require_names(actor, subject.names)
    subject = conditions.within_scope(actor, subject)
    gateway = conditions.gateway_for(actor, profile, subject, request.gateway)
    plan = _Plan(
        authority=authority,
        profile=profile,
        subject=subject,
        public_key=asked.public_key,
        spki_sha256=asked.spki_sha256,
        not_after=request.not_after,
        gateway=gateway,
        consent=consent,
    )
    return _of_person_or_not(desk, actor, plan, now)


def renew(
    desk: Desk,
    actor: Actor,
    serial: str,
    csr: Csr | None,
    *,
    now: datetime,
    authority: str | None = None,
    proof: bytes | None = None,
    consent: Consent = _nothing_said,
) -> IssuedCertificate:
    """Issue the successor of a certificate: same profile and names, same authority or who issues in its place.

    With `csr` the key changes (rekey); without it the key stays (renew), whose possession was proved when the
    certificate was first issued. A gateway renews only its own; through its channel only with `proof`, a signature
    (`pki.x509.renewal`) of the old certificate's key over the new request. Raises what `issue` raises,
    CertificateNotFound, NotRenewable, NamesChanged, ProofMissing.
    """
    require(actor, Action.CERTIFICATE_RENEW)
    old = find(desk, serial, authority=authority)
    own = actor.credential == certificate_credential(old.authority, old.serial)
    if not own:
        require_gateway(actor, old.gateway)
    channel = _through_channel(actor, old)
    if not channel:  # its own certificate is of another profile, and of another authority where one was rolled over
        require_profile(actor, old.profile)
        _require_line(desk, actor, old, now)
    before = _renewable(old)
    profile = profiles.load(desk, old.profile)
    conditions.check_profile(actor, profile)
    names = tuple(GeneralName.parse(name) for name in old.names)
    if csr is None:
        key, spki = _same_key(before), old.spki_sha256
    else:
        asked = known_csr(csr)
        _refuse_other_names(asked, names)
        key, spki = asked.public_key, asked.spki_sha256
    if channel:
        _require_proof(before, csr, proof)
    else:
        require_names(actor, names)
    check_key(key, profile.key_algorithms)
    plan = _Plan(
        authority=authorities.current(
            desk, authorities.load(desk, old.authority), now=now, spki=spki
        ),
        profile=profile,
        subject=Subject(before.subject, names),
        public_key=key,
        spki_sha256=spki,
        not_after=None,
        gateway=old.gateway,
        renewed=old,
        consent=consent,
    )
    # Who has the one has the next.
    return (_carry_out if own else _of_person_or_not)(desk, actor, plan, now)


def _renewable(old: CertificateView) -> x509.Certificate:
    if old.profile == authorities.PROFILE:
        raise NotRenewable("The certificate of an authority is not renewed like a gateway's.")
    if old.status != "valid" or old.der is None:
        raise _not_renewable(old, old.status)
    return x509.load_der_x509_certificate(old.der)


def _require_line(desk: Desk, actor: Actor, old: CertificateView, now: datetime) -> None:
    """That the actor may use the authority of a certificate, or who issues in its place: a rollover that is taken back,
    and gone on with, leaves a credential that was made meanwhile with certificates of both.
    """
    limits = actor.scope.authorities
    if limits is not None and old.authority not in limits:
        owner = authorities.load(desk, old.authority)
        require_authority(actor, authorities.current(desk, owner, now=now).name)


def _through_channel(actor: Actor, old: CertificateView) -> bool:
    """Whether a gateway's channel asks for the successor of the gateway's own certificate."""
    by_channel = actor.role is Role.GATEWAY and actor.scope.profiles == (CHANNEL,)
    return by_channel and old.profile != CHANNEL


def _require_proof(before: x509.Certificate, csr: Csr | None, proof: bytes | None) -> None:
    # The channel's key lies in a file: whoever copies it must not get certificates for a key of his own.
    if csr is None or proof is None:
        raise ProofMissing("The gateway's present key must sign the request for the next one.")
    try:
        renewal.verify(_same_key(before), known_csr(csr).der, proof)
    except InvalidSignature:
        raise ProofMissing("The proof is not by the key of the certificate in force.") from None


def _same_key(certificate: x509.Certificate) -> PublicKey:
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise NotRenewable("The certificate has a kind of key that is not supported any more.")
    return key


def _refuse_other_names(asked: SigningRequest, names: tuple[GeneralName, ...]) -> None:
    for name in asked.names:
        if name not in names:
            raise NamesChanged(f"The old certificate does not carry {name}.")


def _of_person_or_not(desk: Desk, actor: Actor, plan: _Plan, now: datetime) -> IssuedCertificate:
    with persons.asking(desk, actor, plan.subject.names, plan.consent, now) as consent:
        return _carry_out(desk, actor, replace(plan, consent=consent), now)


def _carry_out(desk: Desk, actor: Actor, plan: _Plan, now: datetime) -> IssuedCertificate:
    conditions.check_authority(plan.authority, plan.profile, plan.subject, now)
    not_before = (now - plan.profile.backdate).replace(microsecond=0)
    not_after = conditions.end_of_validity(plan.authority, plan.profile, plan.not_after, now)
    serial = serials.from_random(desk.entropy(serials.BYTES), now)
    shard = plan.authority.shard_of(serial)
    draft = _mould(desk, plan).draft(
        plan.subject,
        plan.public_key,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        shard=shard,
    )
    report = conditions.check_lint(plan.profile, draft)
    key = authorities.signer(desk, plan.authority)
    issued = IssuedCertificate(
        authority=plan.authority,
        profile=plan.profile,
        serial=serials.to_hex(serial),
        der=b"",
        fingerprint="",
        subject=plan.subject.name.rfc4514_string(),
        names=tuple(str(name) for name in plan.subject.names),
        not_before=not_before,
        not_after=not_after,
        gateway=plan.gateway,
        report=report,
        renewed_from=plan.renewed_from,
    )
    _record_intent(desk, actor, plan, issued, draft, shard, now, is_elsewhere(key))
    try:
        with spans.span("sign certificate", ikewarden__serial=issued.serial):
            signature = with_key(key, partial(sign, key, draft.tbs, draft.digest))
    except KeyStoreError as error:
        _record_failure(desk, actor, issued, error, now)
        raise
    der = complete(draft.tbs, signature)
    return _record_result(desk, actor, issued, der, now)


def _mould(desk: Desk, plan: _Plan) -> Mould:
    key = (plan.authority.name, plan.profile.name)
    held = desk.holdings.moulds.get(key)
    if held is None:
        shown, name = plan.profile.distribution, plan.authority.name
        crl = {
            "full": authorities.full_crl_url(desk, name),
            "shard": authorities.shard_crl_url(desk, name, "{shard}"),
        }.get(shown.crl)
        held = Mould(
            plan.profile,
            plan.authority.certificate,
            plan.authority.public_key,
            Pointers(
                crl=crl,
                ocsp=authorities.ocsp_url(desk, name) if shown.ocsp else None,
                ca_issuers=authorities.certificate_url(desk, name) if shown.ca_issuers else None,
            ),
        )
        desk.holdings.moulds[key] = held
    return held


def _record_intent(
    desk: Desk,
    actor: Actor,
    plan: _Plan,
    issued: IssuedCertificate,
    draft: Draft,
    shard: int,
    now: datetime,
    lasting: bool,
) -> None:
    """Put on record what will be signed. A signature that this process makes does not get out of it before the result
    is on record, whose commit waits for the disk: a power cut that undoes the intent leaves no signature anywhere. A
    device or a server that signs may remember it (`lasting`).
    """
    row = {
        "authority_id": plan.authority.id,
        "serial": issued.serial,
        "status": "pending",
        "profile": plan.profile.name,
        "subject": issued.subject,
        "names": "\n".join(issued.names),
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "shard": shard,
        "tbs": draft.tbs,
        "spki_sha256": plan.spki_sha256,
        "requested_by": actor.name,
        "credential": actor.credential if actor.one_time else "",
        "gateway": plan.gateway,
        "request_id": actor.request_id,
        "created_at": now,
        "renewed_from": plan.renewed_from,
    }

    def work(unit: Unit) -> None:
        if plan.renewed is not None:
            _refuse_ended(unit, plan.renewed)
        said = plan.consent(unit, issued, plan.spki_sha256)
        use_up(unit, actor, now)
        unit.insert(certificates, row)
        leave(
            unit,
            actor,
            "certificate.sign",
            _about(issued),
            now=now,
            outcome="intent",
            profile=plan.profile.name,
            tbs_sha256=hashlib.sha256(draft.tbs).hexdigest(),
            **said,
        )

    desk.store.together(work, lasting=lasting)


_STATUS = select(certificates.c.status).where(
    certificates.c.authority_id == bindparam("of"), certificates.c.serial == bindparam("number")
)


def _refuse_ended(unit: Unit, old: CertificateView) -> None:
    """Look once more at what is renewed: it may have been revoked while this work waited for its turn."""
    asked = {"of": old.authority_id, "number": old.serial}
    status = unit.connection.execute(_STATUS, asked).scalar_one()
    if status != "valid":
        raise _not_renewable(old, status)


def _not_renewable(old: CertificateView, status: str) -> NotRenewable:
    held = status == "held"
    return NotRenewable(
        f"The certificate {old.serial} is {'on hold' if held else status}.",
        next_step=f"Release it first: `ikewarden cert release {old.serial}`." if held else "",
    )


def _about(issued: IssuedCertificate) -> str:
    return f"certificate:{issued.authority.name}:{issued.serial}"


def _record_failure(
    desk: Desk, actor: Actor, issued: IssuedCertificate, error: KeyStoreError, now: datetime
) -> None:
    # The intent stays: only the reconcile job, which knows how long a signer may take, gives it up.
    desk.store.together(
        lambda unit: leave(
            unit,
            actor,
            "certificate.sign",
            _about(issued),
            now=now,
            outcome="failed",
            error=error.code,
        )
    )


_RESULT = (
    update(certificates)
    .where(
        certificates.c.authority_id == bindparam("of"),
        certificates.c.serial == bindparam("number"),
        certificates.c.status == "pending",
        # It may have been revoked since it was looked up, by somebody who could not see this certificate yet.
        ~compromise.ITS_KEY,
    )
    .values(
        status="valid",
        tbs=None,
        der=bindparam("made"),
        fingerprint=bindparam("print"),
        issued_at=bindparam("at"),
    )
)
# What was asked for before the authority was retired or withdrawn, and recorded after that, was not counted then: no
# such certificate gets out. What the service itself needs, also one gives that is retired.
_RESULT_OF_ACTIVE = _RESULT.where(
    exists().where(
        authorities_table.c.id == certificates.c.authority_id,
        authorities_table.c.status == authorities.ACTIVE,
    )
)


def _record_result(
    desk: Desk, actor: Actor, issued: IssuedCertificate, der: bytes, now: datetime
) -> IssuedCertificate:
    fingerprint = hashlib.sha256(der).hexdigest()
    values = {
        "of": issued.authority.id,
        "number": issued.serial,
        "made": der,
        "print": fingerprint,
        "at": now,
    }

    def work(unit: Unit) -> None:
        overtaken = IssuanceOvertaken(
            "Signing took too long and was given up; or meanwhile the authority was retired, or the key compromised."
        )
        result = _RESULT if issued.profile.internal else _RESULT_OF_ACTIVE
        unit.change(result, values, otherwise=overtaken)
        leave(
            unit,
            actor,
            "certificate.issue",
            _about(issued),
            now=now,
            fingerprint=fingerprint,
        )

    desk.store.together(work)
    return IssuedCertificate(**{**vars(issued), "der": der, "fingerprint": fingerprint})
