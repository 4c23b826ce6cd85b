"""The key store in Vault or OpenBao: a Transit engine makes the keys and signs with them, and they never leave it.

A URI is `transit:MOUNT/NAME?version=N`. The version is pinned: a key that somebody rotates goes on signing with the one
that is in the certificate. Only digests go to the server, except for Ed25519, which signs whole messages.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.utils import Buffer
from hvac.api.secrets_engines import Transit

from hsm.errors import (
    BadKeyName,
    KeyAlgorithmUnknown,
    KeyExists,
    KeyKindUnusable,
    KeyNotFound,
)
from hsm.ports import KEY_NAME, KeyAlgorithm, PrivateKey, check_name
from hsm.signonly import SignOnlyEcKey, SignOnlyEd25519Key, SignOnlyRsaKey
from hsm.transiterrors import KeyDeleted, KeyVersionGone, SignatureWrong, signing
from hsm.transitmethods import RsaHash, digest_of, ec_hash, rsa_method
from hsm.vaultlogin import Login
from hsm.vaultsession import VaultSession
from hsm.vaultuse import Trouble
from hsm.vaultwire import Address, Answer, require

# Names of the engine's key types (Vault's and OpenBao's API documentation of Transit).
_TYPES: Final[Mapping[str, str]] = {
    "ec-p256": "ecdsa-p256",
    "ec-p384": "ecdsa-p384",
    "ec-p521": "ecdsa-p521",
    "rsa-2048": "rsa-2048",
    "rsa-3072": "rsa-3072",
    "rsa-4096": "rsa-4096",
    "ed25519": "ed25519",
}
_URI: Final = re.compile(
    r"transit:(?P<mount>[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)"
    r"/(?P<name>[^/?]+)\?version=(?P<version>[1-9][0-9]{0,8})"
)
# What it answers, with whatever status, where a key cannot sign any more. The first that fits.
_GONE: Final[Mapping[str, type[KeyNotFound]]] = {
    "soft-deleted": KeyDeleted,
    "version for signing": KeyVersionGone,
    "key not found": KeyNotFound,
}
_PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True)
class Place:
    """What a URI names."""

    mount: str
    name: str
    version: int

    @classmethod
    def parse(cls, uri: str) -> "Place":
        """Raises `BadKeyName`."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise BadKeyName(
                "This key URI is not of a Transit engine.",
                next_step="It is transit:MOUNT/NAME?version=N.",
            )
        return cls(found["mount"], check_name(found["name"]), int(found["version"]))

    def __str__(self) -> str:
        return f"transit:{self.mount}/{self.name}?version={self.version}"


