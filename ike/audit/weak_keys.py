"""Public keys as the audit knows them, and what makes one weak. Pure; holds nothing that is not public.

Read here from their encodings, for `cryptography` refuses to load what is too weak for it, and checks private keys for
so long that a file made for it can stop an audit.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ike.audit.published import listed
from pki.x509 import der
from pki.x509.keys import modulus_flaw

MAX_MODULUS_BITS: Final = 16_384  # as OpenSSL: longer ones are not calculated with

RSA: Final = frozenset({"1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"})
DSA: Final = frozenset({"1.2.840.10040.4.1", "1.3.14.3.2.12"})
EC: Final = "1.2.840.10045.2.1"
# OID → name and strength in bits (RFC 8410; FIPS 204)
_ONE_SIZE: Final = {
    "1.3.101.110": ("X25519", 128),
    "1.3.101.111": ("X448", 224),
    "1.3.101.112": ("Ed25519", 128),
    "1.3.101.113": ("Ed448", 224),
    "2.16.840.1.101.3.4.3.17": ("ML-DSA-44", 128),
    "2.16.840.1.101.3.4.3.18": ("ML-DSA-65", 192),
    "2.16.840.1.101.3.4.3.19": ("ML-DSA-87", 256),
}
# SEC 2, RFC 5639, X9.62
_CURVES: Final = {
    "1.2.840.10045.3.1.7": ("P-256", 256),
    "1.3.132.0.34": ("P-384", 384),
    "1.3.132.0.35": ("P-521", 521),
    "1.3.132.0.33": ("P-224", 224),
    "1.2.840.10045.3.1.1": ("P-192", 192),
    "1.2.840.10045.3.1.2": ("prime192v2", 192),
    "1.2.840.10045.3.1.3": ("prime192v3", 192),
    "1.2.840.10045.3.1.4": ("prime239v1", 239),
    "1.2.840.10045.3.1.5": ("prime239v2", 239),
    "1.2.840.10045.3.1.6": ("prime239v3", 239),
    "1.3.132.0.6": ("secp112r1", 112),
    "1.3.132.0.7": ("secp112r2", 112),
    "1.3.132.0.28": ("secp128r1", 128),
    "1.3.132.0.29": ("secp128r2", 128),
    "1.3.132.0.9": ("secp160k1", 160),
    "1.3.132.0.8": ("secp160r1", 160),
    "1.3.132.0.30": ("secp160r2", 160),
    "1.3.132.0.31": ("secp192k1", 192),
    "1.3.132.0.32": ("secp224k1", 224),
    "1.3.132.0.10": ("secp256k1", 256),
    "1.3.132.0.4": ("sect113r1", 113),
    "1.3.132.0.5": ("sect113r2", 113),
    "1.3.132.0.22": ("sect131r1", 131),
    "1.3.132.0.23": ("sect131r2", 131),
    "1.3.132.0.1": ("sect163k1", 163),
    "1.3.132.0.2": ("sect163r1", 163),
    "1.3.132.0.15": ("sect163r2", 163),
    "1.3.132.0.24": ("sect193r1", 193),
    "1.3.132.0.25": ("sect193r2", 193),
    "1.3.132.0.26": ("sect233k1", 233),
    "1.3.132.0.27": ("sect233r1", 233),
    "1.3.132.0.3": ("sect239k1", 239),
    "1.3.132.0.16": ("sect283k1", 283),
    "1.3.132.0.17": ("sect283r1", 283),
    "1.3.132.0.36": ("sect409k1", 409),
    "1.3.132.0.37": ("sect409r1", 409),
    "1.3.132.0.38": ("sect571k1", 571),
    "1.3.132.0.39": ("sect571r1", 571),
    **{
        f"1.3.36.3.3.2.8.1.1.{number}": (f"brainpoolP{bits}{letter}1", bits)
        for at, bits in enumerate((160, 192, 224, 256, 320, 384, 512))
        for number, letter in ((2 * at + 1, "r"), (2 * at + 2, "t"))
    },
}
_SSH_CURVES: Final = {
    b"nistp256": "1.2.840.10045.3.1.7",
    b"nistp384": "1.3.132.0.34",
    b"nistp521": "1.3.132.0.35",
}


@dataclass(frozen=True)
class PublicKey:
    """A public key. `kind` is rsa, dsa, ec, or the algorithm's name; `name` tells its size, as people write it.

    `bits` are those of its modulus, field or (for kinds of one size) strength; 0 where they are not known. `digest` is
    the same for the same key, whatever it was read from; empty where the file does not hold the public part, as is
    `listed`, by which lists of published keys know it (ike.audit.published).
    """

    kind: str
    name: str
    bits: int = 0
    modulus: int = field(default=0, repr=False)
    exponent: int = 0
    digest: str = ""
    listed: bytes = field(default=b"", repr=False)

    @property
    def strength(self) -> int:
        """Bits of security by NIST SP 800-57 part 1 rev. 5 table 2, roughly; 0 where it is not known."""
        if self.kind in ("rsa", "dsa"):
            return next((s for size, s in _STRENGTHS if self.bits >= size), 1 if self.bits else 0)
        return self.bits // 2 if self.kind == "ec" else self.bits

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that tell it from others."""
        return self.digest[:16]


