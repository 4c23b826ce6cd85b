"""What signs reports: a key and a certificate of the service's own, made when the first report is to be signed.

It is renewed by whoever signs next, after two thirds of its life, when it was revoked, and when another authority
issues by default. The key is sealed on disk. Its purpose is id-kp-documentSigning (RFC 9336 §3.1).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import NotFound, Unavailable
from core.secret import Secret
from hsm.errors import KeyNotFound
from hsm.ports import BlobStore
from pki import authorities, issuance, ocsp_signers
from pki.actors import Action, Actor, require
from pki.authorities import Authority
from pki.certificates import find
from pki.desk import Desk
from pki.x509 import serials
from store import holders, leases

PROFILE: Final = "report-signer"
BLOB: Final = "report-signer"
# A signer over a network may take as long.
_MAKING: Final = timedelta(minutes=1)


class ReportSignerMissing(Unavailable):
    """What signs reports is not there yet: another process is just making it, or its key cannot be kept here."""

    code = "report_signer_missing"
    next_step = (
        "Try again in a few seconds; where it stays so, see that [keys] directory can be written."
    )


@dataclass(frozen=True)
class ReportCredential:
    """The key, its certificate, and the authorities above it without the root."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


def ensure(desk: Desk, actor: Actor, *, now: datetime) -> ReportCredential:
    """What is to sign now, made if there is none or it is due.

    Raises RoleMayNot, ReportSignerMissing, and what `authorities.choose` and `issuance.issue` raise.
    """
    require(actor, Action.SERVICE_CREDENTIAL)
    owner = authorities.choose(desk, actor, None, now=now)
    held = _held(desk, owner, now)
    if held is not None:
        return held
    holder = holders.name_of_this_process(desk.entropy(8).hex())
    lease = leases.take(desk.store, "report_credential", holder, _MAKING, now)
    if lease is None:
        raise ReportSignerMissing("Another process is just making what signs reports.")
    try:
        # Under the lease: another process may have made it meanwhile.
        return _held(desk, owner, now) or _make(desk, actor, owner, now)
    finally:
        leases.release(desk.store, lease)


def _held(desk: Desk, owner: Authority, now: datetime) -> ReportCredential | None:
    """What is kept, if it is to sign now."""
    try:
        content = _blobs(desk).get_blob(BLOB).reveal()
    except KeyNotFound:
        return None
    key = serialization.load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key that signs reports is an EC key")
    certificate = x509.load_pem_x509_certificate(content)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # Near the authority's own end a new one would live no longer.
    last = end >= owner.certificate.not_valid_after_utc
    if not begin <= now < (end if last else begin + (end - begin) * 2 / 3):
        return None
    try:
        known = find(desk, serials.to_hex(certificate.serial_number))
    except NotFound:
        return None  # another database: nobody knows its authority
    if known.status != "valid" or known.authority != owner.name:
        return None
    return ReportCredential(key, certificate, owner.chain[:-1])


def _make(desk: Desk, actor: Actor, owner: Authority, now: datetime) -> ReportCredential:
    blobs = _blobs(desk)
    key = ec.generate_private_key(ec.SECP256R1())
    name = ocsp_signers.permitted_subject(owner, f"Reports of {owner.name}")
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    wanted = issuance.IssueRequest(
        request.public_bytes(Encoding.DER), PROFILE, owner.name, itself=True
    )
    issued = issuance.issue(desk, actor, wanted, now=now)
    private = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    blobs.put_blob(BLOB, Secret(private + issued.pem.encode()))
    return ReportCredential(key, x509.load_der_x509_certificate(issued.der), owner.chain[:-1])


def _blobs(desk: Desk) -> BlobStore:
    if desk.blobs is None:
        raise ReportSignerMissing("There is no place here that keeps the key that signs reports.")
    return desk.blobs
