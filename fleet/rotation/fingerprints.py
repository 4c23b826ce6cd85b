"""Keyed fingerprints of shared secrets: the same value has the same one, and nobody can guess a value from it."""

from core.secret import Secret
from pki.desk import Desk


def fingerprint(desk: Desk, value: Secret) -> str:
    """The first 16 octets of HMAC-SHA256 under the installation's key, in hexadecimal.

    The key is made on first use and lies in the store of secrets. Raises what the store raises.
    """
    raise NotImplementedError
