"""The service's own TLS certificate: from its own authority, renewed by itself, key sealed on disk.

The one that was replaced is revoked one turn later. By then every process has taken up the new one, and nothing of the
old one is in force when its authority is retired.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import NotFound
from core.secret import Secret
from hsm.errors import KeyNotFound
from hsm.ports import BlobStore
from pki import authorities, issuance, revocation
from pki.actors import Action, Actor, require
from pki.authorities import Authority, AuthorityNotFound, NoDefaultAuthority
from pki.certificates import find
from pki.desk import Desk
from pki.rollover import crossing
from pki.rollover.crossing import CrossCertificate
from pki.x509 import serials
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName

PROFILE = revocation.SERVICE_PROFILE
BLOB = "service-tls"
# Authority and serial number of the certificate that was in use before.
REPLACED = "service-tls-replaced"
# By the names of their signatures (RFC 9881 §2).
_ML_DSA: Final[Mapping[str, str]] = {
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}


@dataclass(frozen=True)
class TlsCredential:
    """A private key and certificate chain (leaf first, without the root), both PEM in one secret."""

    pem: Secret
    certificate: x509.Certificate


def current(desk: Desk, actor: Actor, blobs: BlobStore) -> TlsCredential:
    """The credential on disk. Raises RoleMayNot, KeyNotFound."""
    require(actor, Action.SERVICE_CREDENTIAL)
    pem = blobs.get_blob(BLOB)
    return TlsCredential(pem, _certificates(pem.reveal())[0])


def _certificates(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def ensure(
    desk: Desk, actor: Actor, blobs: BlobStore, names: tuple[str, ...], *, now: datetime
) -> bool:
    """Make a new credential when there is none, when two thirds of its life are over, when it is for other names,
    when it was revoked, when another authority issues now where none is named, or when clients cannot check it. Tells
    whether it did. The one that was replaced in an earlier call is revoked.

    `names` are host names and addresses. Raises RoleMayNot and what `issuance.issue` raises.
    """
    require(actor, Action.SERVICE_CREDENTIAL)
    wanted = _names(names)
    held = None
    try:
        credential = current(desk, actor, blobs)
    except KeyNotFound:
        pass
    else:
        held = credential.certificate
        _end_replaced(desk, actor, blobs, held, now)
        sent = _certificates(credential.pem.reveal())
        if _is_classical(sent) and _serves(desk, actor, held, wanted, now):
            return False
    made = _make(desk, actor, wanted, now)
    if held is not None:
        _remember(desk, blobs, held)
    blobs.put_blob(BLOB, made)
    return True


def _remember(desk: Desk, blobs: BlobStore, held: x509.Certificate) -> None:
    """Note which certificate is about to be replaced; before it is, so that a death in between loses nothing."""
    serial = serials.to_hex(held.serial_number)
    with contextlib.suppress(NotFound):
        blobs.put_blob(REPLACED, f"{find(desk, serial).authority}:{serial}".encode())


def _end_replaced(
    desk: Desk, actor: Actor, blobs: BlobStore, held: x509.Certificate, now: datetime
) -> None:
    try:
        noted = blobs.get_blob(REPLACED).reveal().decode()
    except KeyNotFound:
        return
    authority, _, serial = noted.partition(":")
    if serial == serials.to_hex(held.serial_number):
        return  # it was not replaced in the end
    with contextlib.suppress(NotFound):
        if find(desk, serial, authority=authority).status in {"valid", "held"}:
            revocation.supersede(desk, actor, serial, authority=authority, now=now)


def _names(names: tuple[str, ...]) -> tuple[GeneralName, ...]:
    def one(name: str) -> GeneralName:
        is_address = ":" in name or name.replace(".", "").isdigit()
        return GeneralName.parse(f"{'ip' if is_address else 'dns'}:{name}")

    return tuple(one(name) for name in names)


def _serves(
    desk: Desk,
    actor: Actor,
    held: x509.Certificate,
    wanted: tuple[GeneralName, ...],
    now: datetime,
) -> bool:
    life = held.not_valid_after_utc - held.not_valid_before_utc
    if not held.not_valid_before_utc <= now < held.not_valid_before_utc + life * 2 / 3:
        return False
    carried = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if {GeneralName.from_x509(name) for name in carried} != set(wanted):
        return False
    try:
        known = find(desk, serials.to_hex(held.serial_number))
        owner = authorities.load(desk, known.authority)
    except NotFound:
        return False  # another database: its authority is not the one clients trust
    # Whoever enrolls pins the root of who issues now.
    issuer = _checkable(desk, actor, _issuer(desk, actor, owner, now), now)
    return known.status == "valid" and issuer.name == owner.name


def _issuer(desk: Desk, actor: Actor, owner: Authority, now: datetime) -> Authority:
    """Who issues the next one; where nobody is the default, who issues in the place of its own authority."""
    try:
        return authorities.choose(desk, actor, None, now=now)
    except (AuthorityNotFound, NoDefaultAuthority):
        return authorities.current(desk, owner, now=now)


def _checkable(desk: Desk, actor: Actor, wanted: Authority, now: datetime) -> Authority:
    """Who issues in the place of an authority that the service's clients cannot check: TLS knows no ML-DSA yet, and
    without its certificate nobody could call the service any more, not even to go back.

    One that issues comes before one that is retired, and the oldest first: its root is the one that clients know.
    """
    if _is_classical(wanted.chain):
        return wanted
    able = [
        each
        for each in authorities.list_(desk, actor)
        if each.kind == "issuing"
        and each.status in {authorities.ACTIVE, authorities.RETIRED}
        and each.ends_at > now
        and _is_classical(each.chain)
    ]
    return min(
        able,
        key=lambda each: (each.status != authorities.ACTIVE, each.created_at),
        default=wanted,
    )


def _is_classical(certificates: Iterable[x509.Certificate]) -> bool:
    """Whether there is no key and no signature among them that TLS does not know."""
    return not any(
        key_algorithm(each.public_key()) in _ML_DSA.values()
        or each.signature_algorithm_oid.dotted_string in _ML_DSA
        for each in certificates
    )


def _crossed(desk: Desk, authority: Authority, now: datetime) -> list[CrossCertificate]:
    """The cross-certificates that are valid for the key of the root above an authority."""
    root = authority
    while root.parent is not None:
        root = authorities.load(desk, root.parent)
    with desk.store.read() as connection:
        found = crossing.of(connection, [root.id])
    valid = [each for each in found if each.status == "valid" and now < each.not_after]
    return [each for each in valid if _is_classical(_certificates(each.pem.encode()))]


def _make(desk: Desk, actor: Actor, names: tuple[GeneralName, ...], now: datetime) -> Secret:
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([name.to_x509() for name in names]), False)
        .sign(key, hashes.SHA256())
    )
    wanted = issuance.IssueRequest(request.public_bytes(serialization.Encoding.DER), PROFILE)
    default = authorities.choose(desk, actor, None, now=now)
    able = _checkable(desk, actor, default, now)
    if able is not default:
        wanted = replace(wanted, authority=able.name, itself=True)
    issued = issuance.issue(desk, actor, wanted, now=now)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = [authorities.pem(each) for each in issued.authority.chain[:-1]]
    # Who pinned the root before a rollover finds a way to it (RFC 4210 §4.4: new with old).
    chain += [each.pem for each in _crossed(desk, issued.authority, now)]
    return Secret(private + "".join([issued.pem, *chain]).encode())