class TransitKeyStore:
    """A `KeyStore` on a server. Making an instance neither connects nor logs in.

    New keys are made at `mount`; `server` is the section of the settings that names the server. A key is made so that
    it can be neither exported nor backed up in plain text.
    """

    def __init__(
        self, address: Address, login: Login, *, mount: str, server: str = "[keys.transit]"
    ) -> None:
        self.session = VaultSession(address, login, signing(server))
        self._mount = mount
        self._opened: dict[str, PrivateKey] = {}

    def __repr__(self) -> str:
        return f"TransitKeyStore({self.session.address.url!r}, mount={self._mount!r})"

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        """See `KeyStore.generate`. A request that is not answered may leave a key that nobody uses."""
        place = Place(self._mount, check_name(name), 1)
        kind = _TYPES.get(algorithm)
        if kind is None:
            raise KeyAlgorithmUnknown(
                f"A Transit engine makes no key of the kind '{algorithm}'.",
                next_step=f"Use one of: {', '.join(_TYPES)}.",
            )
        # The engine does not say whether it made a key or had it: Vault warns, OpenBao is silent.
        with self.session.here().making:
            if not self._asked_for(place).is_absent:
                raise KeyExists(f"A key named '{name}' exists.")
            answer = self._ask(
                lambda transit: transit.create_key(
                    name,
                    exportable=False,
                    allow_plaintext_backup=False,
                    key_type=kind,
                    mount_point=place.mount,
                )
            )
        made = require(answer, f"make the key {name}")
        if made.warns("already existed") or not _is_as_asked(made.part("data"), kind):
            raise KeyExists(f"Somebody else made a key named '{name}' at the same time.")
        return str(place)

    def open(self, uri: str) -> PrivateKey:
        """See `KeyStore.open`. Asks the server once for each URI."""
        known = self._opened.get(uri)
        if known is None:
            place = Place.parse(uri)
            known = self._opened[uri] = self._signer(place, self._public_key(place))
        return known

    def uri_of(self, name: str) -> str:
        """See `KeyStore.uri_of`."""
        return str(Place(self._mount, check_name(name), 1))

    def names(self) -> list[str]:
        """See `KeyStore.names`."""
        answer = self._ask(lambda transit: transit.list_keys(mount_point=self._mount))
        if answer.is_absent:
            return []
        found = require(answer, "list its keys").part("data").get("keys")
        names = found if isinstance(found, list) else []
        return sorted(name for name in names if isinstance(name, str) and KEY_NAME.fullmatch(name))

    def destroy(self, uri: str) -> None:
        """See `KeyStore.destroy`. All versions of the key are gone then."""
        place = Place.parse(uri)
        self._opened.pop(uri, None)
        self._read(place)
        what = f"destroy the key {place.name}"
        allowed = self._ask(
            lambda transit: transit.update_key_configuration(
                place.name, deletion_allowed=True, mount_point=place.mount
            )
        )
        require(allowed, what)
        deleted = self._ask(lambda transit: transit.delete_key(place.name, mount_point=place.mount))
        # Not there any more: by another's hand, or by this request before its answer was lost.
        if not deleted.says("not found"):
            require(deleted, what)

    def check(self) -> None:
        """Raise what keeps the server from serving now. Logs in, and looks at the mount; it asks for no signature."""
        if self.session.look_at_mount(self._mount).get("type") != "transit":
            raise self.session.use.error(
                Trouble.NO_MOUNT, f"The mount {self._mount} is no Transit engine."
            )

    def _asked_for(self, place: Place) -> Answer:
        """What the server says of a key: that it is absent, or what it is."""
        answer = self._ask(lambda transit: transit.read_key(place.name, mount_point=place.mount))
        return answer if answer.is_absent else require(answer, f"show the key {place.name}")

    def _read(self, place: Place) -> Mapping[str, Any]:
        answer = self._asked_for(place)
        if answer.is_absent:
            raise KeyNotFound(f"There is no key {place.name} at {place.mount}.")
        return answer.part("data")

    def _public_key(self, place: Place) -> _PublicKey:
        known = self._read(place)
        if known.get("soft_deleted") is True:
            raise KeyDeleted(f"The key {place.name} is marked as deleted.")
        versions = known.get("keys")
        if not isinstance(versions, dict) or str(place.version) not in versions:
            raise KeyVersionGone(f"The key {place.name} has no version {place.version} any more.")
        found = _public_key(versions[str(place.version)])
        if found is None:
            raise KeyKindUnusable(
                f"The key {place.name} is of a kind that signs nothing here.",
                next_step=f"Use one of the kinds {', '.join(_TYPES.values())}.",
            )
        return found

    def _signer(self, place: Place, public: _PublicKey) -> PrivateKey:
        if isinstance(public, ec.EllipticCurvePublicKey):
            return SignOnlyEcKey(public, partial(_sign_ec, self, place, public), elsewhere=True)
        if isinstance(public, rsa.RSAPublicKey):
            return SignOnlyRsaKey(public, partial(_sign_rsa, self, place, public), elsewhere=True)
        return SignOnlyEd25519Key(
            public, partial(_sign_ed25519, self, place, public), elsewhere=True
        )

    def sign(self, place: Place, octets: bytes, method: Mapping[str, object]) -> bytes:
        """A signature by a key of this store, over a digest or a message; how, `method` says in the engine's words."""
        answer = self._ask(
            lambda transit: transit.sign_data(
                place.name,
                hash_input=base64.b64encode(octets).decode(),
                key_version=place.version,
                mount_point=place.mount,
                **method,
            )
        )
        if not answer.ok:
            self._refuse_gone(answer, place)
        made = require(answer, f"sign with {place.name}").part("data").get("signature")
        # `vault:vN:` and the signature, on OpenBao too.
        _, _, rest = made.partition(":") if isinstance(made, str) else ("", "", "")
        version, _, text = rest.partition(":")
        try:
            signature = base64.b64decode(text, validate=True)
        except ValueError:
            signature = b""
        if version != f"v{place.version}" or not signature:
            raise SignatureWrong(f"What the server gave for {place.name} is no signature.")
        return signature

    def _refuse_gone(self, answer: Answer, place: Place) -> None:
        """Raise for a refusal that comes of the key: it or its version is not there."""
        if answer.is_without_engine:
            return
        for words, kind in _GONE.items():
            if answer.says(words):
                self._opened.pop(str(place), None)  # whoever opens it next is told at once
                raise kind(f"The key {place.name} does not sign with version {place.version}.")

    def _ask(self, request: Callable[[Any], Answer]) -> Answer:
        return self.session.ask(lambda wire: request(Transit(adapter=wire)))


