"""Founding authorities: a key, a certificate over it, and everything that follows from that."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from sqlalchemy import or_, select, update

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from hsm.errors import KeyExists, KeyStoreError
from hsm.keystores import chosen_place, place_for, store_at
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, PrivateKey
from pki import ca_keys
from pki.actors import Action, Actor, require, require_authority, require_whole
from pki.approvals import asked_for, look, require_approval
from pki.authorities import (
    ACTIVE,
    PREPARED,
    PROFILE,
    Authority,
    KeyDoesNotFit,
    certificate_url,
    current,
    full_crl_url,
    get,
    load,
    ocsp_url,
    signer,
)
from pki.conditions import check_in_force, check_still
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.refusals import IssuanceOvertaken
from pki.rollover.records import begin
from pki.trail import leave
from pki.x509 import serials
from pki.x509.authority import AuthoritySpec, Pointers, draft_root, draft_subordinate
from pki.x509.constraints import NameConstraints
from pki.x509.csr import spki_sha256
from pki.x509.draft import SubjectRefused, usable_attribute
from pki.x509.names import GeneralName
from pki.x509.signing import PublicKey, complete, default_hash, sign
from store import outbox
from store.engine import Unit
from store.errors import Duplicate
from store.tables import authorities, certificates, crl_numbers
from store.unit import insert

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_MAX_LIFETIME = timedelta(days=366 * 40)


class AuthorityExists(Conflict):
    """The name is taken."""

    code = "authority_exists"
    next_step = "Choose another name; an authority's name is for ever, because it stands in URLs."


class BadAuthority(InvalidInput):
    """An authority that cannot be made as asked."""

    code = "authority_malformed"
    next_step = "Correct what is named here, and ask again."


@dataclass(frozen=True)
class AuthorityRequest:
    """What a new authority shall be. `subject` is an RFC 4514 string; `path_length` None means no limit.

    `shards` 0 means one complete CRL, which is what IKE daemons need: charon and NSS take any cached CRL of an issuer
    for the whole one (docs/explanation/crl-scope.md). More is for authorities whose relying parties obey the scope of
    a CRL; such an authority does not issue to gateways.

    `key_store` is where the key is made (`files`, `pkcs11`, `transit`); where the settings say if left out.

    `replaces` names the authority that the new one is to succeed (`pki.rollover`); it may have its subject.
    """

    name: str
    kind: str
    subject: str
    algorithm: KeyAlgorithm = "ec-p256"
    parent: str | None = None
    lifetime: timedelta = timedelta(days=3650)
    path_length: int | None = 0
    permitted: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    shards: int = 0
    replaces: str | None = None
    key_store: str | None = None


@dataclass(frozen=True)
class Terms:
    """What a written ceremony wants of a founding.

    `key` is the name of the key; with `resumed` a run that was cut off may have made it, and it is used. `judge` is
    given the certificate and the URI of its key before anything is kept, and raises what is wrong with them. `beside`:
    its parent is made in the same ceremony, and so had no certificate yet when the ceremony was approved.
    """

    key: str
    resumed: bool
    judge: Callable[[x509.Certificate, str], None]
    beside: bool = False


def create(
    desk: Desk,
    actor: Actor,
    request: AuthorityRequest,
    *,
    now: datetime,
    terms: Terms | None = None,
) -> Authority:
    """Make an authority: its key, its certificate, its CRL counter, and the work that publishes its first CRLs.

    What is to be signed is on record before the parent's key (or its own, for a root) is used. Raises RoleMayNot,
    OutsideScope, BadAuthority, BadConstraint, NameOutsideConstraints, AuthorityExists, SignerUnavailable, KeyStoreOff,
    KeyAlgorithmUnknown, IssuanceOvertaken, the errors of `pki.approvals`; of the parent AuthorityNotFound,
    AuthorityRetired, AuthorityExpired. Under `terms` also what their judge raises; a key that was made stays then, for
    the next run.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    require_authority(actor, request.name)
    parent = checked_parent(desk, actor, request, now)
    subject = subject_of(request)
    if parent is not None:
        check_below(parent, subject, now)
    NameConstraints.parse(request.permitted, request.excluded)
    refuse_taken(desk, request)
    request = _placed(desk, request)
    act = _act(desk, request, parent, beside=terms is not None and terms.beside)
    with asked_for(desk, actor, now=now):
        # Before a key is made; it is used up with the intent.
        look(desk, actor, act, now=now)
    key_uri, key = _new_key(desk, actor, request, terms, now)
    discard = partial(_discard, desk, key_uri) if terms is None else _keep
    spec = spec_for(desk, request, parent, key.public_key(), now)
    if parent is None:
        issuing_key, tbs = key, draft_root(spec)
    else:
        issuing_key = signer(desk, parent)
        tbs = draft_subordinate(spec, parent.certificate, parent.public_key)
    try:
        with asked_for(desk, actor, now=now):
            _record_intent(desk, actor, act, request, parent, spec, tbs, now)
    except (NotPermitted, NotFound, Conflict):
        discard()  # the approval was used or ended meanwhile
        raise
    try:
        certificate = _signed(issuing_key, tbs, parent)
    except KeyStoreError:
        discard()
        raise
    if terms is not None:
        terms.judge(certificate, key_uri)
    try:
        _record_result(desk, actor, request, parent, certificate, key_uri, now)
    except (Conflict, IssuanceOvertaken):
        discard()
        raise
    return load(desk, request.name)


