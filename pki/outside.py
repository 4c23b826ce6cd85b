"""Authorities whose parent is outside: a request goes out and a certificate comes in; and, on the parent's machine, the
signature for one.

The key is made first and waits: the audit log says of which name, subject and kind. A certificate is taken only for the
key that waits, and only with the root that signed it and that root's list. Such a root stands among the authorities
without a key (`pki.authorities.OUTSIDE`).
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from core.errors import Conflict, InvalidInput, NotFound
from hsm.errors import KeyExists
from hsm.keystores import place_for, place_of, store_at
from hsm.ports import KEY_ALGORITHMS
from pki import authorities, founding, publication, standing
from pki.actors import Action, Actor, require, require_authority, require_whole
from pki.approvals import asked_for, look, require_approval
from pki.authorities import OUTSIDE, PREPARED, PROFILE, Authority, full_crl_url, sha256, signer
from pki.conditions import check_still
from pki.desk import Desk
from pki.founding import AuthorityExists, AuthorityRequest, BadAuthority
from pki.guarded import Act, Guarded
from pki.publication import FULL, Crl
from pki.rollover.records import begin
from pki.trail import leave
from pki.x509 import serials
from pki.x509.authority import draft_subordinate
from pki.x509.constraints import NameConstraints
from pki.x509.csr import SigningRequest, read_csr
from pki.x509.keys import key_algorithm
from pki.x509.malformed import MALFORMED
from pki.x509.names import GeneralName
from pki.x509.signing import complete, default_hash, sign
from store import outbox
from store.engine import Unit
from store.errors import Duplicate
from store.tables import audit_events, certificates, crl_numbers
from store.tables import authorities as authorities_table
from store.unit import insert

REQUESTED: Final = "authority.request"
# What the database can compare. RFC 5280 §5.2.3 allows 20 octets.
_GREATEST: Final = 2**63 - 1
_DER: Final = serialization.Encoding.DER
_PEM: Final = serialization.Encoding.PEM


class RequestNotFound(NotFound):
    """No key of this name waits for a certificate."""

    code = "authority_request_not_found"
    next_step = "Make the request first: `ikewarden ca request NAME`."


class RequestDiffers(Conflict):
    """A key of this name waits already, for another subject or of another kind."""

    code = "authority_request_differs"
    next_step = "Ask for the same again, or choose another name."


class CertificateUnfit(InvalidInput):
    """What was brought in is not the certificate that was asked for, or not from the root that was named."""

    code = "authority_certificate_unfit"
    next_step = "Look at the certificate with `openssl x509 -text`, and have it signed anew for the same request."


@dataclass(frozen=True)
class Above:
    """The root outside: the name that it gets here, its certificate and its newest list, PEM or DER."""

    name: str
    certificate: bytes
    crl: bytes


def ask(desk: Desk, actor: Actor, wanted: AuthorityRequest, *, now: datetime) -> bytes:
    """Make the key of an authority and give its request (PKCS#10, PEM); asked again, for the same key.

    `name`, `subject`, `algorithm`, `key_store` and `replaces` count; the rest is for who signs it. Raises RoleMayNot,
    OutsideScope, BadAuthority, AuthorityExists, RequestDiffers, KeyStoreOff, and what the key store raises.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    require_authority(actor, wanted.name)
    if not founding.NAME.fullmatch(wanted.name) or wanted.algorithm not in KEY_ALGORITHMS:
        raise BadAuthority("An authority's name has 1 to 40 lower-case letters, digits, hyphens.")
    subject = founding.subject_of(wanted)
    founding.refuse_taken(desk, wanted)
    waiting = _waiting(desk, wanted.name)
    asked = {"subject": subject.rfc4514_string(), "algorithm": wanted.algorithm}
    if wanted.replaces is not None:
        asked |= {"replaces": wanted.replaces}
    known = {name: value for name, value in (waiting or {}).items() if name != "key"}
    elsewhere = waiting and wanted.key_store not in {None, place_of(waiting["key"])}
    if waiting is not None and (known != asked or elsewhere):
        raise RequestDiffers(f"A key of {wanted.name!r} waits for another certificate.")
    uri = waiting["key"] if waiting is not None else _new_key(desk, actor, wanted, asked, now)
    key = desk.keys.open(uri)
    builder = x509.CertificateSigningRequestBuilder(subject_name=subject)
    return builder.sign(key, default_hash(key.public_key())).public_bytes(_PEM)


def certify(
    desk: Desk, actor: Actor, wanted: AuthorityRequest, csr: bytes, *, now: datetime
) -> x509.Certificate:
    """Sign the certificate of an authority whose key is elsewhere; for the same key again, give the one that there is.

    The request must have the subject and the kind of key that are `wanted`; nothing else of it counts. No OCSP
    responder is named: who keeps a root offline does not answer for it. Raises RoleMayNot, OutsideScope, BadAuthority,
    RequestDiffers, the errors of `read_csr`, of the parent, of `pki.approvals`; SignerUnavailable, IssuanceOvertaken.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    require_authority(actor, wanted.name)
    parent = founding.checked_parent(desk, actor, wanted, now)
    if parent is None:
        raise BadAuthority("A root signs itself.")
    request = read_csr(csr)
    _check_request(wanted, request)
    founding.check_below(parent, request.subject, now)
    known = _signed(desk, parent, request)
    if known is not None:
        _check_same(wanted, known)
        return known
    # The parent that was named may have a successor by the time it is done, who signs in its place.
    keys = {"spki_sha256": request.spki_sha256, "parent_sha256": parent.sha256}
    act = Act((Guarded.AUTHORITY_ISSUE,), {**vars(wanted), "signed_by": parent.name, **keys})
    with asked_for(desk, actor, now=now):
        look(desk, actor, act, now=now)
    spec = founding.spec_for(desk, wanted, parent, request.public_key, now)
    spec = replace(spec, pointers=replace(spec.pointers, ocsp=None))
    key = signer(desk, parent)
    tbs = draft_subordinate(spec, parent.certificate, parent.public_key)
    serial, about = serials.to_hex(spec.serial), f"authority:{wanted.name}"

    def intend(unit: Unit) -> None:
        said = require_approval(unit, desk, actor, act, now=now)
        check_still(unit.connection, parent)
        insert(unit.connection, certificates, founding.pending_row(actor, parent, spec, tbs, now))
        signed_by = {"signed_by": parent.name, "spki_sha256": request.spki_sha256, **said}
        leave(
            unit,
            actor,
            "authority.sign",
            about,
            now=now,
            outcome="intent",
            serial=serial,
            **signed_by,
        )

    with asked_for(desk, actor, now=now):
        desk.store.together(intend)
    der = complete(tbs, sign(key, tbs, default_hash(parent.public_key)))
    made = x509.load_der_x509_certificate(der)
    founding.verify_made(made, parent.certificate)

    def settle(unit: Unit) -> None:
        founding.settle_pending(unit, parent, serial, der, now)
        leave(unit, actor, "authority.certify", about, now=now, serial=serial)

    desk.store.together(settle)
    return made


def install(
    desk: Desk, actor: Actor, name: str, certificate: bytes, above: Above, *, now: datetime
) -> Authority:
    """Take the certificate that was asked for, its root, and that root's list; the authority issues from then on. One
    that is to succeed another begins a rollover, and issues when that is published.

    Raises RoleMayNot, OutsideScope, RequestNotFound, CertificateUnfit, AuthorityExists, NameOutsideConstraints,
    RolloverUnderWay, AuthorityRetired, the errors of `pki.approvals`, and what the key store raises.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    require_authority(actor, name)
    waiting = _waiting(desk, name)
    if waiting is None:
        raise RequestNotFound(f"No key of {name[:100]!r} waits for a certificate.")
    own, root = _certificate(certificate), _certificate(above.certificate)
    _check_pair(own, root, now)
    if desk.keys.open(waiting["key"]).public_key() != own.public_key():
        raise CertificateUnfit("The certificate is for another key than the one that waits.")
    if own.subject.rfc4514_string() != waiting["subject"]:
        raise CertificateUnfit("The certificate has another subject than was asked for.")
    _check_place(desk, own, above.name)
    crl = _list(above.crl, root, now)
    if crl.get_revoked_certificate_by_serial_number(own.serial_number) is not None:
        raise CertificateUnfit("The root's list says that the certificate is revoked.")
    parent_id = _known_root(desk, above.name, root)
    _put(desk, actor, name, own, waiting, (above.name, root, parent_id), now)
    owner = authorities.load(desk, above.name)
    held = publication.published_number(desk, above.name, FULL)
    if held is None or _number(crl) >= held:
        _take(desk, actor, owner, crl, now)
    return authorities.load(desk, name)


def take_list(desk: Desk, actor: Actor, name: str, crl: bytes, *, now: datetime) -> Crl:
    """Take a newer list of a root outside; the one that is held, again. Raises RoleMayNot, AuthorityNotFound,
    CertificateUnfit.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    owner = authorities.get(desk, actor, name)
    if owner.status != OUTSIDE:
        raise CertificateUnfit(
            f"The authority {name!r} makes its lists here.", next_step="None is needed."
        )
    fresh = _list(crl, owner.certificate, now)
    held = publication.published_number(desk, name, FULL)
    if held is not None and _number(fresh) < held:
        raise _list_unfit(
            f"The list has the number {_number(fresh)}, and number {held} is held already: it was not taken."
        )
    return _take(desk, actor, owner, fresh, now)


def _take(
    desk: Desk, actor: Actor, root: Authority, crl: x509.CertificateRevocationList, now: datetime
) -> Crl:
    """Take a list that is not older than the one that is held. A death in between is mended by the same list again."""
    desk.store.together(lambda unit: standing.follow(unit, actor, root, crl, now))
    return publication.take(desk, actor, root, crl, now=now)


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _new_key(
    desk: Desk, actor: Actor, wanted: AuthorityRequest, asked: dict[str, str], now: datetime
) -> str:
    """The key; if an earlier run was cut off after it made one, that one."""
    about, key = f"authority:{wanted.name}", f"ca-{wanted.name}-outside"
    place = place_for(desk.keys, wanted.key_store, wanted.algorithm)
    store = store_at(desk.keys, place)
    query = select(audit_events.c.detail).where(
        audit_events.c.action == "authority.key", audit_events.c.object == about
    )
    with desk.store.read() as connection:
        begun = any(each.get("key") == key for each in connection.scalars(query))
    desk.store.together(
        lambda unit: leave(unit, actor, "authority.key", about, now=now, outcome="intent", key=key)
    )
    try:
        uri = store.generate(key, wanted.algorithm)
    except KeyExists:
        if not begun:
            raise
        uri = store.uri_of(key)
    desk.store.together(
        lambda unit: leave(unit, actor, REQUESTED, about, now=now, key=uri, **asked)
    )
    return uri


def _waiting(desk: Desk, name: str) -> dict[str, Any] | None:
    query = select(audit_events.c.detail).where(
        audit_events.c.action == REQUESTED, audit_events.c.object == f"authority:{name}"
    )
    with desk.store.read() as connection:
        return connection.scalars(query.order_by(audit_events.c.id).limit(1)).one_or_none()


def _check_request(wanted: AuthorityRequest, request: SigningRequest) -> None:
    if request.subject != founding.subject_of(wanted):
        raise BadAuthority(
            f"The request is of {request.subject.rfc4514_string()[:200]!r}, not of the subject that was named."
        )
    found = key_algorithm(request.public_key)
    if found != wanted.algorithm:
        raise BadAuthority(f"The request has a key of the kind {found}, not {wanted.algorithm}.")
    NameConstraints.parse(wanted.permitted, wanted.excluded)


def _signed(desk: Desk, parent: Authority, request: SigningRequest) -> x509.Certificate | None:
    """What was signed for the same key before: a run may have been cut off before anybody saw it."""
    query = select(certificates.c.der).where(
        certificates.c.authority_id == parent.id,
        certificates.c.spki_sha256 == request.spki_sha256,
        certificates.c.profile == PROFILE,
        certificates.c.status == "valid",
    )
    with desk.store.read() as connection:
        der = connection.scalars(query.limit(1)).one_or_none()
    return None if der is None else x509.load_der_x509_certificate(der)


def _check_same(wanted: AuthorityRequest, known: x509.Certificate) -> None:
    limits = NameConstraints.parse(wanted.permitted, wanted.excluded)
    if (wanted.path_length, limits) != (_path_length(known), NameConstraints.of(known)):
        raise RequestDiffers(
            "A certificate with other limits was signed for this key.",
            next_step="Take that one, or make a request with a new key.",
        )


def _certificate(data: bytes) -> x509.Certificate:
    try:
        if data.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except MALFORMED:
        raise CertificateUnfit("This is no certificate.") from None


def _check_pair(own: x509.Certificate, root: x509.Certificate, now: datetime) -> None:
    """That the root may sign authorities, that it signed this one, and that this one keeps to its limits."""
    for certificate, what in ((root, "root"), (own, "certificate")):
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise CertificateUnfit(f"The {what} is not valid now.")
        try:
            certificate.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError):
            raise CertificateUnfit(f"The {what} was not signed by the root.") from None
    above, below = _path_length(root), _path_length(own)
    if above is not None and (above == 0 or below is None or below >= above):
        raise CertificateUnfit("The root does not allow an authority of this path length below it.")
    if own.subject == root.subject or own.public_key() == root.public_key():
        raise CertificateUnfit("The certificate is the root's own.")
    NameConstraints.of(root).check([GeneralName("dn", own.subject.rfc4514_string())])


def _check_place(desk: Desk, own: x509.Certificate, name: str) -> None:
    """Where the certificate says that the root's list is with us, it must be that of the name that the root gets."""
    try:
        points = own.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return
    for url in (each.value for point in points for each in point.full_name or ()):
        if url.startswith(f"{desk.rules.validation_url}/") and url != full_crl_url(desk, name):
            raise CertificateUnfit(
                f"The certificate says that the root's list is at {url[:200]}.",
                next_step="Give the root the name that it has on its own machine.",
            )


def _path_length(certificate: x509.Certificate) -> int | None:
    """RFC 5280 §4.2.1.3, §4.2.1.9: who signs certificates and lists says so. Raises CertificateUnfit."""
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise CertificateUnfit("It is not the certificate of an authority.") from None
    if not (basic.ca and usage.key_cert_sign and usage.crl_sign):
        raise CertificateUnfit("It is not the certificate of an authority.")
    return basic.path_length


def _list(data: bytes, root: x509.Certificate, now: datetime) -> x509.CertificateRevocationList:
    try:
        pem = data.lstrip().startswith(b"-----")
        crl = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        number = _number(crl)
        public: Any = root.public_key()
        right = crl.issuer == root.subject and crl.is_signature_valid(public)
    except (*MALFORMED, TypeError, x509.ExtensionNotFound):
        raise _list_unfit("This is no revocation list with a number.") from None
    if not right:
        raise _list_unfit("The revocation list is not the root's.")
    # RFC 5280 §5.2: who does not know a critical extension must not take the list for what it seems. Those that there
    # are say that it is a part: a delta (§5.2.4), or what is of one scope (§5.2.5).
    if any(each.critical for each in crl.extensions):
        raise _list_unfit(
            "The revocation list is not the root's whole one: it is a delta, or of a part."
        )
    if not 0 <= number <= _GREATEST:
        raise _list_unfit(f"The number of the revocation list is over {_GREATEST}.")
    if crl.next_update_utc is None or not crl.last_update_utc <= now < crl.next_update_utc:
        raise _list_unfit("The revocation list is not valid now.")
    return crl


def _list_unfit(message: str) -> CertificateUnfit:
    return CertificateUnfit(
        message,
        next_step="Look at the list with `openssl crl -text`; `ikewarden ca crl NAME --out FILE` on the root's machine "
        "makes a fresh one.",
    )


def _known_root(desk: Desk, name: str, root: x509.Certificate) -> int | None:
    """The id of a root that is here already; None where it has to be put on record. Raises AuthorityExists."""
    if name in authorities.all_names(desk):
        known = authorities.load(desk, name)
        if known.certificate != root:
            raise AuthorityExists(f"The authority {name!r} has another certificate.")
        return known.id
    if not founding.NAME.fullmatch(name):
        raise BadAuthority("An authority's name has 1 to 40 lower-case letters, digits, hyphens.")
    founding.refuse_taken(desk, AuthorityRequest(name, "root", root.subject.rfc4514_string()))
    return None


def _put(
    desk: Desk,
    actor: Actor,
    name: str,
    own: x509.Certificate,
    waiting: dict[str, Any],
    above: tuple[str, x509.Certificate, int | None],
    now: datetime,
) -> None:
    root_name, root, root_id = above
    taken: dict[str, Any] = {
        "name": name,
        **_told(own),
        "key_store": place_of(waiting["key"]),
        "parent": root_name,
        **{f"parent_{what}": value for what, value in _told(root).items()},
    }
    old = (
        None if (replaces := waiting.get("replaces")) is None else authorities.load(desk, replaces)
    )
    if old is not None:
        taken |= {"replaces": old.name, "replaces_sha256": old.sha256}
    act = Act((Guarded.AUTHORITY_CREATE,), taken)

    def work(unit: Unit) -> None:
        said = require_approval(unit, desk, actor, act, now=now)
        parent_id = root_id
        if parent_id is None:
            row = _row(desk, actor, root_name, root, now) | {"kind": "root", "status": OUTSIDE}
            parent_id = _insert(unit, row)
        row = _row(desk, actor, name, own, now)
        row |= {"key_uri": waiting["key"], "parent_id": parent_id}
        if old is not None:
            row |= {"status": PREPARED, "shards": old.shards}
        number = _insert(unit, row)
        unit.insert(crl_numbers, {"authority_id": number, "number": 0})
        if old is not None:
            begin(unit, actor, (old.name, name), number, now)
        leave(unit, actor, "authority.install", f"authority:{name}", now=now, **taken, **said)
        outbox.put(unit, topic="authority.made", key=name, payload={"authority": name}, now=now)

    try:
        with asked_for(desk, actor, now=now):
            desk.store.together(work)
    except Duplicate:
        raise AuthorityExists(f"There is an authority {name!r} or {root_name!r} already.") from None


def _told(certificate: x509.Certificate) -> dict[str, Any]:
    """What a certificate makes of an authority, for whoever approves it and has not seen the file."""
    limits, path_length = NameConstraints.of(certificate), _path_length(certificate)
    key = certificate.public_key()
    spki = key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "sha256": sha256(certificate),
        "subject": certificate.subject.rfc4514_string(),
        "serial": serials.to_hex(certificate.serial_number),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "path_length": path_length,
        "permitted": [str(tree) for tree in limits.permitted],
        "excluded": [str(tree) for tree in limits.excluded],
        "algorithm": key_algorithm(key),
        "spki_sha256": hashlib.sha256(spki).hexdigest(),
    }


def _insert(unit: Unit, row: dict[str, object]) -> int:
    inserted = authorities_table.insert().values(**row).returning(authorities_table.c.id)
    return int(unit.connection.execute(inserted).scalar_one())


def _row(
    desk: Desk, actor: Actor, name: str, certificate: x509.Certificate, now: datetime
) -> dict[str, object]:
    return {
        "name": name,
        "kind": "issuing",
        "status": "active",
        "parent_id": None,
        "subject": certificate.subject.rfc4514_string(),
        "certificate": certificate.public_bytes(_DER),
        "key_uri": "",
        "serial": serials.to_hex(certificate.serial_number),
        "shards": 0,
        "crl_hours": founding.hours(desk.rules.crl_lifetime),
        "delta_hours": founding.hours(desk.rules.delta_lifetime),
        "ocsp_hours": founding.hours(desk.rules.ocsp_lifetime),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "created_at": now,
        "created_by": actor.name,
    }
