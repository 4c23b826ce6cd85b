"""Signed requests (RFC 8555 §6.2, RFC 7515) and keys (RFC 7517): read with suspicion. Pure values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from core.secret import Secret
from pki.acme.refusals import AlgorithmRefused, KeyRefused, RequestMalformed, SignatureRefused
from pki.x509.keys import KeyNotAllowed, WeakKey, check_key
from pki.x509.signing import PublicKey

#: RFC 8555 §6.2: what accounts may sign with. None is a MAC, and none is "none".
ALGORITHMS: Final = ("RS256", "ES256", "ES384", "EdDSA")
_MACS: Final = ("HS256", "HS384", "HS512")
# RFC 7517 §4, RFC 7518 §6.2.2, §6.3.2, §6.4.1: members that only a private or a symmetric key has.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS: Final = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
# By the kind of a key: a key has one algorithm, and nobody chooses another for it.
_ALGORITHM: Final = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
_KEYS: Final[Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {
    "RSA": RSAKey,
    "EC": ECKey,
    "OKP": OKPKey,
}
_KINDS: Final = (
    (rsa.RSAPublicKey, RSAKey),
    (ec.EllipticCurvePublicKey, ECKey),
    (ed25519.Ed25519PublicKey, OKPKey),
)
_RSA_BITS: Final = range(2048, 4097)
_SOUND: Final = ("rsa-2048", "ec-p256", "ec-p384", "ed25519")
_LONGEST_MEMBER: Final = 700  # 4096 bits in base64url are 683 characters
_READS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class _Registry(JWSRegistry):
    """Takes the algorithms that it is told and no others, and headers as long as those of RSA keys."""

    max_header_length = 8192
    max_signature_length = 2048

    def get_alg(self, name: str) -> Any:
        # The library's own warns of EdDSA as a name that could say more (RFC 9864); here it is Ed25519 alone.
        if name not in (self.allowed or ()):
            raise JoseError(f"The algorithm {name!r} is not taken.")
        return self.algorithms[name]


@dataclass(frozen=True)
class PublicJwk:
    """A public key that may sign requests; `document` has the members that RFC 7638 counts, and no others."""

    document: Mapping[str, str]
    algorithm: str
    thumbprint: str
    key: RSAKey | ECKey | OKPKey

    @property
    def public_key(self) -> PublicKey:
        """The same as `cryptography` has it."""
        return cast("PublicKey", self.key.public_key)


@dataclass(frozen=True)
class Envelope:
    """A signed request as it was sent: nothing in it is believed before `verify`."""

    header: Mapping[str, Any]
    payload: bytes
    parts: Mapping[str, str]

    def verify(self, key: PublicJwk) -> None:
        """Make sure that the key signed it. Raises AlgorithmRefused, SignatureRefused."""
        if self.header["alg"] != key.algorithm:
            raise AlgorithmRefused(f"This key signs with {key.algorithm}.")
        if not _is_by(self.parts, key.key, key.algorithm):
            raise SignatureRefused("The signature is not by this key.")

    def is_by(self, secret: Secret) -> bool:
        """Whether it was made with this key of a MAC (RFC 8555 §7.3.4)."""
        return _is_by(self.parts, OctKey.import_key(secret.reveal()), str(self.header["alg"]))


def read(body: bytes) -> Envelope:
    """Read a request in the flattened JSON serialization (RFC 8555 §6.2). Raises RequestMalformed, AlgorithmRefused."""
    return envelope(_document(body), ALGORITHMS)


def read_binding(document: object) -> Envelope:
    """Read an external account binding (RFC 8555 §7.3.4). Raises RequestMalformed, AlgorithmRefused."""
    return envelope(document, _MACS)


def envelope(document: object, algorithms: tuple[str, ...]) -> Envelope:
    """Take a serialization apart. Raises RequestMalformed, AlgorithmRefused."""
    # RFC 8555 §6.2: flattened; no unprotected header, so no other member either.
    wanted = {"protected", "payload", "signature"}
    if not isinstance(document, dict) or set(document) != wanted:
        raise RequestMalformed("A request has protected, payload and signature, and nothing else.")
    if not all(isinstance(each, str) and each.isascii() for each in document.values()):
        raise RequestMalformed("The parts of a request are text in base64url.")
    try:
        header = json.loads(urlsafe_b64decode(document["protected"].encode()))
        payload = urlsafe_b64decode(document["payload"].encode())
    except _READS:
        raise RequestMalformed("The parts of the request cannot be read.") from None
    if not isinstance(header, dict):
        raise RequestMalformed("The protected header is no object.")
    if "crit" in header or "b64" in header:  # RFC 7515 §4.1.11, RFC 7797
        raise RequestMalformed("The header wants what is not known here.")
    if header.get("alg") not in algorithms:
        raise AlgorithmRefused(f"Requests are signed with one of {', '.join(algorithms)}.")
    return Envelope(header, payload, document)


def public_jwk(document: object) -> PublicJwk:
    """Read a public key that somebody shows. Raises KeyRefused."""
    read = known_jwk(document)
    key = read.public_key
    try:
        check_key(key, _SOUND)
    except (KeyNotAllowed, WeakKey) as error:
        raise KeyRefused(error.message) from None
    # One key has one thumbprint, and so one account.
    if read.thumbprint != thumbprint_of(key):
        raise KeyRefused("The numbers of the key have too many octets, or too few.")
    return read


def known_jwk(document: object) -> PublicJwk:
    """Read a public key that was judged before: whether it is weak takes long to find out. Raises KeyRefused."""
    if not isinstance(document, dict) or not isinstance(kind := document.get("kty"), str):
        raise KeyRefused("This is no key.")
    if _PRIVATE & document.keys():
        raise KeyRefused("There are private parts in this key.")
    names = _MEMBERS.get(kind)
    if names is None:
        raise KeyRefused(f"Keys of the kind {kind[:20]!r} are not taken.")
    members = {name: document.get(name) for name in names}
    if not all(isinstance(each, str) and len(each) <= _LONGEST_MEMBER for each in members.values()):
        raise KeyRefused("The key is not whole.")
    algorithm = _ALGORITHM.get(str(members.get("crv", kind)))
    if algorithm is None or (kind == "EC") != algorithm.startswith("ES"):
        raise KeyRefused("Keys on this curve are not taken.")
    key = _imported(kind, cast("dict[str, str]", members))
    return PublicJwk(cast("dict[str, str]", members), algorithm, key.thumbprint(), key)


def thumbprint_of(key: PublicKey) -> str | None:
    """The thumbprint that an account with this key would have; None for a key that signs no requests."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size not in _RSA_BITS:
        return None
    kind = next((made for of, made in _KINDS if isinstance(key, of)), None)
    try:
        return None if kind is None else str(kind.import_key(cast("Any", key)).thumbprint())
    except _READS:  # a curve that is not taken
        return None


