"""Delegated OCSP signers (RFC 6960 §4.2.2.2): one key and certificate per authority at a time, renewed by itself.

The authority's own key then signs only certificates and CRLs, and an answering process never needs it.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Select, and_, delete, select

from core.errors import IkewardenError, Unavailable
from hsm.errors import KeyNotFound, KeyStoreError
from hsm.keystores import store_for
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, PrivateKey
from pki import authorities, issuance
from pki.actors import Action, Actor, require, require_authority
from pki.authorities import Authority
from pki.desk import Desk
from pki.trail import leave
from pki.x509 import serials
from pki.x509.constraints import NameOutsideConstraints
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName
from pki.x509.ocsp import ResponderKey
from pki.x509.signing import default_hash
from store import holders, leases
from store.engine import Unit
from store.tables import audit_events, certificates, ocsp_signers
from store.tables import authorities as owners

PROFILE = "ocsp-responder"
MADE, DESTROYED = "ocsp.key", "ocsp.key.destroy"
# Making a signer takes milliseconds, or as long as a signer over a network takes.
_MAKING = timedelta(minutes=1)
# For how long a key that nobody uses is left alone: somebody may be about to.
_UNUSED = timedelta(days=1)


# Verifiers do not ask about a signer (RFC 6960 §4.2.2.2.1, ocsp-nocheck): it is ours not to use one that is revoked or
# on hold.
COUNTS = and_(
    certificates.c.authority_id == ocsp_signers.c.authority_id,
    certificates.c.serial == ocsp_signers.c.serial,
    certificates.c.status == "valid",
)


class NoOcspSigner(Unavailable):
    """The authority has no valid delegated signer yet; the scheduler makes one."""

    code = "ocsp_signer_missing"
    next_step = "See that the scheduler runs: it makes the signer within a second."


def current(desk: Desk, authority: Authority, *, now: datetime) -> ResponderKey:
    """The signer to use now, the youngest valid one that is neither revoked nor on hold.

    Raises NoOcspSigner, SignerUnavailable.
    """
    with desk.store.read() as connection:
        row = connection.execute(_usable(authority.id, now)).one_or_none()
    if row is None:
        raise NoOcspSigner(f"The authority {authority.name!r} has no OCSP signer.")
    certificate = x509.load_der_x509_certificate(row.certificate)
    return ResponderKey(certificate, desk.keys.open(row.key_uri))


def _usable(authority_id: int, now: datetime) -> Select[Any]:
    return (
        select(ocsp_signers)
        .join(certificates, COUNTS)
        .where(
            ocsp_signers.c.authority_id == authority_id,
            ocsp_signers.c.not_before <= now,
            ocsp_signers.c.not_after > now,
        )
        .order_by(ocsp_signers.c.not_after.desc())
        .limit(1)
    )


@dataclass(frozen=True)
class SignerView:
    """The certificate of a delegated signer."""

    serial: str
    not_before: datetime
    not_after: datetime


def get(desk: Desk, actor: Actor, authority: str, *, now: datetime) -> SignerView | None:
    """The signer that an authority answers by now, if it has one; its key is not opened.

    Raises RoleMayNot, OutsideScope, AuthorityNotFound.
    """
    require(actor, Action.AUTHORITY_READ)
    require_authority(actor, authority)
    owner = authorities.load(desk, authority)
    with desk.store.read() as connection:
        row = connection.execute(_usable(owner.id, now)).one_or_none()
    return None if row is None else SignerView(row.serial, row.not_before, row.not_after)


def ensure(desk: Desk, actor: Actor, authority_name: str, *, now: datetime) -> bool:
    """Make a new signer when none counts or two thirds of the newest one's life are over; tell whether it did.

    An authority whose time is over gets none: nobody would believe it. Of several that try at once, one does.
    Raises RoleMayNot, AuthorityNotFound, SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority_name)
    if owner.ends_at <= now or not _due(desk, owner, now):
        return False
    holder = holders.name_of_this_process(desk.entropy(8).hex())
    lease = leases.take(desk.store, f"ocsp_signer:{owner.name}", holder, _MAKING, now)
    if lease is None:
        return False
    try:
        due = _due(desk, owner, now)
        if due:
            _make(desk, actor, owner, now)
    finally:
        leases.release(desk.store, lease)
    return due


def counts(unit: Unit, authority_id: int, signer: ResponderKey) -> bool:
    """Whether answers of this signer may be kept. It cannot be revoked before the transaction ends.

    Whoever has it locked is ending it; waiting for him, with other rows locked, could be a deadlock.
    """
    serial = serials.to_hex(signer.certificate.serial_number)
    query = select(certificates.c.id).where(
        certificates.c.authority_id == authority_id,
        certificates.c.serial == serial,
        certificates.c.status == "valid",
    )
    free = query.with_for_update(read=True, skip_locked=True)
    return unit.connection.execute(free).first() is not None


def _due(desk: Desk, owner: Authority, now: datetime) -> bool:
    query = (
        select(ocsp_signers.c.not_before, ocsp_signers.c.not_after)
        .join(certificates, COUNTS)
        # Not one that a clock made that was ahead: nobody may use it yet.
        .where(ocsp_signers.c.authority_id == owner.id, ocsp_signers.c.not_before <= now)
        .order_by(ocsp_signers.c.not_after.desc())
        .limit(1)
    )
    with desk.store.read() as connection:
        newest = connection.execute(query).one_or_none()
    if newest is None:
        return True
    life = newest.not_after - newest.not_before
    # Near the authority's own end a new signer would live no longer than the old one.
    last = newest.not_after >= owner.certificate.not_valid_after_utc
    return bool(now >= (newest.not_after if last else newest.not_before + life * 2 / 3))


