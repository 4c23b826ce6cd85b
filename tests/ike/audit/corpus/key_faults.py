"""Faults in keys and certificates."""

import base64
import datetime as dt
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from ike.audit.values import Policy
from tests.ike.audit.corpus import making
from tests.ike.audit.corpus.access_faults import BSD, CA, KEY, KEYS, NSS
from tests.ike.audit.corpus.image import Image
from tests.ike.audit.corpus.making import NOW
from tests.ike.audit.corpus.planting import (
    DEBIAN,
    OPNSENSE,
    RHEL,
    STARTER,
    VYOS,
    Fault,
    Plant,
    both,
    put,
)
from tests.x509 import workshop

OTHER = f"{KEYS}/other.pem"
OWN, PEER = "/etc/swanctl/x509/gw1.pem", "/etc/swanctl/x509/gw2.pem"
IPSEC_KEYS = "/etc/ipsec.d/private"
_DAY = dt.timedelta(days=1)
_NO_SIGNATURE: Final = (
    (workshop.dns("gw1.example.com"), False),
    (workshop.key_usage("key_encipherment"), True),
)


def _old_pem() -> bytes:
    how = BestAvailableEncryption(making.secret().encode())
    return workshop.rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, how)


def _curve(curve: type[ec.EllipticCurve]) -> bytes:
    return making.pkcs8(ec.generate_private_key(curve()))


def _shared_prime() -> Plant:
    first, second, third = (making.prime(1024, seed) for seed in (30, 31, 32))
    public = rsa.RSAPublicNumbers(65537, first * third).public_key()
    return both(
        put(OTHER, making.made_up(first * second)),
        put(PEER, making.peer(NOW, public_key=public), 0o644),
    )


def _self_signed() -> bytes:
    subject = workshop.name(o="Example", cn="gw1.example.com")
    return making.gateway(NOW, subject=subject, issuer=subject, signer=workshop.ec_key())


def _pki(image: Image) -> None:
    key = base64.b64encode(making.rsa(1024)).decode()
    node = "".join(f"{name} {{\n" for name in ("pki", "certificate gw1", "private"))
    image.add("/config/config.boot", f"{node}key {key}\n}}\n}}\n}}\n")


def _cert(image: Image) -> None:
    armour = "-----{} RSA PRIVATE KEY-----\n"
    body = base64.encodebytes(making.rsa(1024)).decode()
    pem = armour.format("BEGIN") + body + armour.format("END")
    coded = base64.b64encode(pem.encode()).decode()
    image.change("/conf/config.xml", "<OPNsense>", f"<cert><prv>{coded}</prv></cert><OPNsense>")


def _old_database(image: Image) -> None:
    image.put(f"{NSS}/key3.db", b"\0\6\x15\x61")


