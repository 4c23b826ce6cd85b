"""Faults in keys and certificates."""

import datetime as dt
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from ike.audit.values import Policy
from tests.ike.audit.corpus import making, rhel
from tests.ike.audit.corpus.access_faults import BSD, CA, D, I, KEY, KEYS, NSS, O, R, V
from tests.ike.audit.corpus.image import Image
from tests.ike.audit.corpus.making import NOW
from tests.ike.audit.corpus.planting import Fault, Plant, both, put
from tests.x509 import workshop

OTHER = f"{KEYS}/other.pem"
OWN, PEER = "/etc/swanctl/x509/gw1.pem", "/etc/swanctl/x509/gw2.pem"
IPSEC_KEYS = "/etc/ipsec.d/private"
_DAY = dt.timedelta(days=1)


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


def _sha1(image: Image) -> None:
    """The library signs with SHA-1 no more; openssl does."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ca.pem").write_bytes(making.issuer(NOW))
        (folder / "ca.key").write_bytes(making.key_pem(making.ISSUER))
        (folder / "own.pem").write_bytes(making.gateway(NOW))
        (folder / "own.key").write_bytes(making.key_pem())
        words = "x509 -in own.pem -CA ca.pem -CAkey ca.key -sha1 -days 200 -out new.pem"
        subprocess.run(
            ["openssl", *words.split()],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        image.put(OWN, (folder / "new.pem").read_bytes(), 0o644)


def _self_signed() -> bytes:
    subject = workshop.name(o="Example", cn="gw1.example.com")
    return making.gateway(NOW, subject=subject, issuer=subject, signer=workshop.ec_key())


def _old_database(image: Image) -> None:
    image.put(f"{NSS}/key3.db", b"\0\6\x15\x61")


def _locked_database(image: Image) -> None:
    rhel.database(image, NOW)


FAULTS: Final[tuple[Fault, ...]] = (
    # keys
    Fault(
        "a key without passphrase, against the policy",
        D,
        lambda _: None,
        "private-key-unencrypted",
        KEY,
        policy=Policy(encrypted_keys=True),
    ),
    Fault(
        "a database without a password, against the policy",
        R,
        lambda _: None,
        "private-key-unencrypted",
        f"{NSS}/key4.db",
        policy=Policy(encrypted_keys=True),
    ),
    Fault("a key in old PEM", D, put(OTHER, _old_pem), "private-key-old-encryption", OTHER),
    Fault("RSA of 1024 bits", D, put(OTHER, lambda: making.rsa(1024)), "key-too-short", OTHER),
    Fault(
        "P-192",
        I,
        put(f"{IPSEC_KEYS}/old.pem", lambda: _curve(ec.SECP192R1)),
        "key-too-short",
        f"{IPSEC_KEYS}/old.pem",
    ),
    Fault(
        "RSA of 1024 bits in VyOS",
        V,
        put("/config/auth/old.key", lambda: making.rsa(1024)),
        "key-too-short",
        "/config/auth/old.key",
    ),
    Fault(
        "RSA of 2048 bits, for BSI",
        D,
        put(OTHER, lambda: making.rsa(2048)),
        "key-below-baseline",
        OTHER,
        policy=Policy(baseline="bsi"),
    ),
    Fault("DSA", D, put(OTHER, making.dsa), "key-dsa", OTHER),
    Fault("close primes", D, put(OTHER, making.close_primes), "key-can-be-factored", OTHER),
    Fault(
        "close primes in OPNsense",
        O,
        put(f"{BSD}/rsa/old.der", making.close_primes),
        "key-can-be-factored",
        f"{BSD}/rsa/old.der",
    ),
    Fault(
        "the faulty library",
        D,
        put(OTHER, making.faulty_library),
        "key-can-be-factored",
        OTHER,
        (("key-too-short", OTHER),),
    ),
    Fault(
        "a prime in common with the peer",
        D,
        _shared_prime(),
        "key-shares-a-prime",
        OTHER,
        (("key-shares-a-prime", PEER),),
    ),
    Fault(
        "exponent 3",
        D,
        put(OTHER, lambda: making.rsa(2048, exponent=3)),
        "rsa-exponent-small",
        OTHER,
    ),
    Fault("key3.db", R, _old_database, "nss-database-old", f"{NSS}/key3.db"),
    Fault(
        "the authority's key",
        D,
        put(f"{KEYS}/issuing.pem", lambda: making.key_pem(1)),
        "authority-key-on-gateway",
        f"{KEYS}/issuing.pem",
    ),
    Fault(
        "the authority's key in ipsec.d",
        I,
        put(f"{IPSEC_KEYS}/ca.key", lambda: making.key_pem(1)),
        "authority-key-on-gateway",
        f"{IPSEC_KEYS}/ca.key",
    ),
    # certificates
    Fault(
        "expired",
        D,
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
        I,
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
        V,
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
        D,
        put(OWN, lambda: making.gateway(NOW, not_before=NOW + _DAY), 0o644),
        "certificate-not-yet-valid",
        OWN,
    ),
    Fault("SHA-1", D, _sha1, "certificate-weak-signature", OWN),
    Fault("self-signed", D, put(OWN, _self_signed, 0o644), "certificate-self-signed", OWN),
    Fault(
        "no name that the daemon reads",
        D,
        put(
            OWN, lambda: making.gateway(NOW, plus=(), without=[x509.SubjectAlternativeName]), 0o644
        ),
        "certificate-refused",
        OWN,
    ),
    Fault(
        "without usages",
        O,
        put(
            f"{BSD}/x509/gw1.pem",
            lambda: making.gateway(NOW, without=[x509.AuthorityKeyIdentifier]),
            0o644,
        ),
        "certificate-doubtful",
        f"{BSD}/x509/gw1.pem",
    ),
    Fault("no issuer", D, lambda image: image.here(CA).unlink(), "certificate-without-issuer", OWN),
    Fault(
        "another issuer of the name",
        D,
        put(
            CA, lambda: making.issuer(NOW, public_key=workshop.ec_key(number=6).public_key()), 0o644
        ),
        "certificate-issuer-mismatch",
        OWN,
        (("certificate-issuer-mismatch", PEER),),
    ),
    Fault("another key", D, put(KEY, lambda: making.key_pem(6)), "certificate-key-mismatch", KEY),
    Fault(
        "another key in OPNsense",
        O,
        put(f"{BSD}/private/gw1.pem", lambda: making.key_pem(6)),
        "certificate-key-mismatch",
        f"{BSD}/private/gw1.pem",
    ),
)
_ = _locked_database
