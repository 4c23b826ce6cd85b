"""A Transit engine tried out: all that the service asks of it, under its policy. The first refusal ends it."""

from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hsm.errors import KeyStoreError
from hsm.ports import KeyAlgorithm, PrivateKey
from hsm.transitstore import TransitKeyStore
from hsm.vaultpolicy import TRIAL_KEY

_MESSAGE = b"ikewarden tries this key"


# A key of each family: which curves and lengths there are does not differ from server to server.
_ALGORITHMS: Final[tuple[KeyAlgorithm, ...]] = ("ec-p256", "rsa-2048", "ed25519")


def try_out(keys: TransitKeyStore, report: Callable[[str], None]) -> None:
    """Log in, make a key of each family, sign with it, and destroy it. `report` hears of each that went well.

    Raises what keeps the engine from serving; then a key `check-…` may be left.
    """
    keys.check()
    report("logged in; the mount is a Transit engine")
    for algorithm in _ALGORITHMS:
        uri = keys.generate(f"{TRIAL_KEY}{token_hex(6)}", algorithm)
        try:
            _sign(keys.open(uri))
        except KeyStoreError:
            with suppress(KeyStoreError):
                keys.destroy(uri)
            raise
        keys.destroy(uri)
        report(f"made, used and destroyed a key: {algorithm}")


def _sign(key: PrivateKey) -> None:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        key.sign(_MESSAGE, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        key.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    else:
        key.sign(_MESSAGE)