def _placed(desk: Desk, request: AuthorityRequest) -> AuthorityRequest:
    """With the name of the key store: settings may be others when it is approved."""
    return replace(request, key_store=place_for(desk.keys, request.key_store, request.algorithm))


def _keep() -> None:
    """Another run of the same ceremony uses the key, or will."""


def _new_key(
    desk: Desk, actor: Actor, request: AuthorityRequest, terms: Terms | None, now: datetime
) -> tuple[str, PrivateKey]:
    about = f"authority:{request.name}"
    name = f"ca-{request.name}-{desk.entropy(4).hex()}" if terms is None else terms.key
    store = store_at(desk.keys, request.key_store or chosen_place(desk.keys))

    def intend(unit: Unit) -> None:
        leave(unit, actor, "authority.key", about, now=now, outcome="intent", key=name)
        if terms is None:  # else a later run of the same ceremony may use it
            ca_keys.trace(unit, actor, store.uri_of(name), request.name, now)

    desk.store.together(intend)
    try:
        uri = store.generate(name, request.algorithm)
    except KeyExists:
        if terms is None or not terms.resumed:
            raise
        uri = store.uri_of(name)
    return uri, desk.keys.open(uri)


def spec_for(
    desk: Desk,
    request: AuthorityRequest,
    parent: Authority | None,
    public_key: PublicKey,
    now: datetime,
) -> AuthoritySpec:
    """What the certificate shall say; it ends with the parent's at the latest."""
    not_after = (now + request.lifetime).replace(microsecond=0)
    if parent is not None:
        not_after = min(not_after, parent.certificate.not_valid_after_utc)
    # As it is encoded there: peers compare octets.
    named = _kept_subject(desk, request)
    return AuthoritySpec(
        subject=named or subject_of(request),
        public_key=public_key,
        serial=serials.from_random(desk.entropy(serials.BYTES), now),
        not_before=(now - timedelta(minutes=10)).replace(microsecond=0),
        not_after=not_after,
        path_length=request.path_length,
        constraints=NameConstraints.parse(request.permitted, request.excluded),
        pointers=_pointers(desk, parent),
    )


def _kept_subject(desk: Desk, request: AuthorityRequest) -> x509.Name | None:
    """The subject of whom it replaces, where it is to have the same."""
    if request.replaces is None:
        return None
    known = load(desk, request.replaces).certificate.subject
    texts = {request.subject, subject_of(request).rfc4514_string()}
    return known if known.rfc4514_string() in texts else None


def checked_parent(
    desk: Desk, actor: Actor, request: AuthorityRequest, now: datetime
) -> Authority | None:
    """The parent of what is asked for, or who issues in its place, once its form is right; None for a root.

    Raises as `create` says.
    """
    if not NAME.fullmatch(request.name):
        raise BadAuthority("An authority's name has 1 to 40 lower-case letters, digits, hyphens.")
    if request.algorithm not in KEY_ALGORITHMS:
        raise BadAuthority(f"{request.algorithm!r} is not a key algorithm.")
    if not timedelta(days=1) <= request.lifetime <= _MAX_LIFETIME:
        raise BadAuthority("An authority lives between one day and forty years.")
    if not 0 <= request.shards <= 4096:
        raise BadAuthority("A sharded authority has between 1 and 4096 shards; 0 means one CRL.")
    if request.path_length is not None and not 0 <= request.path_length <= 8:
        raise BadAuthority("The path length is between 0 and 8.")
    if request.kind == "root":
        if request.parent is not None:
            raise BadAuthority("A root has no parent.")
        return None
    if request.kind != "issuing":
        raise BadAuthority("An authority is of kind root or issuing.")
    if request.parent is None:
        raise BadAuthority("An issuing authority needs a parent.")
    parent = current(desk, get(desk, actor, request.parent), now=now)
    _check_path_length(request, parent)
    return parent


