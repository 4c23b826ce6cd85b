"""Delegated OCSP signers (RFC 6960 §4.2.2.2): one key and certificate per authority at a time, renewed by itself.

The authority's own key then signs only certificates and CRLs, and an answering process never needs it.
"""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import delete, select

from core.errors import Unavailable
from hsm.errors import KeyNotFound
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, PrivateKey
from pki import authorities, issuance
from pki.actors import Action, Actor, require
from pki.authorities import Authority
from pki.desk import Desk
from pki.trail import leave
from pki.x509.keys import key_algorithm
from pki.x509.ocsp import ResponderKey
from pki.x509.signing import default_hash
from store import leases
from store.engine import Unit
from store.tables import ocsp_signers

PROFILE = "ocsp-responder"
# Making a signer takes milliseconds, or as long as a signer over a network takes.
_MAKING = timedelta(minutes=1)


class NoOcspSigner(Unavailable):
    """The authority has no valid delegated signer yet; the scheduler makes one."""

    code = "ocsp_signer_missing"
    next_step = "See that the scheduler runs: it makes the signer within a second."


def current(desk: Desk, authority: Authority, *, now: datetime) -> ResponderKey:
    """The signer to use now, the youngest valid one. Raises NoOcspSigner, SignerUnavailable."""
    query = (
        select(ocsp_signers.c.key_uri, ocsp_signers.c.certificate)
        .where(
            ocsp_signers.c.authority_id == authority.id,
            ocsp_signers.c.not_before <= now,
            ocsp_signers.c.not_after > now,
        )
        .order_by(ocsp_signers.c.not_after.desc())
        .limit(1)
    )
    with desk.store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NoOcspSigner(f"The authority {authority.name!r} has no OCSP signer.")
    certificate = x509.load_der_x509_certificate(row.certificate)
    return ResponderKey(certificate, desk.keys.open(row.key_uri))


def ensure(desk: Desk, actor: Actor, authority_name: str, *, now: datetime) -> bool:
    """Make a new signer when there is none or two thirds of the newest one's life are over; tell whether it did.

    Of several that try at once, one does. Raises RoleMayNot, AuthorityNotFound, SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    owner = authorities.load(desk, authority_name)
    if not _due(desk, owner, now):
        return False
    lease = leases.take(
        desk.store, f"ocsp_signer:{owner.name}", desk.entropy(8).hex(), _MAKING, now
    )
    if lease is None:
        return False
    try:
        due = _due(desk, owner, now)
        if due:
            _make(desk, actor, owner, now)
    finally:
        leases.release(desk.store, lease)
    return due


def _due(desk: Desk, owner: Authority, now: datetime) -> bool:
    query = (
        select(ocsp_signers.c.not_before, ocsp_signers.c.not_after)
        .where(ocsp_signers.c.authority_id == owner.id)
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
    key_uri = desk.keys.generate(name, _algorithm(owner))
    key = desk.keys.open(key_uri)
    request = issuance.IssueRequest(csr=_request(owner, key), profile=PROFILE, authority=owner.name)
    issued = issuance.issue(desk, actor, request, now=now)

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
    common = x509.NameAttribute(x509.NameOID.COMMON_NAME, f"OCSP signer of {owner.name}"[:64])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([common]))
    return builder.sign(key, default_hash(key.public_key())).public_bytes(
        serialization.Encoding.DER
    )


def remove_expired(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Destroy keys of signers that ended more than a day ago; tell how many. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    query = select(ocsp_signers.c.id, ocsp_signers.c.key_uri).where(
        ocsp_signers.c.not_after < now - timedelta(days=1)
    )
    with desk.store.read() as connection:
        old = connection.execute(query).all()
    for row in old:
        try:
            desk.keys.destroy(row.key_uri)
        except KeyNotFound:
            pass  # destroyed before, when the process died on the next line
        with desk.store.write() as connection:
            connection.execute(delete(ocsp_signers).where(ocsp_signers.c.id == row.id))
    return len(old)
