"""A key store in a PKCS#11 token."""

from secrets import token_bytes
from typing import Any, Final

from hsm.errors import BadKeyName, KeyAlgorithmUnknown, KeyNotFound
from hsm.folder import PrivateFolder
from hsm.ports import KEY_ALGORITHMS, KEY_NAME, KeyAlgorithm, PrivateKey, check_name
from hsm.token.letters import Work
from hsm.token.process import TokenProcess
from hsm.token.signers import signer
from hsm.token.uri import KeyUri, parse

_LOCK: Final = ".pkcs11-generate"
_ID_OCTETS: Final = 16
# A smart card takes half a minute to make an RSA key.
_PATIENCE: Final = 120.0


class TokenKeyStore:
    """A `KeyStore` in a token. URIs are `pkcs11:token=LABEL;object=NAME;id=…;type=private` (RFC 7512).

    A key that was made elsewhere is opened too, by its label, its id or both. Its keys reach the token at each
    signature, over whatever session works then; nothing of a session is in them. `folder` is where processes of this
    machine wait for each other, so that a name is given once; of two machines with one token that give a name at the
    same time, neither makes the key.
    """

    def __init__(self, process: TokenProcess, folder: PrivateFolder) -> None:
        self._process = process
        self._folder = folder
        self._opened: dict[str, PrivateKey] = {}

    def __repr__(self) -> str:
        return f"TokenKeyStore({self._process.place.label or self._process.place.serial!r})"

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        """See `KeyStore.generate`. Raises also KeyMechanismMissing, KeyStoreFull, and what `check` raises."""
        check_name(name)
        if algorithm not in KEY_ALGORITHMS:
            raise KeyAlgorithmUnknown(
                f"'{algorithm}' is not a key algorithm.",
                next_step=f"Use one of: {', '.join(KEY_ALGORITHMS)}.",
            )
        identifier = token_bytes(_ID_OCTETS)
        with self._folder.alone(_LOCK, seconds=_PATIENCE):
            self._process.ask(Work("generate", label=name, id=identifier, algorithm=algorithm))
        place = self._process.place
        return str(KeyUri(place.label, "" if place.label else place.serial, name, identifier))

    def open(self, uri: str) -> PrivateKey:
        """See `KeyStore.open`. Raises also KeyAmbiguous, KeyKindUnusable, and what `check` raises."""
        known = self._opened.get(uri)
        if known is not None:
            self._process.ensure()
            return known
        asked = self._mine(uri)
        answer = self._process.ask(Work("public", label=asked.object, id=asked.id))
        label, identifier = answer["label"], bytes.fromhex(answer["id"])

        def sign(**how: Any) -> bytes:
            try:
                done = self._process.ask(Work("sign", label=label, id=identifier, **how))
            except KeyNotFound:
                self._opened.pop(uri, None)  # whoever opens it next is told at once
                raise
            return bytes.fromhex(done["signature"])

        made = signer(answer["kind"], [bytes.fromhex(each) for each in answer["values"]], sign)
        self._opened[uri] = made
        return made

    def uri_of(self, name: str) -> str:
        """See `KeyStore.uri_of`: by its label, which `generate` gives to one key only."""
        place = self._process.place
        return str(KeyUri(place.label, "" if place.label else place.serial, check_name(name)))

    def names(self) -> list[str]:
        """See `KeyStore.names`: the labels that could be names of ours. Raises what `check` raises."""
        labels = self._process.ask(Work("names"))["names"]
        return sorted(label for label in labels if KEY_NAME.fullmatch(label))

    def destroy(self, uri: str) -> None:
        """See `KeyStore.destroy`. Raises also KeyAmbiguous, and what `check` raises."""
        asked = self._mine(uri)
        self._opened.pop(uri, None)
        self._process.ask(Work("destroy", label=asked.object, id=asked.id))

    def check(self) -> dict[str, Any]:
        """What the token says of itself: label, serial, manufacturer, model, firmware, slot, mechanisms.

        Raises SignerUnavailable, HsmAbsent, ModuleUnusable, PinRefused, PinUnusable.
        """
        return self._process.ask(Work("describe"))

    def retry_pin(self) -> None:
        """Let a PIN that the token refused be tried once more. Raises KeyStoreUnavailable."""
        self._process.retry_pin()

    def close(self) -> None:
        """End the process that holds the token; the next use starts another."""
        self._process.close()

    def _mine(self, uri: str) -> KeyUri:
        asked, place = parse(uri), self._process.place
        if (asked.token and place.label and asked.token != place.label) or (
            asked.serial and place.serial and asked.serial != place.serial
        ):
            raise BadKeyName(
                "This key is in another token.",
                next_step="Put the label and serial of its token into [keys.pkcs11].",
            )
        return asked
