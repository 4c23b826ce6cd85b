"""A key store tried out: a key of each family made, used, and destroyed."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hsm.errors import KeyStoreError
from hsm.ports import KeyAlgorithm, KeyStore, PrivateKey

_MESSAGE = b"ikewarden tries this key"


def try_out(
    keys: KeyStore,
    name: str,
    algorithms: Iterable[KeyAlgorithm],
    report: Callable[[str], None],
) -> None:
    """Make a key `NAME-ALGORITHM` of each kind, sign with it, and destroy it. `report` hears of each that went well.

    Raises what keeps the store from serving; then a key may be left.
    """
    for algorithm in algorithms:
        uri = keys.generate(f"{name}-{algorithm}", algorithm)
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
