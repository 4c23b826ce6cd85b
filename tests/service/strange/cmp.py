"""CMP (RFC 9810): messages spoiled before they are protected by the secret that the service knows, or after."""

import random
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.x509 import der
from tests.api import cmpcrafting, cmping
from tests.api.serving import Reply
from tests.service.strange.door import NAME, Given, refused, resigned, sequence
from tests.service.strange.spoil import Ask, spoiled


class Cmp:
    """RFC 9810."""

    _KINDS = (0, 0, 2, 7, 4, 4, 4, 21, 11, 24, 25, 23)

    def __init__(self, given: Given) -> None:
        self._given, self._key = given, given.curve
        self._csr = cmpcrafting.csr(NAME, self._key)
        self._bodies = {
            4: self._csr,
            24: cmpcrafting.confirmation(b"certificate"),
            25: cmpcrafting.poll(),
            23: bytes.fromhex("30053003020102"),
            21: bytes.fromhex("3028300a06082b06010505070411300a06082b06010505070406300e06082b060105050704140500"),
            11: bytes.fromhex("300f300d300ba306300430020600810101"),
        }  # fmt: skip

    def _wanted(self, dice: random.Random) -> bytes:
        """CertReqMessages (RFC 4211) with a proof of possession, of a template that may be spoiled."""
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]).public_bytes()
        inner = der.read(spki, 0)
        names = x509.SubjectAlternativeName([x509.DNSName(NAME)]).public_bytes()
        extension = sequence(der.tlv(6, bytes.fromhex("551d11")), der.tlv(der.OCTET_STRING, names))
        parts = [
            der.tlv(0xA5, subject),
            der.tlv(0xA6, spki[inner.content : inner.end]),
            der.tlv(0xA9, extension),
        ]
        request = sequence(der.integer(0), sequence(*parts))
        if dice.random() < 0.6:
            request = spoiled(dice, request, [self._csr])
        algorithm = sequence(der.tlv(6, bytes.fromhex("2a8648ce3d040302")))
        signature = self._key.sign(request, ec.ECDSA(hashes.SHA256()))
        popo = der.tlv(0xA1, algorithm + der.bit_string(signature))
        return sequence(sequence(request, popo))

    def ask(self, dice: random.Random) -> Ask:
        kind = dice.choice(self._KINDS)
        body = self._wanted(dice) if kind in {0, 2, 7} else self._bodies[kind]
        if kind == 4 and dice.random() < 0.5:
            body = resigned(dice, body, self._key)
        elif dice.random() < 0.5:
            body = spoiled(dice, body, list(self._bodies.values()))
        given = self._given
        message = cmpcrafting.Crafted(
            given.cmp_secret.encode(),
            given.reference if dice.random() < 0.95 else dice.choice(["", "x", "é" * 40]),
            kind if dice.random() < 0.9 else dice.randrange(31),
            body,
            transaction=dice.choice([secrets.token_bytes(16), b"t" * 16, b"", b"x" * 300]),
            nonce=dice.choice([secrets.token_bytes(16), b"n" * 16, b""]),
            answers=dice.choice([b"", b"", secrets.token_bytes(16)]),
            rounds=100,
            claims=dice.choice([None, None, None, None, None, 0, 2**40]),
            version=dice.choice([2, 2, 2, 2, 3, 0, 99]),
            protected=dice.random() < 0.95,
        ).der()
        if dice.random() < 0.4:
            message = spoiled(dice, message, list(self._bodies.values()))
        path = "/.well-known/cmp/p/" + dice.choice(["strange", "strange", "watched", "none"])
        return Ask(
            "POST", path, {"Content-Type": cmping.MEDIA_TYPE}, message, tls=dice.random() < 0.2
        )

    def fits(self, ask: Ask, reply: Reply) -> None:
        if reply.status == 200 and not ask.bent:
            cmping.told(reply)
        elif reply.status != 200:
            refused(reply)