def _check_path_length(request: AuthorityRequest, parent: Authority) -> None:
    basic = parent.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if basic.path_length is None:
        return
    # RFC 5280 §4.2.1.9: how many non-self-issued intermediates may follow the parent.
    if basic.path_length == 0:
        raise BadAuthority(f"The authority {parent.name!r} may not have authorities below it.")
    if request.path_length is None or request.path_length >= basic.path_length:
        raise BadAuthority(
            f"Below {parent.name!r} the path length is at most {basic.path_length - 1}."
        )


def check_below(parent: Authority, subject: x509.Name, now: datetime) -> None:
    """Make sure that the parent may sign such an authority now. Raises as `create` says."""
    check_in_force(parent, now)
    if subject == parent.certificate.subject:
        # RFC 5280 §3.2: that would be a self-issued certificate, which verifiers count and look for in other ways.
        raise BadAuthority("An authority needs another subject than its parent.")
    for constraints in parent.constraints:
        constraints.check([GeneralName("dn", subject.rfc4514_string())])


def subject_of(request: AuthorityRequest) -> x509.Name:
    """The subject as a name. Raises BadAuthority."""
    try:
        given = x509.Name.from_rfc4514_string(request.subject)
        name = x509.Name([usable_attribute(attribute) for attribute in given])
    except ValueError:
        raise BadAuthority(
            f"{request.subject[:200]!r} is not a distinguished name.",
            next_step="Write it as in CN=Example Issuing CA,O=Example.",
        ) from None
    except SubjectRefused as refused:
        raise BadAuthority(refused.message) from None
    if not list(name):
        # RFC 5280 §4.1.2.6: a CA MUST have a non-empty subject.
        raise BadAuthority("An authority needs a subject.")
    return name


def refuse_taken(desk: Desk, request: AuthorityRequest) -> None:
    """Make sure that nobody has the name or the subject. Raises AuthorityExists, BadAuthority."""
    subject = subject_of(request).rfc4514_string()
    same = [authorities.c.name == request.name]
    if _kept_subject(desk, request) is None:
        same.append(authorities.c.subject == subject)
    query = select(authorities.c.name, authorities.c.subject).where(or_(*same))
    with desk.store.read() as connection:
        taken = connection.execute(query).first()
    if taken is None:
        return
    if taken.name == request.name:
        raise AuthorityExists(f"There is an authority {request.name!r} already.")
    # RFC 5280 §4.1.2.4: an issuer is known by its name; verifiers keep CRLs under it.
    raise AuthorityExists(
        f"The authority {taken.name!r} has this subject already.",
        next_step="Choose another subject: verifiers tell authorities apart by it.",
    )


def _pointers(desk: Desk, parent: Authority | None) -> Pointers:
    if parent is None:
        return Pointers()
    return Pointers(
        crl=full_crl_url(desk, parent.name),
        ocsp=ocsp_url(desk, parent.name),
        ca_issuers=certificate_url(desk, parent.name),
    )


def _record_intent(
    desk: Desk,
    actor: Actor,
    act: Act,
    request: AuthorityRequest,
    parent: Authority | None,
    spec: AuthoritySpec,
    tbs: bytes,
    now: datetime,
) -> None:
    serial = serials.to_hex(spec.serial)

    def work(unit: Unit) -> None:
        said = require_approval(unit, desk, actor, act, now=now)
        if parent is not None:
            check_still(unit.connection, parent)
            insert(unit.connection, certificates, pending_row(actor, parent, spec, tbs, now))
        leave(
            unit,
            actor,
            "authority.sign",
            f"authority:{request.name}",
            now=now,
            outcome="intent",
            serial=serial,
            signed_by=parent.name if parent else request.name,
            **said,
        )

    desk.store.together(work)


def _act(
    desk: Desk, request: AuthorityRequest, parent: Authority | None, *, beside: bool = False
) -> Act:
    """What another person must approve: all of it. Below a parent it is an issue of a CA's certificate, too."""
    names: tuple[Guarded, ...] = (Guarded.AUTHORITY_CREATE,)
    if request.parent is not None:
        names = (*names, Guarded.AUTHORITY_ISSUE)
    if parent is None:
        return Act(names, bound(desk, request, None, None))
    return Act(names, bound(desk, request, parent.name, None if beside else parent.sha256))


