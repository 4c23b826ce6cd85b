"""A token over PKCS#11: keys made in it, used in it, destroyed in it.

Runs in a process of its own (`ike.tokens.worker`), which ends after one piece of work. Modules are strangers: they may
crash or hang, and SoftHSM leaves errors in the OpenSSL that Python's TLS uses too, which then fails.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11 import exceptions as said
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from core.errors import IkewardenError
from core.secret import Secret
from ike.tokens.errors import (
    PinRefused,
    TokenAbsent,
    TokenFailed,
    TokenFull,
    TokenKeyMissing,
    TokenKeyUnsupported,
    TokenModuleUnusable,
)
from ike.tokens.keys import ECDSA, RSA_WITH
from ike.tokens.uri import TokenUri

_CURVES: Final = {"ec-p256": "secp256r1", "ec-p384": "secp384r1"}
_RSA: Final = {"rsa-3072": 3072}
_RSA_NUMBERS: Final = (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS)
_MECHANISMS: Final = {
    ECDSA: Mechanism.ECDSA,
    RSA_WITH["sha256"]: Mechanism.SHA256_RSA_PKCS,
    RSA_WITH["sha384"]: Mechanism.SHA384_RSA_PKCS,
    RSA_WITH["sha512"]: Mechanism.SHA512_RSA_PKCS,
}
KINDS: Final = (*_CURVES, *_RSA)
_PRIVATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
}
# Readable without a PIN: charon finds the slot of a key by its public half.
_PUBLIC: Final = {Attribute.PRIVATE: False, Attribute.VERIFY: True}
_LAST_TRY: Final = (TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED)
_WRONG_PIN: Final = (
    said.PinIncorrect,
    said.PinInvalid,
    said.PinLenRange,
    said.PinLocked,
    said.PinExpired,
    said.UserPinNotInitialized,
)
_ABSENT: Final = (
    said.NoSuchToken,
    said.TokenNotPresent,
    said.TokenNotRecognised,
    said.DeviceRemoved,
    said.SlotIDInvalid,
)
_FULL: Final = (said.DeviceMemory, said.HostMemory)
_UNSUPPORTED: Final = (
    said.MechanismInvalid,
    said.MechanismParamInvalid,
    said.DomainParamsInvalid,
    said.KeySizeRange,
    said.FunctionNotSupported,
    said.AttributeTypeInvalid,
    said.AttributeValueInvalid,
    said.TemplateInconsistent,
)


class TokenSession:
    """A token, with the PIN accepted."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def make(self, kind: str, identifier: bytes, label: str) -> bytes:
        """Make a key pair of one of KINDS that cannot be taken out; gives its public half.

        Raises TokenKeyUnsupported, TokenFull.
        """
        given = {
            "id": identifier,
            "label": label,
            "store": True,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": _PRIVATE,
            "public_template": _PUBLIC,
        }
        if kind in _CURVES:
            named = encode_named_curve_parameters(_CURVES[kind])
            parameters = self._session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: named}, local=True
            )
            _, private = parameters.generate_keypair(**given)
        elif kind in _RSA:
            _, private = self._session.generate_keypair(KeyType.RSA, _RSA[kind], **given)
        else:
            raise TokenKeyUnsupported(f"charon signs with no {kind} key in a token.")
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            raise TokenKeyUnsupported("The token made a key that can be taken out of it.")
        return self.public(identifier)

    def public(self, identifier: bytes) -> bytes:
        """SubjectPublicKeyInfo, DER, of the key with this CKA_ID, both halves of which are there.

        Raises TokenKeyMissing.
        """
        self._one(ObjectClass.PRIVATE_KEY, identifier)
        half = self._one(ObjectClass.PUBLIC_KEY, identifier)
        if half.key_type is KeyType.EC:
            return encode_ec_public_key(half)
        if half.key_type is not KeyType.RSA:
            raise TokenKeyUnsupported("The key in the token is neither RSA nor ECDSA.")
        exponent, modulus = (int.from_bytes(half[each], "big") for each in _RSA_NUMBERS)
        known = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return known.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, identifier: bytes, mechanism: str, data: bytes) -> bytes:
        """The token's raw signature, by one of the mechanisms of `ike.tokens.keys`. Raises TokenKeyMissing."""
        private = self._one(ObjectClass.PRIVATE_KEY, identifier)
        return bytes(private.sign(data, mechanism=_MECHANISMS[mechanism]))

    def sweep(self, prefix: str, keep: Collection[bytes]) -> int:
        """Destroy the keys whose label begins so, but those with these ids; gives how many objects went."""
        gone = 0
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for each in list(self._session.get_objects({Attribute.CLASS: kind})):
                if str(each.label or "").startswith(prefix) and each.id not in keep:
                    each.destroy()
                    gone += 1
        return gone

    def _one(self, kind: ObjectClass, identifier: bytes) -> Any:
        wanted = {Attribute.CLASS: kind, Attribute.ID: identifier}
        found = list(self._session.get_objects(wanted))
        if not found:
            raise TokenKeyMissing("The key of this gateway is not in the token.")
        return found[0]


