"""tls-alpn-01 (RFC 8737): a certificate that only shows itself to who asks for this protocol."""

import hashlib
import hmac
from ipaddress import ip_address
from typing import Final

from cryptography import x509

from pki.acme.validation import Look, ProofMissing
from pki.x509.malformed import MALFORMED
from pki.x509.names import GeneralName, InvalidName
from scheduler.acme.connecting import Patience, connected, secured, unjudged
from scheduler.acme.resolving import Lookup

#: RFC 8737 §6.1, §6.2.
PROTOCOL: Final = "acme-tls/1"
IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


def prove(look: Look, lookup: Lookup) -> None:
    """Look at the certificate. Raises ProofMissing."""
    patience = Patience()
    found = lookup.addresses(look.name, look.door.networks)
    context = unjudged()
    context.set_alpn_protocols([PROTOCOL])
    with connected(found, look.door.tls_port, patience) as held:
        try:
            with secured(held, context, _asked(look.name), patience) as tls:
                chosen, der = tls.selected_alpn_protocol(), tls.getpeercert(True)
        except (OSError, ValueError, EOFError):
            raise ProofMissing("tls", "the TLS handshake failed") from None
    if chosen != PROTOCOL or der is None:
        raise ProofMissing("tls", f"the server there does not speak {PROTOCOL}")
    digest = hashlib.sha256(look.key_authorization.encode()).digest()
    if not _shows(der, look.name, digest):
        raise ProofMissing("unauthorized", "the certificate there is not that of the challenge")


def _asked(name: GeneralName) -> str:
    """The name in the handshake; for an address that of its reverse zone (RFC 8738 §6)."""
    return name.value if name.kind == "dns" else ip_address(name.value).reverse_pointer


def _shows(der: bytes, name: GeneralName, digest: bytes) -> bool:
    """RFC 8737 §3: exactly that name, and the digest in a critical extension (DER of an OCTET STRING)."""
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        proof = extensions.get_extension_for_oid(IDENTIFIER)
        shown = [GeneralName.from_x509(each) for each in names]
    except (*MALFORMED, InvalidName):
        return False
    if not proof.critical or not isinstance(proof.value, x509.UnrecognizedExtension):
        return False
    wanted = b"\x04\x20" + digest
    return shown == [name] and hmac.compare_digest(proof.value.value, wanted)
