"""What EST sends and gets, as bytes.

Answers are base64 in one line: charon's `pki` before 5.9.11 reads no other; requests come wrapped or not (RFC 8951 §3).
"""

import base64
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

PKCS10: Final = "application/pkcs10"
CERTS: Final = "application/pkcs7-mime; smime-type=certs-only"
CSR_ATTRIBUTES: Final = "application/csrattrs"
PKCS8: Final = "application/pkcs8"
# RFC 7030 §4.4.2: encrypted
SERVER_KEY: Final = "application/pkcs7-mime; smime-type=server-generated-key"


def certs_only(certificates: Iterable[x509.Certificate]) -> bytes:
    """A certs-only PKCS #7 (RFC 7030 §4.1.3, RFC 5272 §3.2), in base64."""
    return base64.b64encode(serialize_certificates(list(certificates), Encoding.DER))


def mixed(parts: Iterable[tuple[str, bytes]], boundary: str) -> bytes:
    """A multipart/mixed body (RFC 2046 §5.1) of parts in base64: media type and content of each."""
    pieces = [
        f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
        + content
        + b"\r\n"
        for media_type, content in parts
    ]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])
