"""The TLS side of the API listener: who we are, whose clients we know, and how both change while
running.
"""

import hashlib
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import IkewardenError
from core.secret import Secret

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


class TlsUnusable(IkewardenError):
    """The service's certificate, key or authorities cannot be used for TLS."""

    code = "tls_unusable"
    next_step = "Check that the service certificate belongs to the key; deleting both renews them."


@dataclass(frozen=True)
class Credential:
    """What the listener proves itself with and whom it trusts.

    `pem`: the private key, not encrypted, and its chain, the leaf first, in PEM. `authorities`: DER
    certificates of our own authorities, the only ones whose client certificates are accepted.
    """

    pem: Secret
    authorities: Sequence[bytes]

    def digest(self) -> bytes:
        """Tells it from any other."""
        content = hashlib.sha256(self.pem.reveal())
        for der in self.authorities:
            content.update(hashlib.sha256(der).digest())
        return content.digest()


class TlsDoor:
    """One SSL context for the listener whose content can be exchanged under it.

    A context that was given to a listener cannot be taken back, `load_cert_chain` on it would leave
    a key of another type beside the new one, and trust could only grow. So each handshake is moved
    to the present inner context; open connections keep the one they began with and are checked on
    every request by the record instead.
    """

    def __init__(self, credential: Credential) -> None:
        self._inner = _context(credential)
        self.context = _context(credential)
        # OpenSSL calls this in every handshake, also without SNI (RFC 6066 §3 leaves the name
        # optional).
        self.context.sni_callback = self._enter

    def reload(self, credential: Credential) -> None:
        """Use this credential from the next handshake on. Raises TlsUnusable and keeps the old
        one.
        """
        self._inner = _context(credential)

    def _enter(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _outer: ssl.SSLContext
    ) -> None:
        connection.context = self._inner


def _context(credential: Credential) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9325 §3.1.1: TLS 1.2 at least, 1.3 preferred; §4.2.1: forward secrecy and AEAD for 1.2.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # No resumption: a resumed session would carry a chain that was verified against yesterday's
    # authorities.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    # A client may come without a certificate; one that does not verify ends the handshake.
    context.verify_mode = ssl.CERT_OPTIONAL
    # An expired client certificate is let through the handshake, so that the record refuses it in words (401,
    # client_certificate_expired) instead of a connection that breaks. Its time is checked on every request.
    context.verify_flags |= _NO_CHECK_TIME
    try:
        if credential.authorities:
            context.load_verify_locations(cadata=b"".join(credential.authorities))
        _load(context, credential)
    except (ssl.SSLError, OSError, ValueError) as problem:
        # The reason names neither file nor key, only what OpenSSL could not do.
        raise TlsUnusable(
            f"The service's TLS certificate cannot be used: {_reason(problem)}."
        ) from None
    return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    # `ssl` reads keys from files only. A memory file has no place in any directory and is gone with
    # its descriptor, so the plain key touches no disk, and a full or read-only disk cannot keep us
    # from starting.
    descriptor = os.memfd_create("ikewarden-tls", os.MFD_CLOEXEC)
    try:
        content = memoryview(credential.pem.reveal())
        while content:
            content = content[os.write(descriptor, content) :]

        def no_password() -> str:  # OpenSSL would ask at the terminal
            raise ValueError("the key is encrypted")

        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=no_password)
    finally:
        os.close(descriptor)


def _reason(problem: Exception) -> str:
    return str(getattr(problem, "reason", None) or type(problem).__name__).lower().replace("_", " ")