def _make(desk: Desk, actor: Actor, owner: Authority, now: datetime) -> None:
    name = f"ocsp-{owner.name}-{now:%Y%m%d}-{desk.entropy(4).hex()}"
    algorithm = _algorithm(owner)
    key_uri = store_for(desk.keys, algorithm).generate(name, algorithm)
    desk.store.together(lambda unit: _leave_key(unit, actor, MADE, owner.name, key_uri, now))
    try:
        key = desk.keys.open(key_uri)
        csr = _request(owner, key)
        request = issuance.IssueRequest(csr, PROFILE, owner.name, itself=True)
        issued = issuance.issue(desk, actor, request, now=now)
    except IkewardenError:
        # Nobody will use it. What the key store does not let go of now, `remove_dropped` removes later.
        with suppress(KeyStoreError):
            _destroy(desk, actor, owner.name, key_uri, now)
        raise

    def work(unit: Unit) -> None:
        unit.insert(
            ocsp_signers,
            {
                "authority_id": owner.id,
                "key_uri": key_uri,
                "certificate": issued.der,
                "serial": issued.serial,
                "not_before": issued.not_before,
                "not_after": issued.not_after,
                "created_at": now,
            },
        )
        leave(unit, actor, "ocsp.signer", f"authority:{owner.name}", now=now, serial=issued.serial)

    desk.store.together(work)


def _algorithm(owner: Authority) -> KeyAlgorithm:
    # The signer's algorithm is one that whoever verified the authority's signature can verify too.
    kind = key_algorithm(owner.public_key)
    if kind.startswith("rsa"):
        return "rsa-2048"
    return kind if kind in KEY_ALGORITHMS else "ec-p256"


def _request(owner: Authority, key: PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        permitted_subject(owner, f"OCSP signer of {owner.name}")
    )
    return builder.sign(key, default_hash(key.public_key())).public_bytes(
        serialization.Encoding.DER
    )


def permitted_subject(owner: Authority, common_name: str) -> x509.Name:
    """A name for a certificate of the service's own that the authority and those above it permit: where they permit
    some directories only, in one of these.
    """
    common = x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64])
    places = [
        list(x509.Name.from_rfc4514_string(tree.base))
        for limits in owner.constraints
        for tree in limits.permitted
        if tree.kind == "dn"
    ]
    for place in ([], *places):
        name = x509.Name([*place, common])
        with suppress(NameOutsideConstraints):
            for limits in owner.constraints:
                limits.check([GeneralName("dn", name.rfc4514_string())])
            return name
    return x509.Name([common])  # nothing fits: issuance tells what is against it


def remove_expired(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Destroy keys of signers that ended more than a day ago; tell how many. Raises RoleMayNot, SignerUnavailable."""
    require(actor, Action.JOB_RUN)
    query = (
        select(ocsp_signers.c.id, ocsp_signers.c.key_uri, owners.c.name)
        .join_from(ocsp_signers, owners)
        .where(ocsp_signers.c.not_after < now - _UNUSED)
    )
    with desk.store.read() as connection:
        old = connection.execute(query).all()
    for row in old:
        _destroy(desk, actor, row.name, row.key_uri, now)
        with desk.store.write() as connection:
            connection.execute(delete(ocsp_signers).where(ocsp_signers.c.id == row.id))
    return len(old)


def remove_dropped(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Destroy keys that were made for signers which never came to be, because the process died or the certificate was
    refused; tell how many.

    Only keys that our own records say we made are touched: other instances may use the same token. Raises RoleMayNot,
    SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    gone = 0
    for name in authorities.all_names(desk):
        for key_uri in _dropped(desk, name, now):
            _destroy(desk, actor, name, key_uri, now)
            gone += 1
    return gone


def _dropped(desk: Desk, owner: str, now: datetime) -> list[str]:
    left = select(audit_events).where(audit_events.c.object == _about_key(owner))
    with desk.store.read() as connection:
        events = connection.execute(left).all()
        used = set(connection.scalars(select(ocsp_signers.c.key_uri)))
    ended = {event.detail["key"] for event in events if event.action == DESTROYED}
    made = {event.detail["key"]: event.at for event in events if event.action == MADE}
    return [
        key_uri
        for key_uri, at in made.items()
        if key_uri not in ended | used and at < now - _UNUSED
    ]


def _destroy(desk: Desk, actor: Actor, owner: str, key_uri: str, now: datetime) -> None:
    with suppress(KeyNotFound):  # destroyed before, when the process died on the next line
        desk.keys.destroy(key_uri)
    desk.store.together(lambda unit: _leave_key(unit, actor, DESTROYED, owner, key_uri, now))


def _leave_key(
    unit: Unit, actor: Actor, action: str, owner: str, key_uri: str, now: datetime
) -> None:
    leave(unit, actor, action, _about_key(owner), now=now, key=key_uri)


def _about_key(owner: str) -> str:
    return f"ocsp-key:{owner}"