def _sign_ec(
    store: TransitKeyStore,
    place: Place,
    public: ec.EllipticCurvePublicKey,
    data: Buffer,
    algorithm: ec.EllipticCurveSignatureAlgorithm,
) -> bytes:
    name, digest = digest_of(data, ec_hash(algorithm))
    # RFC 3279 §2.2.3: an ECDSA signature in DER, which the engine calls asn1.
    method = {"hash_algorithm": name, "prehashed": True, "marshaling_algorithm": "asn1"}
    made = store.sign(place, digest, method)
    return _verified(place, made, lambda: public.verify(made, data, algorithm))


def _sign_rsa(
    store: TransitKeyStore,
    place: Place,
    public: rsa.RSAPublicKey,
    data: bytes,
    padding: AsymmetricPadding,
    algorithm: RsaHash,
) -> bytes:
    method = rsa_method(padding, algorithm)
    name, digest = digest_of(data, algorithm)
    made = store.sign(place, digest, {"hash_algorithm": name, "prehashed": True, **method})
    return _verified(place, made, lambda: public.verify(made, data, padding, algorithm))  # type: ignore[arg-type]  # `digest_of` refused the rest


def _sign_ed25519(
    store: TransitKeyStore, place: Place, public: ed25519.Ed25519PublicKey, data: Buffer
) -> bytes:
    made = store.sign(place, bytes(data), {})
    return _verified(place, made, lambda: public.verify(made, data))


def _verified(place: Place, signature: bytes, verify: Callable[[], None]) -> bytes:
    """The signature, if it is one. It came over a network, and a certificate with another would be useless."""
    try:
        verify()
    except InvalidSignature:
        raise SignatureWrong(f"What the server gave for {place.name} does not verify.") from None
    return signature


def _is_as_asked(key: Mapping[str, Any], kind: str) -> bool:
    """Whether a key that was made just now is one of ours. Old servers say nothing of it."""
    wanted = {"type": kind, "latest_version": 1}
    wanted |= dict.fromkeys(("exportable", "allow_plaintext_backup", "derived"), False)
    return all(key.get(name, value) == value for name, value in wanted.items())


def _public_key(entry: object) -> _PublicKey | None:
    """A version's public half: PEM, or for Ed25519 32 octets in Base64. None where it has none."""
    text = entry.get("public_key") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        return None
    try:
        if not text.lstrip().startswith("-----"):
            return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        found = load_pem_public_key(text.encode())
    except ValueError:
        return None
    return found if isinstance(found, _PublicKey) else None
