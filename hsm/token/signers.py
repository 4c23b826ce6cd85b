"""Keys in a token as `cryptography` private keys, so that its builders sign with them.

What is hashed is hashed here: a CRL of megabytes does not go to a device over a network. Only Ed25519 takes the whole
message (RFC 8032 §5.1).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.utils import Buffer

from hsm.errors import KeyKindUnusable, KeyMechanismMissing
from hsm.ports import PrivateKey
from hsm.signonly import SignOnlyEcKey, SignOnlyEd25519Key, SignOnlyRsaKey

# The DER before the digest in a DigestInfo (RFC 8017 §9.2, note 1).
_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_CURVES: Final[dict[bytes, ec.EllipticCurve]] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
    bytes.fromhex("06052b81040023"): ec.SECP521R1(),
}
# Devices name it by its object identifier (RFC 8410 §3) or by the string of PKCS#11 v3.0 §2.3.5.
_ED25519: Final = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")

Sign = Callable[..., bytes]
"""Has the token sign: the fields of a `Work` but which key."""


def signer(kind: str, values: list[bytes], sign: Sign) -> PrivateKey:
    """The key with this public half. `kind` rsa: modulus and exponent, big-endian; ec: CKA_EC_PARAMS and CKA_EC_POINT.

    Raises KeyKindUnusable.
    """
    try:
        return _signer(kind, values, sign)
    except ValueError:
        raise KeyKindUnusable("The token tells a public half that is none.") from None


def _signer(kind: str, values: list[bytes], sign: Sign) -> PrivateKey:
    if kind == "rsa":
        modulus, exponent = (int.from_bytes(each, "big") for each in values)
        numbers = rsa.RSAPublicNumbers(exponent, modulus)
        public = numbers.public_key()
        return SignOnlyRsaKey(public, partial(_sign_rsa, public, sign), elsewhere=True)
    parameters, point = values
    if parameters in _ED25519:
        key = ed25519.Ed25519PublicKey.from_public_bytes(point[-32:])
        return SignOnlyEd25519Key(key, partial(_sign_ed25519, sign), elsewhere=True)
    curve = _CURVES.get(parameters)
    if curve is None:
        raise KeyKindUnusable("The key in the token is on a curve that no certificate of ours has.")
    # An OCTET STRING of 1 + 2n octets; some devices leave its head out.
    length = 1 + 2 * ((curve.key_size + 7) // 8)
    known = ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-length:])
    return SignOnlyEcKey(known, partial(_sign_ec, known, sign), elsewhere=True)


def _sign_ec(
    public: ec.EllipticCurvePublicKey,
    sign: Sign,
    data: Buffer,
    signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
) -> bytes:
    digest, _ = _digest(data, signature_algorithm.algorithm)
    # Not every device cuts what is longer than the order of the group (FIPS 186-5 §6.4.1).
    size = (public.key_size + 7) // 8
    raw = sign(mechanism="ecdsa", data=digest[:size])
    if len(raw) != 2 * size:
        raise KeyMechanismMissing("The token gave something that is no ECDSA signature.")
    r, s = (int.from_bytes(each, "big") for each in (raw[:size], raw[size:]))
    return utils.encode_dss_signature(r, s)


def _sign_rsa(
    public: rsa.RSAPublicKey,
    sign: Sign,
    data: bytes,
    how: AsymmetricPadding,
    algorithm: Prehashed | HashAlgorithm | NoDigestInfo,
) -> bytes:
    if isinstance(algorithm, NoDigestInfo):
        raise KeyMechanismMissing("The token signs digests with their DigestInfo.")
    digest, hashed = _digest(data, algorithm)
    if isinstance(how, padding.PKCS1v15) and hashed.name in _DIGEST_INFO:
        return sign(mechanism="rsa", data=_DIGEST_INFO[hashed.name] + digest)
    if isinstance(how, padding.PSS) and how.mgf._algorithm.name == hashed.name:
        salt = _salt_length(public, how, hashed)
        return sign(mechanism="rsa-pss", data=digest, hash=hashed.name, salt=salt)
    raise KeyMechanismMissing(
        "The token signs RSA by PKCS#1 v1.5 and by PSS with one hash for both."
    )


def _sign_ed25519(sign: Sign, data: Buffer) -> bytes:
    return sign(mechanism="eddsa", data=bytes(data))


def _salt_length(public: rsa.RSAPublicKey, how: padding.PSS, hashed: HashAlgorithm) -> int:
    asked: Any = how._salt_length
    if isinstance(asked, int):
        return asked
    if asked is padding.PSS.DIGEST_LENGTH:
        return hashed.digest_size
    return padding.calculate_max_pss_salt_length(public, hashed)


def _digest(data: Buffer, algorithm: Prehashed | HashAlgorithm) -> tuple[bytes, HashAlgorithm]:
    if isinstance(algorithm, Prehashed):
        return bytes(data), algorithm._algorithm
    hashing = hashes.Hash(algorithm)
    hashing.update(data)
    return hashing.finalize(), algorithm