def _imported(kind: str, members: dict[str, str]) -> RSAKey | ECKey | OKPKey:
    # Its length is that of the key: looked at first, because the library warns of short ones.
    if kind == "RSA" and len(members["n"]) * 6 < _RSA_BITS.start:
        raise KeyRefused("The key is too short.")
    try:
        key = _KEYS[kind].import_key(cast("Any", members))
        bits = getattr(key.public_key, "key_size", 0)
    except _READS:
        raise KeyRefused("The key cannot be read.") from None
    if kind == "RSA" and bits not in _RSA_BITS:
        raise KeyRefused(f"The key has {bits} bits.")
    return key


def key_authorization(token: str, thumbprint: str) -> str:
    """What a client shows to prove that it controls a name (RFC 8555 §8.1)."""
    return f"{token}.{thumbprint}"


def plain(text: str) -> bytes:
    """The octets of base64url without padding (RFC 8555 §6.1). Raises RequestMalformed."""
    try:
        return urlsafe_b64decode(text.encode("ascii"))
    except (ValueError, TypeError):
        raise RequestMalformed("This is not base64url without padding.") from None


def encoded(octets: bytes) -> str:
    """Octets in base64url without padding (RFC 8555 §6.1)."""
    return urlsafe_b64encode(octets).decode()


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestMalformed("The body is not JSON.") from None


def _is_by(parts: Mapping[str, str], key: RSAKey | ECKey | OKPKey | OctKey, algorithm: str) -> bool:
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    try:
        jws.deserialize_json(cast("Any", dict(parts)), key, registry=registry)
    except (*_READS, InvalidSignature):
        return False
    return True
