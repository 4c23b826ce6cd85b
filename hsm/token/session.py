"""A session with a token: keys made in it, used in it, destroyed in it. Only in `hsm.token.worker`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11 import exceptions as said

from hsm.errors import (
    KeyAmbiguous,
    KeyExists,
    KeyKindUnusable,
    KeyMechanismMissing,
    KeyNotFound,
)
from hsm.token.letters import Work

# DER of the object identifiers (RFC 5480 §2.1.1.1, RFC 8410 §3).
_CURVES: Final = {
    "ec-p256": bytes.fromhex("06082a8648ce3d030107"),
    "ec-p384": bytes.fromhex("06052b81040022"),
    "ec-p521": bytes.fromhex("06052b81040023"),
    "ed25519": bytes.fromhex("06032b6570"),
}
_RSA: Final = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_PRIVATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
}
_PUBLIC: Final = {Attribute.PRIVATE: False, Attribute.VERIFY: True}
_HASHES: Final = {
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}
_MECHANISMS: Final = {
    "ecdsa": Mechanism.ECDSA,
    "rsa": Mechanism.RSA_PKCS,
    "rsa-pss": Mechanism.RSA_PKCS_PSS,
    "eddsa": Mechanism.EDDSA,
}
# What a session or a handle says that is not good any more; nothing was signed then.
STALE: Final = (
    said.SessionHandleInvalid,
    said.SessionClosed,
    said.UserNotLoggedIn,
    said.KeyHandleInvalid,
    said.ObjectHandleInvalid,
    said.OperationActive,
)

Answer = dict[str, Any]


class TokenSession:
    """One session of a token that is logged in to. Used by one thread at a time.

    Each operation takes a `Work` and gives an answer that JSON can carry. Raises errors of `hsm.errors`, and those of
    `pkcs11` for the caller to tell or to try again on another session (STALE).
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._opened: dict[tuple[str, bytes], Any] = {}
        self._operations: Mapping[str, Callable[[Work], Answer]] = {
            "generate": self._generate,
            "public": self._public,
            "sign": self._sign,
            "names": self._names,
            "destroy": self._destroy,
        }

    def do(self, work: Work) -> Answer:
        """Do it and give the answer."""
        return self._operations[work.do](work)

    def close(self) -> None:
        """Give the session back. Raises what `pkcs11` raises."""
        self._session.close()

    def _generate(self, work: Work) -> Answer:
        if self._find(ObjectClass.PRIVATE_KEY, work.label, b""):
            raise KeyExists(f"A key named '{work.label}' exists.")
        private = self._make(work)
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            self._remove(work.label, work.id)
            raise KeyMechanismMissing("The token made a key that can be taken out of it.")
        if len(self._find(ObjectClass.PRIVATE_KEY, work.label, b"")) > 1:
            # Another host was as quick: neither is used.
            self._remove(work.label, work.id)
            raise KeyExists(f"Another key named '{work.label}' was made at the same time.")
        return {}

    def _make(self, work: Work) -> Any:
        given = {
            "id": work.id,
            "label": work.label,
            "store": True,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": _PRIVATE,
            "public_template": _PUBLIC,
        }
        if bits := _RSA.get(work.algorithm):
            return self._session.generate_keypair(KeyType.RSA, bits, **given)[1]
        curve = _CURVES.get(work.algorithm)
        if curve is None:
            raise KeyMechanismMissing(f"No {work.algorithm} keys are made in tokens.")
        kind = KeyType.EC_EDWARDS if work.algorithm == "ed25519" else KeyType.EC
        parameters = self._session.create_domain_parameters(
            kind, {Attribute.EC_PARAMS: curve}, local=True
        )
        return parameters.generate_keypair(**given)[1]

    def _public(self, work: Work) -> Answer:
        """The public half, from the private key itself or the object beside it; and which one key it is."""
        private = self._one(work)
        label, identifier = _text(private, Attribute.LABEL), _octets(private, Attribute.ID)
        halves = [
            *self._find(ObjectClass.PUBLIC_KEY, "" if identifier else label, identifier),
            private,
        ]
        kind = private.key_type
        wanted = {
            KeyType.RSA: (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT),
            KeyType.EC: (Attribute.EC_PARAMS, Attribute.EC_POINT),
            KeyType.EC_EDWARDS: (Attribute.EC_PARAMS, Attribute.EC_POINT),
        }.get(kind)
        if wanted is None:
            raise KeyKindUnusable(f"The key '{work.label}' in the token is of the kind {kind!s}.")
        for half in halves:
            if half.key_type is kind and all(values := [_octets(half, each) for each in wanted]):
                return {
                    "label": label,
                    "id": identifier.hex(),
                    "kind": "rsa" if kind is KeyType.RSA else "ec",
                    "values": [value.hex() for value in values],
                }
        raise KeyKindUnusable(f"The token tells no public half of the key '{work.label}'.")

    def _sign(self, work: Work) -> Answer:
        known = (work.label, work.id)
        private = self._opened.get(known)
        if private is None:
            private = self._one(work)
            if not hasattr(private, "sign"):
                raise KeyKindUnusable(f"The key '{work.label}' in the token may not sign.")
            self._opened[known] = private
        parameter = None
        if work.mechanism == "rsa-pss":
            if work.hash not in _HASHES:
                raise KeyMechanismMissing(f"No PSS with {work.hash}.")
            parameter = (*_HASHES[work.hash], work.salt)
        signature = private.sign(
            work.data, mechanism=_MECHANISMS[work.mechanism], mechanism_param=parameter
        )
        return {"signature": bytes(signature).hex()}

    def _names(self, work: Work) -> Answer:
        found = self._find(ObjectClass.PRIVATE_KEY, "", b"")
        return {"names": [_text(each, Attribute.LABEL) for each in found]}

    def _destroy(self, work: Work) -> Answer:
        private = self._one(work)
        self._opened.pop((work.label, work.id), None)
        self._remove(_text(private, Attribute.LABEL), _octets(private, Attribute.ID))
        return {}

    def _remove(self, label: str, identifier: bytes) -> None:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for each in self._find(kind, label, identifier):
                each.destroy()

    def _one(self, work: Work) -> Any:
        found = self._find(ObjectClass.PRIVATE_KEY, work.label, work.id)
        if not found:
            raise KeyNotFound(f"There is no key '{work.label or work.id.hex()}' in the token.")
        if len(found) > 1:
            raise KeyAmbiguous(f"There are {len(found)} keys '{work.label}' in the token.")
        return found[0]

    def _find(self, kind: ObjectClass, label: str, identifier: bytes) -> list[Any]:
        wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
        if label:
            wanted[Attribute.LABEL] = label
        if identifier:
            wanted[Attribute.ID] = identifier
        return list(self._session.get_objects(wanted))


def _octets(item: Any, attribute: Attribute) -> bytes:
    """The attribute; nothing where the object has none."""
    try:
        return bytes(item[attribute])
    except (said.AttributeTypeInvalid, said.AttributeSensitive, said.FunctionFailed):
        return b""


def _text(item: Any, attribute: Attribute) -> str:
    try:
        return str(item[attribute])
    except (said.AttributeTypeInvalid, said.FunctionFailed):
        return ""
