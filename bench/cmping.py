"""First requests of CMP (ir, protected by PBMAC1), each with a token of its own, prepared before they are sent."""

import hashlib
import hmac
import secrets
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from bench.load import Request
from bench.ours import PROFILE, Ours
from pki.x509 import der

NAME: Final = "gw.bench.example"
_ENDPOINT: Final = "bench-cmp"
#: The endpoint's file.
FILE: Final = f'name = "{_ENDPOINT}"\nprofile = "{PROFILE}"\n[cmp]\n'
_PATH: Final = f"/.well-known/cmp/p/{_ENDPOINT}"
# As many as `openssl cmp` has unasked.
_ROUNDS: Final = 500
_NOBODY: Final = b"\xa4\x02\x30\x00"
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_IMPLICIT_CONFIRM: Final = bytes.fromhex("300c300a06082b0601050507040d")


class Device:
    """As many devices as there are requests, each with a key of P-256 and a token."""

    def __init__(self, service: Ours) -> None:
        self._service = service

    def requests(self, count: int) -> list[Request]:
        """So many that were never sent."""
        made = self._service.cmp_secrets(NAME, PROFILE, count)
        return [Request("POST", _PATH, _message(*each, _asked())) for each in made]


def _asked() -> bytes:
    """The body of an ir, with a new key and the proof of its possession."""
    key = ec.generate_private_key(ec.SECP256R1())
    known = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]).public_bytes()
    name = der.tlv(der.OCTET_STRING, _sequence(der.tlv(0x82, NAME.encode())))
    template = _sequence(
        der.tlv(0xA5, subject),
        der.tlv(0xA6, known[der.read(known, 0).content :]),
        der.tlv(0xA9, _sequence(_oid("551d11"), name)),
    )
    asked = _sequence(der.integer(0), template)
    signature = key.sign(asked, ec.ECDSA(hashes.SHA256()))
    proof = der.tlv(0xA1, _ECDSA_SHA256 + der.bit_string(signature))
    return der.tlv(0xA0, _sequence(_sequence(asked, proof)))  # ir


def _message(reference: str, secret: bytes, body: bytes) -> bytes:
    salt = secrets.token_bytes(16)
    hmac_sha256 = _sequence(_oid("2a864886f70d0209"))
    derived = _sequence(
        der.tlv(der.OCTET_STRING, salt), der.integer(_ROUNDS), der.integer(32), hmac_sha256
    )
    pbkdf2 = _sequence(_oid("2a864886f70d01050c"), derived)
    algorithm = _sequence(_oid("2a864886f70d01050e"), _sequence(pbkdf2, hmac_sha256))
    header = _sequence(
        der.integer(3),
        _NOBODY * 2,
        der.tlv(0xA1, algorithm),
        _octets(2, reference.encode()),
        _octets(4, secrets.token_bytes(16)),
        _octets(5, secrets.token_bytes(16)),
        der.tlv(0xA8, _IMPLICIT_CONFIRM),
    )
    key = hashlib.pbkdf2_hmac("sha256", secret, salt, _ROUNDS, 32)
    code = hmac.digest(key, _sequence(header, body), "sha256")
    return _sequence(header, body, der.tlv(0xA0, der.bit_string(code)))


def _octets(place: int, value: bytes) -> bytes:
    return der.tlv(0xA0 | place, der.tlv(der.OCTET_STRING, value))


def _oid(content: str) -> bytes:
    return der.tlv(0x06, bytes.fromhex(content))


def _sequence(*parts: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, b"".join(parts))