def bound(
    desk: Desk, request: AuthorityRequest, signed_by: str | None, parent_sha256: str | None
) -> dict[str, object]:
    """What an approval of a founding is for: the request, and what the names in it mean at this moment. Who signs may
    be the successor of the parent that is named. Raises AuthorityNotFound.
    """
    replaces = None if request.replaces is None else load(desk, request.replaces).sha256
    return {
        **vars(request),
        "key_store": request.key_store or chosen_place(desk.keys),
        "signed_by": signed_by,
        "parent_sha256": parent_sha256,
        "replaces_sha256": replaces,
    }


def pending_row(
    actor: Actor, parent: Authority, spec: AuthoritySpec, tbs: bytes, now: datetime
) -> dict[str, object]:
    """The row of a certificate that will be signed."""
    return {
        "authority_id": parent.id,
        "serial": serials.to_hex(spec.serial),
        "status": "pending",
        "profile": PROFILE,
        "subject": spec.subject.rfc4514_string(),
        "names": "",
        "not_before": spec.not_before,
        "not_after": spec.not_after,
        "shard": parent.shard_of(spec.serial),
        "tbs": tbs,
        "spki_sha256": spki_sha256(spec.public_key),
        "requested_by": actor.name,
        "credential": "",
        "gateway": None,
        "request_id": actor.request_id,
        "created_at": now,
        "renewed_from": None,
    }


def _signed(key: PrivateKey, tbs: bytes, parent: Authority | None) -> x509.Certificate:
    signature = sign(key, tbs, default_hash(key.public_key()))
    certificate = x509.load_der_x509_certificate(complete(tbs, signature))
    verify_made(certificate, certificate if parent is None else parent.certificate)
    return certificate


def verify_made(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise KeyDoesNotFit unless the issuer's key signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        raise KeyDoesNotFit("The signature that came back does not verify.") from None


def _record_result(
    desk: Desk,
    actor: Actor,
    request: AuthorityRequest,
    parent: Authority | None,
    certificate: x509.Certificate,
    key_uri: str,
    now: datetime,
) -> None:
    der = certificate.public_bytes(serialization.Encoding.DER)
    serial = serials.to_hex(certificate.serial_number)
    row = {
        "name": request.name,
        "kind": request.kind,
        "status": ACTIVE if request.replaces is None else PREPARED,
        "parent_id": parent.id if parent else None,
        "subject": certificate.subject.rfc4514_string(),
        "certificate": der,
        "key_uri": key_uri,
        "serial": serial,
        "shards": request.shards,
        "crl_hours": hours(desk.rules.crl_lifetime),
        "delta_hours": hours(desk.rules.delta_lifetime),
        "ocsp_hours": hours(desk.rules.ocsp_lifetime),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "created_at": now,
        "created_by": actor.name,
    }

    def work(unit: Unit) -> None:
        if parent is not None:
            settle_pending(unit, parent, serial, der, now)
        inserted = authorities.insert().values(**row).returning(authorities.c.id)
        authority_id = unit.connection.execute(inserted).scalar_one()
        unit.insert(crl_numbers, {"authority_id": authority_id, "number": 0})
        about = f"authority:{request.name}"
        leave(unit, actor, "authority.create", about, now=now, serial=serial)
        payload = {"authority": request.name}
        outbox.put(unit, topic="authority.made", key=request.name, payload=payload, now=now)
        if request.replaces is not None:
            begin(unit, actor, (request.replaces, request.name), authority_id, now)

    try:
        desk.store.together(work)
    except Duplicate:
        raise AuthorityExists(f"There is an authority {request.name!r} already.") from None


def _discard(desk: Desk, key_uri: str) -> None:
    # Nobody will use it. Some stores do not let us destroy an authority's key, and none can while it is away.
    with suppress(KeyStoreError):
        desk.keys.destroy(key_uri)


def settle_pending(unit: Unit, parent: Authority, serial: str, der: bytes, now: datetime) -> None:
    """Put the signed certificate on record. Raises IssuanceOvertaken."""
    settled = unit.connection.execute(
        update(certificates)
        .where(
            certificates.c.authority_id == parent.id,
            certificates.c.serial == serial,
            certificates.c.status == "pending",
        )
        .values(
            status="valid",
            tbs=None,
            der=der,
            fingerprint=hashlib.sha256(der).hexdigest(),
            issued_at=now,
        )
    )
    if settled.rowcount != 1:
        raise IssuanceOvertaken("Signing took too long and was given up.")


def hours(duration: timedelta) -> int:
    """Whole hours, at least one."""
    return max(1, int(duration.total_seconds() // 3600))
