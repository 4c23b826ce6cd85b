"""Keys that the service makes for devices that cannot make their own (RFC 7030 §4.4). They are kept nowhere."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import bindparam, select

from core.errors import NotAuthenticated, Unavailable
from core.secret import Secret
from hsm.errors import KeyNotFound
from hsm.keys import new_key
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from pki import identity, keypackages, profiles, tls_credential
from pki.actors import Action, Actor, Role, require, require_endpoint, require_profile
from pki.desk import Desk
from pki.endpoints import Endpoint
from pki.keypackages import KeyEncryptionRefused, Maker, Wish
from pki.x509.csr import read_csr
from pki.x509.keys import key_algorithm
from pki.x509.profile import Profile
from store.tables import certificates

_SERVICE: Final = Actor("service", Role.SCHEDULER)
_OTHERS: Final = (
    select(certificates.c.der)
    .where(
        certificates.c.gateway == bindparam("gateway"),
        certificates.c.status == "valid",
        certificates.c.not_after > bindparam("moment", type_=certificates.c.not_after.type),
    )
    .order_by(certificates.c.id.desc())
    .limit(100)
)


@dataclass(frozen=True)
class NewPair:
    """A new key, as PKCS #8 in DER, or `sealed` (RFC 7030 §4.4.2); and a request (DER) for it with subject and names
    of the one that was sent.
    """

    key: Secret
    csr: bytes
    sealed: bool


class KeyMakerMissing(Unavailable):
    """Keys that are encrypted are signed with the key of the service's own certificate, and there is none here."""

    code = "key_maker_missing"
    next_step = "See that the scheduler runs: it makes the service's certificate."


def make(
    desk: Desk, actor: Actor, through: Endpoint, csr: bytes, peer: bytes | None, *, now: datetime
) -> NewPair:
    """Make a key of the kind of that in the request; where the endpoint's profile takes no such, of one that it takes.
    Where the request wants it so, it is encrypted to the client certificate (`peer`, DER) of the TLS connection or to
    another of the same gateway.

    Raises RoleMayNot, OutsideScope, KeyEncryptionRefused, KeyMakerMissing, and what `read_csr` raises: who asks signs
    with any key, as tools do.
    """
    require(
        actor,
        Action.CERTIFICATE_ISSUE if actor.role is not Role.GATEWAY else Action.CERTIFICATE_RENEW,
    )
    asked = read_csr(csr)
    wanted = keypackages.wish(asked.der)
    require_endpoint(actor, through.name)
    require_profile(actor, through.profile)  # before a key is made, which is dear
    to = None if wanted is None else _recipient(desk, actor, wanted, peer, now)
    profile = profiles.load(desk, through.profile)
    key = new_key(_algorithm(key_algorithm(asked.public_key), profile))
    builder = x509.CertificateSigningRequestBuilder(asked.subject)
    if asked.names:
        names = x509.SubjectAlternativeName([name.to_x509() for name in asked.names])
        builder = builder.add_extension(names, critical=False)
    hashed = isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    digest = hashes.SHA256() if hashed else None
    request = builder.sign(key, digest)
    private = Secret(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    if wanted is not None and to is not None:
        private = Secret(keypackages.seal(private, to, wanted, _maker(desk)))
    return NewPair(private, request.public_bytes(serialization.Encoding.DER), to is not None)


def _recipient(
    desk: Desk, actor: Actor, wanted: Wish, peer: bytes | None, now: datetime
) -> x509.Certificate:
    """The certificate that a device named: what it shows proves that it has its key. Raises KeyEncryptionRefused."""
    for der in _held(desk, actor, peer, now):
        certificate = x509.load_der_x509_certificate(der)
        if keypackages.is_named(certificate, wanted):
            return certificate
    raise KeyEncryptionRefused("No certificate of this client has the identifier that it names.")


def _held(desk: Desk, actor: Actor, peer: bytes | None, now: datetime) -> Iterator[bytes]:
    if peer is not None:
        with contextlib.suppress(
            NotAuthenticated
        ):  # a token came with it, and alone it would not do
            identity.actor_from_certificate(
                desk, peer, now=now, request_id=actor.request_id, by_itself=True
            )
            yield peer
    if actor.role is Role.GATEWAY and actor.scope.gateway is not None:
        asked = {"gateway": actor.scope.gateway, "moment": now}
        for row in desk.store.look(_OTHERS, asked):
            yield row.der


def _maker(desk: Desk) -> Maker:
    if desk.blobs is None:
        raise KeyMakerMissing("The service has no certificate of its own here.")
    try:
        pem = tls_credential.current(desk, _SERVICE, desk.blobs).pem.reveal()
    except KeyNotFound:
        raise KeyMakerMissing("The service has no certificate of its own yet.") from None
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the service's own key is an EC key")
    return Maker(key, x509.load_pem_x509_certificates(pem))


def _algorithm(wished: str, profile: Profile) -> KeyAlgorithm:
    able = [name for name in KEY_ALGORITHMS if name in profile.key_algorithms]
    return next((name for name in able if name == wished), able[0])