FAULTS: Final[tuple[Fault, ...]] = (
    # keys
    Fault(
        "a key without passphrase, against the policy",
        DEBIAN,
        lambda _: None,
        "private-key-unencrypted",
        KEY,
        (("private-key-unencrypted", "/var/lib/ikewarden-agent/identity.key"),),
        policy=Policy(encrypted_keys=True),
    ),
    Fault(
        "a database without a password, against the policy",
        RHEL,
        lambda _: None,
        "private-key-unencrypted",
        f"{NSS}/key4.db",
        policy=Policy(encrypted_keys=True),
    ),
    Fault("a key in old PEM", DEBIAN, put(OTHER, _old_pem), "private-key-old-encryption", OTHER),
    Fault(
        "a key in old PEM in ipsec.d",
        STARTER,
        put(f"{IPSEC_KEYS}/old.pem", _old_pem),
        "private-key-old-encryption",
        f"{IPSEC_KEYS}/old.pem",
    ),
    Fault("RSA of 1024 bits", DEBIAN, put(OTHER, lambda: making.rsa(1024)), "key-too-short", OTHER),
    Fault(
        "P-192",
        STARTER,
        put(f"{IPSEC_KEYS}/old.pem", lambda: _curve(ec.SECP192R1)),
        "key-too-short",
        f"{IPSEC_KEYS}/old.pem",
    ),
    Fault(
        "RSA of 1024 bits in VyOS",
        VYOS,
        put("/config/auth/old.key", lambda: making.rsa(1024)),
        "key-too-short",
        "/config/auth/old.key",
    ),
    Fault(
        "RSA of 2048 bits, for BSI",
        DEBIAN,
        put(OTHER, lambda: making.rsa(2048)),
        "key-below-baseline",
        OTHER,
        policy=Policy(baseline="bsi"),
    ),
    Fault("DSA", DEBIAN, put(OTHER, making.dsa), "key-dsa", OTHER),
    Fault("close primes", DEBIAN, put(OTHER, making.close_primes), "key-can-be-factored", OTHER),
    Fault(
        "RSA of 1024 bits in config.boot",
        VYOS,
        _pki,
        "key-too-short",
        "/config/config.boot",
    ),
    Fault(
        "RSA of 1024 bits in config.xml",
        OPNSENSE,
        _cert,
        "key-too-short",
        "/conf/config.xml",
    ),
    Fault(
        "close primes in OPNsense",
        OPNSENSE,
        put(f"{BSD}/rsa/old.der", making.close_primes),
        "key-can-be-factored",
        f"{BSD}/rsa/old.der",
    ),
    Fault(
        "the faulty library",
        DEBIAN,
        put(OTHER, making.faulty_library),
        "key-can-be-factored",
        OTHER,
        (("key-too-short", OTHER),),
    ),
    Fault(
        "a key that everybody has",
        DEBIAN,
        lambda _: None,
        "key-is-published",
        KEY,
        policy=Policy(published=making.published(making.OWN)),
    ),
    Fault(
        "a key that everybody has, in a database",
        RHEL,
        lambda _: None,
        "key-is-published",
        f"{NSS}/key4.db",
        policy=Policy(published=making.published(making.OWN)),
    ),
    Fault(
        "a prime in common with the peer",
        DEBIAN,
        _shared_prime(),
        "key-shares-a-prime",
        OTHER,
        (("key-shares-a-prime", PEER),),
    ),
    Fault(
        "exponent 3",
        DEBIAN,
        put(OTHER, lambda: making.rsa(2048, exponent=3)),
        "rsa-exponent-small",
        OTHER,
    ),
    Fault("key3.db", RHEL, _old_database, "nss-database-old", f"{NSS}/key3.db"),
    Fault(
        "the authority's key",
        DEBIAN,
        put(f"{KEYS}/issuing.pem", lambda: making.key_pem(1)),
        "authority-key-on-gateway",
        f"{KEYS}/issuing.pem",
    ),
    Fault(
        "the authority's key in ipsec.d",
        STARTER,
        put(f"{IPSEC_KEYS}/ca.key", lambda: making.key_pem(1)),
        "authority-key-on-gateway",
        f"{IPSEC_KEYS}/ca.key",
    ),
    # certificates
    Fault(
        "expired",
        DEBIAN,
        put(
            OWN,
            lambda: making.gateway(NOW, not_before=NOW - 90 * _DAY, not_after=NOW - _DAY),
            0o644,
        ),
        "certificate-expired",
        OWN,
    ),
    Fault(
        "the peer's has expired",
        STARTER,
        put(
            "/etc/ipsec.d/certs/gw2.pem",
            lambda: making.peer(NOW, not_before=NOW - 90 * _DAY, not_after=NOW - _DAY),
            0o644,
        ),
        "certificate-expired",
        "/etc/ipsec.d/certs/gw2.pem",
    ),
    Fault(
        "expiring",
        VYOS,
        put(
            OWN,
            lambda: making.gateway(NOW, not_before=NOW - 90 * _DAY, not_after=NOW + 20 * _DAY),
            0o644,
        ),
        "certificate-expiring",
        OWN,
    ),
    Fault(
        "of tomorrow",
        DEBIAN,
        put(OWN, lambda: making.gateway(NOW, not_before=NOW + _DAY), 0o644),
        "certificate-not-yet-valid",
        OWN,
    ),
    Fault(
        "a certificate with SHA-1",
        DEBIAN,
        put(OWN, lambda: making.with_sha1(NOW), 0o644),
        "certificate-weak-signature",
        OWN,
    ),
    Fault("self-signed", DEBIAN, put(OWN, _self_signed, 0o644), "certificate-self-signed", OWN),
    Fault(
        "a certificate that may not sign",
        DEBIAN,
        put(OWN, lambda: making.gateway(NOW, plus=_NO_SIGNATURE), 0o644),
        "certificate-refused",
        OWN,
    ),
    Fault(
        "a certificate that does not name its issuer's key",
        OPNSENSE,
        put(
            f"{BSD}/x509/gw1.pem",
            lambda: making.gateway(NOW, without=[x509.AuthorityKeyIdentifier]),
            0o644,
        ),
        "certificate-doubtful",
        f"{BSD}/x509/gw1.pem",
    ),
    Fault(
        "no issuer",
        DEBIAN,
        lambda image: image.here(CA).unlink(),
        "certificate-without-issuer",
        OWN,
    ),
    Fault(
        "another issuer of the name",
        DEBIAN,
        put(
            CA, lambda: making.issuer(NOW, public_key=workshop.ec_key(number=6).public_key()), 0o644
        ),
        "certificate-issuer-mismatch",
        OWN,
        (("certificate-issuer-mismatch", PEER),),
    ),
    Fault(
        "another key", DEBIAN, put(KEY, lambda: making.key_pem(6)), "certificate-key-mismatch", KEY
    ),
    Fault(
        "another key in OPNsense",
        OPNSENSE,
        put(f"{BSD}/private/gw1.pem", lambda: making.key_pem(6)),
        "certificate-key-mismatch",
        f"{BSD}/private/gw1.pem",
    ),
)