@contextmanager
def session(uri: TokenUri, pin: Secret) -> Iterator[TokenSession]:
    """Log in to the token of a URI, once. Raises what `ike.tokens.errors` has; PinRefused without a try where the
    token says that the next wrong one would lock it.
    """
    token = _token(uri)
    with _told(uri):
        if any(flag in token.flags for flag in _LAST_TRY):
            raise PinRefused(f"The {_name(uri)} is locked, or would be with one more wrong PIN.")
        opened = token.open(rw=True, user_pin=pin.reveal().decode())
        try:
            yield TokenSession(opened)
        finally:
            opened.close()


def _token(uri: TokenUri) -> Any:
    try:
        module = pkcs11.lib(str(uri.module))
    except said.PKCS11Error as error:
        raise TokenModuleUnusable(
            f"The PKCS#11 module {uri.module} cannot be used ({_words(error)})."
        ) from None
    with _told(uri):
        found = [each for slot in module.get_slots(token_present=True) if (each := _in(slot, uri))]
        if not found:
            raise TokenAbsent(f"There is no {_name(uri)} in {uri.module}.")
        if len(found) > 1:
            raise TokenAbsent(
                f"There are several tokens that are the {_name(uri)}.",
                next_step="Add serial=NUMBER to the URI.",
            )
        return found[0]


def _in(slot: Any, uri: TokenUri) -> Any:
    """The token in a slot, if it is the one; a broken one in another slot does no harm."""
    try:
        token = slot.get_token()
        serial = token.serial.decode("utf-8", "replace").strip(" \0")
        ready = TokenFlag.TOKEN_INITIALIZED in token.flags
    except said.PKCS11Error:
        return None
    fits = uri.token in ("", token.label) and uri.serial in ("", serial)
    return token if fits and ready else None


def _name(uri: TokenUri) -> str:
    return "token " + " ".join(filter(None, (uri.token, uri.serial)))


@contextmanager
def _told(uri: TokenUri) -> Iterator[None]:
    try:
        yield
    except IkewardenError:
        raise
    except _WRONG_PIN as error:
        raise PinRefused(f"The {_name(uri)} refused the PIN ({_words(error)}).") from None
    except _ABSENT as error:
        raise TokenAbsent(f"The {_name(uri)} is not there ({_words(error)}).") from None
    except _FULL as error:
        raise TokenFull(f"The {_name(uri)} has no room ({_words(error)}).") from None
    except _UNSUPPORTED as error:
        raise TokenKeyUnsupported(f"The {_name(uri)} cannot do that ({_words(error)}).") from None
    except said.PKCS11Error as error:
        raise TokenFailed(f"The {_name(uri)} failed ({_words(error)}).") from None


def _words(error: Exception) -> str:
    """The library's name of the error; its texts may quote what was given."""
    return type(error).__name__
