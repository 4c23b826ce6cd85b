"""dns-01 (RFC 8555 §8.4): a TXT record below the name."""

import hashlib
import hmac

from pki.acme.jws import encoded
from pki.acme.validation import Look, ProofMissing
from scheduler.acme.resolving import Lookup


def prove(look: Look, lookup: Lookup) -> None:
    """Look for the record. Raises ProofMissing."""
    wanted = encoded(hashlib.sha256(look.key_authorization.encode()).digest()).encode()
    found = lookup.texts(f"_acme-challenge.{look.name.value}")
    if not found:
        raise ProofMissing("dns", "there is no TXT record at _acme-challenge")
    if not any(hmac.compare_digest(each, wanted) for each in found):
        raise ProofMissing("unauthorized", "no TXT record at _acme-challenge has the digest")
