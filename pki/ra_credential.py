"""The registration authority that answers SCEP (RFC 8894 §4.2.1.2) and CMP (RFC 9483 §3.2): one RSA key and certificate
for each authority that an endpoint of theirs issues from, made and renewed by itself, keys sealed on disk.

It signs answers, with the purpose that says that it may: id-kp-cmcRA (RFC 9810 §4.5). In SCEP devices encrypt to it,
whatever key the authority has, and the authority's key never decrypts anything. One that was replaced still opens what
was encrypted to it, until it ends: a device may have fetched it long ago.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import NotFound, Unavailable
from core.secret import Secret
from hsm.errors import KeyNotFound
from hsm.ports import BlobStore
from pki import authorities, enrollments, issuance, ocsp_signers, profiles
from pki.actors import Action, Actor, require
from pki.authorities import Authority, AuthorityNotFound
from pki.certificates import find
from pki.desk import Desk
from pki.rollover import records
from pki.x509 import serials
from store import holders, leases

# Older than its use for CMP. Certificates on record, and the file with the keys, have these names.
PROFILE: Final = "scep-ra"
BLOB: Final = "scep-ra"
_BITS: Final = 2048  # old devices know no more
_END: Final = b"-----END CERTIFICATE-----\n"
# Making an RSA key may take a second, and the signer as long as one over a network takes.
_MAKING: Final = timedelta(minutes=1)


class NoRaCredential(Unavailable):
    """The authority has no registration authority for SCEP and CMP yet; the scheduler makes one."""

    code = "ra_credential_missing"
    next_step = "See that the scheduler runs: it makes the certificate within seconds."


@dataclass(frozen=True)
class RaCredential:
    """A registration authority: its key, and its certificate by the authority."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


@dataclass(frozen=True)
class RaCredentials:
    """All that count, the newest first."""

    all: tuple[RaCredential, ...]

    def of(self, authority: Authority) -> RaCredential:
        """The one to show for an authority. Raises NoRaCredential."""
        # In a rollover the successor may have the same name: the key tells.
        known = authority.certificate.extensions
        wanted = known.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier
        for each in self.all:
            found = each.certificate.extensions
            issuer = found.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            if issuer.key_identifier == wanted:
                return each
        raise NoRaCredential(f"The authority {authority.name!r} has no registration authority yet.")

    def addressed(self, issuer: bytes, serial: int) -> RaCredential | None:
        """The one that a message is encrypted to, by the DER of its issuer's name and its serial number."""
        for each in self.all:
            if each.certificate.serial_number == serial:
                return each if each.certificate.issuer.public_bytes() == issuer else None
        return None


def held(desk: Desk, actor: Actor, *, now: datetime) -> RaCredentials:
    """What is kept, without what has ended or is revoked. Raises RoleMayNot."""
    require(actor, Action.SERVICE_CREDENTIAL)
    return RaCredentials(tuple(each for each in _kept(desk) if _counts(desk, each, now)))


def ensure(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Make what is missing, revoked, of another purpose or past two thirds of its life, for each authority that an
    endpoint of SCEP or CMP issues from now and for its successor once peers are told of it; tell how many. Of several
    that try at once, one does.

    Raises RoleMayNot and what `issuance.issue` raises.
    """
    require(actor, Action.SERVICE_CREDENTIAL)
    wanted = _issuers(desk, now)
    if not wanted or not _due(desk, wanted, held(desk, actor, now=now), now):
        return 0
    holder = holders.name_of_this_process(desk.entropy(8).hex())
    lease = leases.take(desk.store, "ra_credential", holder, _MAKING, now)
    if lease is None:
        return 0
    try:
        # Under the lease: what another process has made meanwhile must not be overwritten.
        present = held(desk, actor, now=now)
        due = _due(desk, wanted, present, now)
        for owner in due:
            present = RaCredentials((_make(desk, actor, owner, now), *present.all))
            _keep(desk, present.all)
    finally:
        leases.release(desk.store, lease)
    return len(due)


def _issuers(desk: Desk, now: datetime) -> list[Authority]:
    found: dict[str, Authority] = {}
    for each in desk.rules.endpoints.values():
        if each.scep is None and each.cmp is None:
            continue
        try:
            issuer = enrollments.issuer(desk, each, now=now)
        except AuthorityNotFound:
            continue  # one file with a mistake must not shut the doors of all others
        found[issuer.name] = issuer
        if (heir := successor(desk, issuer, now=now)) is not None:
            found[heir.name] = heir
    return [each for each in found.values() if now < each.ends_at]


def successor(desk: Desk, issuer: Authority, *, now: datetime) -> Authority | None:
    """Who will issue in the place of an authority, once peers are told of it and before it does. Public."""
    with desk.store.read() as connection:
        for each in records.all_(connection):
            if each.authority == issuer.name and (
                each.state == records.State.PUBLISHED or each.phase(now) == records.SCHEDULED
            ):
                return authorities.load(desk, each.successor)
    return None


def _due(
    desk: Desk, wanted: Sequence[Authority], present: RaCredentials, now: datetime
) -> list[Authority]:
    purpose = profiles.load(desk, PROFILE).extended_key_usage_extension()

    def is_fresh(owner: Authority) -> bool:
        try:
            certificate = present.of(owner).certificate
        except NoRaCredential:
            return False
        known = certificate.extensions
        if known.get_extension_for_class(x509.ExtendedKeyUsage).value != purpose:
            return False  # made before Windows was thought of
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        # Near the authority's own end a new one would live no longer.
        last = end >= owner.certificate.not_valid_after_utc
        return now < (end if last else begin + (end - begin) * 2 / 3)

    return [owner for owner in wanted if not is_fresh(owner)]


def _counts(desk: Desk, credential: RaCredential, now: datetime) -> bool:
    certificate = credential.certificate
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        return False
    try:
        return find(desk, serials.to_hex(certificate.serial_number)).status == "valid"
    except NotFound:
        return False  # another database: its authority is not the one that devices trust


def _make(desk: Desk, actor: Actor, owner: Authority, now: datetime) -> RaCredential:
    key = rsa.generate_private_key(65537, _BITS)
    name = ocsp_signers.permitted_subject(owner, f"RA of {owner.name}")
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    wanted = issuance.IssueRequest(
        request.public_bytes(Encoding.DER), PROFILE, owner.name, itself=True
    )
    issued = issuance.issue(desk, actor, wanted, now=now)
    return RaCredential(key, x509.load_der_x509_certificate(issued.der))


def _kept(desk: Desk) -> list[RaCredential]:
    try:
        content = _blobs(desk).get_blob(BLOB).reveal()
    except KeyNotFound:
        return []
    return [_read(pair + _END) for pair in content.split(_END) if pair]


def _read(pem: bytes) -> RaCredential:
    # The seal has vouched for these bytes; testing RSA primes again would take long.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the registration authority's key is an RSA key")
    return RaCredential(key, x509.load_pem_x509_certificate(pem))


def _keep(desk: Desk, credentials: Iterable[RaCredential]) -> None:
    pairs = [
        each.key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + each.certificate.public_bytes(Encoding.PEM)
        for each in credentials
    ]
    _blobs(desk).put_blob(BLOB, Secret(b"".join(pairs)))


def _blobs(desk: Desk) -> BlobStore:
    if desk.blobs is None:
        raise NoRaCredential(
            "There is no place here that keeps the keys of registration authorities."
        )
    return desk.blobs