_STRENGTHS: Final = ((15360, 256), (7680, 192), (3072, 128), (2048, 112), (1024, 80))


def rsa(modulus: int, exponent: int) -> PublicKey:
    """An RSA key by its numbers."""
    bits = modulus.bit_length()
    digest = hashlib.sha256(b"rsa" + der.integer(modulus) + der.integer(exponent)).hexdigest()
    name = f"RSA with {bits} bits"
    return PublicKey("rsa", name, bits, modulus, exponent, digest, _listed(modulus))


def dsa(prime: int, value: int | None = None) -> PublicKey:
    """A DSA key by its prime and, where that is known, its public value."""
    bits = prime.bit_length()
    digest, on_lists = "", b""
    if value is not None:
        on_lists = _listed(value)
        digest = hashlib.sha256(b"dsa" + der.integer(prime) + der.integer(value)).hexdigest()
    return PublicKey("dsa", f"DSA with {bits} bits", bits, digest=digest, listed=on_lists)


def ec(curve: str, point: bytes = b"") -> PublicKey:
    """A key on a curve, which is known by its OID, or has no name: an empty one."""
    name, bits = _CURVES.get(curve, (curve or "a curve without a name", 0))
    digest = hashlib.sha256(f"ec {curve} ".encode() + point).hexdigest() if point else ""
    # Compressed or not, x stands behind the first octet (SEC 1 §2.3.3).
    x = point[1:] if point[:1] in (b"\2", b"\3") else point[1 : 1 + len(point) // 2]
    on_lists = _listed(int.from_bytes(x, "big")) if x else b""
    return PublicKey("ec", f"EC on {name}", bits, digest=digest, listed=on_lists)


def other(oid: str, octets: bytes = b"") -> PublicKey:
    """A key of a kind that has one size, or that is not known."""
    name, bits = _ONE_SIZE.get(oid, (oid, 0))
    digest = hashlib.sha256(f"{oid} ".encode() + octets).hexdigest() if octets else ""
    on_lists = b""
    if octets:  # a number where RFC 8410 has one, else what there is
        is_number = oid.startswith("1.3.101.")
        on_lists = _listed(int.from_bytes(octets, "big")) if is_number else listed(octets)
    return PublicKey(name if bits else "unknown", name, bits, digest=digest, listed=on_lists)


def _listed(number: int) -> bytes:
    return listed(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def from_spki(data: bytes) -> PublicKey:
    """The key of a SubjectPublicKeyInfo in DER. Raises ValueError."""
    algorithm, bits = _exactly(data, der.read(data, 0), 2)
    name, parameters = algorithm_of(data, algorithm)
    octets = data[bits.content + 1 : bits.end]
    if name in RSA:
        modulus, exponent = _exactly(octets, der.read(octets, 0), 2)
        return rsa(number(octets, modulus), number(octets, exponent))
    if name in DSA:
        if parameters is None or parameters.tag != der.SEQUENCE:
            return PublicKey("dsa", "DSA")
        prime = der.children(data, parameters)[0]
        return dsa(number(data, prime), number(octets, der.read(octets, 0)))
    if name == EC:
        return ec(curve_of(data, parameters), octets)
    return other(name, octets)


def from_ssh(blob: bytes) -> PublicKey:
    """The key of an SSH public key (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709). Raises ValueError."""
    parts = list(strings(blob))
    kind = parts[0] if parts else b""
    try:
        if kind == b"ssh-rsa":
            return rsa(int.from_bytes(parts[2], "big"), int.from_bytes(parts[1], "big"))
        if kind == b"ssh-dss":
            return dsa(int.from_bytes(parts[1], "big"), int.from_bytes(parts[4], "big"))
        if kind == b"ssh-ed25519":
            return other("1.3.101.112", parts[1])
        if kind.startswith(b"ecdsa-sha2-"):
            return ec(_SSH_CURVES.get(parts[1], ""), parts[2])
    except IndexError:
        raise ValueError("ends too early") from None
    return other(kind.decode("ascii", "replace") or "?")


def strings(data: bytes, count: int | None = None) -> Iterator[bytes]:
    """SSH's strings: each with its length before it (RFC 4251 §5). Raises ValueError."""
    at = 0
    while at < len(data) and count != 0:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise ValueError("ends too early")
        yield data[at + 4 : end]
        at, count = end, count - 1 if count is not None else None


def algorithm_of(data: bytes, element: der.Element) -> tuple[str, der.Element | None]:
    """The OID of an AlgorithmIdentifier, and its parameters. Raises ValueError."""
    parts = der.children(data, element)
    if not parts:
        raise ValueError("an algorithm without a name")
    return oid_of(data, parts[0]), parts[1] if len(parts) > 1 else None


def curve_of(data: bytes, parameters: der.Element | None) -> str:
    """The OID of a named curve; empty where the parameters are spelled out."""
    if parameters is None or parameters.tag != OBJECT_IDENTIFIER:
        return ""
    return oid_of(data, parameters)


OBJECT_IDENTIFIER: Final = 0x06


def oid_of(data: bytes, element: der.Element) -> str:
    """An OBJECT IDENTIFIER, dotted. Raises ValueError."""
    octets = data[element.content : element.end]
    if element.tag != OBJECT_IDENTIFIER or not octets or octets[-1] & 0x80 or len(octets) > 64:
        raise ValueError("not an object identifier")
    arcs, value = [], 0
    for octet in octets:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def number(data: bytes, element: der.Element) -> int:
    """An INTEGER that is not negative. Raises ValueError."""
    octets = data[element.content : element.end]
    if element.tag != der.INTEGER or not octets or octets[0] & 0x80:
        raise ValueError("not a number")
    return int.from_bytes(octets, "big")


def _exactly(data: bytes, element: der.Element, count: int) -> list[der.Element]:
    parts = der.children(data, element)
    if element.tag != der.SEQUENCE or len(parts) != count:
        raise ValueError("not of the expected parts")
    return parts


def flaw(key: PublicKey) -> str:
    """Why an RSA key can be factored by itself, as a sentence without its end; empty where nothing is known."""
    if key.kind != "rsa" or not 1 < key.modulus or key.bits > MAX_MODULUS_BITS:
        return ""
    found = modulus_flaw(key.modulus)
    return _SENTENCES[found] if found else ""


_SENTENCES: Final = {
    "small factor": "its modulus has a small factor",
    "roca": "it was made by the faulty Infineon library",
    "close primes": "its two primes are so close that it can be factored",
}
