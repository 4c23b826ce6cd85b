"""First requests of SCEP, each with a token of its own, prepared before they are sent."""

import secrets
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

import urllib3
from asn1crypto import cms, core
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID, NameOID

from bench.load import Request
from bench.ours import Ours
from pki.scep import envelopes, messages
from pki.scep.algorithms import CIPHERS

ENDPOINT, PROFILE, NAME = "bench", "network-device", "gw.bench.example"
#: The endpoint's file.
FILE = f'name = "{ENDPOINT}"\nprofile = "{PROFILE}"\n[scep]\n'
#: Devices.
_KEYS = 200
_PATH = f"/scep/{ENDPOINT}?operation="


class Device:
    """Some keys of RSA-2048 in turn, with as many tokens as there are requests: a key for each would take minutes to
    make. One alone would be no fleet: what a key was given before is looked for among all certificates of that key.
    """

    def __init__(self, service: Ours) -> None:
        self._service = service
        made = [rsa.generate_private_key(65537, 2048) for _ in range(_KEYS)]
        self._keys = cycle([(key, _self_signed(key)) for key in made])
        with urllib3.PoolManager(retries=False, timeout=60.0) as http:
            found = http.request("GET", f"{service.plain_url}{_PATH}GetCACert").data
        [self._ra] = [
            each
            for each in pkcs7.load_der_pkcs7_certificates(found)
            if "RA of" in each.subject.rfc4514_string()
        ]

    def requests(self, count: int) -> list[Request]:
        """So many that were never sent."""
        tokens = self._service.enroller_tokens(NAME, PROFILE, count)
        return [Request("POST", f"{_PATH}PKIOperation", self._message(each)) for each in tokens]

    def _message(self, token: str) -> bytes:
        own, certificate = next(self._keys)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        asked = (
            x509.CertificateSigningRequestBuilder(subject)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
            .add_attribute(AttributeOID.CHALLENGE_PASSWORD, token.encode())
            .sign(own, hashes.SHA256())
        )
        ra, key = self._ra, self._ra.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        to = (ra.issuer.public_bytes(), ra.serial_number)
        content = asked.public_bytes(Encoding.DER)
        sealed = envelopes.seal(content, CIPHERS["aes128_cbc"], to, key)
        return _signed(sealed, own, certificate)


def _signed(content: bytes, key: rsa.RSAPrivateKey, known: x509.Certificate) -> bytes:
    over = hashes.Hash(hashes.SHA256())
    over.update(content)
    attributes = cms.CMSAttributes(
        [
            _attribute("content_type", cms.ContentType("data")),
            _attribute("message_digest", core.OctetString(over.finalize())),
            _attribute(messages.MESSAGE_TYPE, core.PrintableString(messages.PKCS_REQ)),
            _attribute(messages.SENDER_NONCE, core.OctetString(secrets.token_bytes(16))),
            _attribute(messages.TRANSACTION_ID, core.PrintableString(secrets.token_hex(16))),
        ]
    )
    certificate = asn1.Certificate.load(known.public_bytes(Encoding.DER))
    who = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
    by = {
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": who}),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": attributes,
        "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
        "signature": key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256()),
    }
    whole = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": {"content_type": "data", "content": content},
        "certificates": [certificate],
        "signer_infos": [by],
    }
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": whole}).dump())


def _attribute(name: str, value: Any) -> Any:
    return cms.CMSAttribute({"type": name, "values": [value]})


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    return (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
