"""A credential in and out of charon, step by step (ike/daemons/port.py shows the steps).

charon takes the first certificate that has a key and bears its identity: the cache first, then the newest loaded. It
cannot unload a certificate, but a certificate without its key is passed over. So keys are what is loaded and unloaded
here, and the cache is flushed whenever the choice must change.
"""

import contextlib
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import IkewardenError
from core.secret import Secret
from ike.daemons import matching
from ike.daemons.port import (
    Credential,
    CredentialName,
    DaemonRefused,
    DaemonUnreachable,
    TokenKey,
)
from ike.daemons.strongswan import listing, tokens
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.session import Endpoint, Session

Flush = Callable[[Session], None]


class Swapping:
    """The steps, for one charon and its files. `flush` empties the cache of certificates."""

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles, flush: Flush) -> None:
        self._endpoint = endpoint
        self._files = files
        self._flush = flush

    def stage(self, credential: Credential) -> None:
        matching.require_match(credential)
        key = _key_of(credential.certificate)
        with self._endpoint.session() as session:
            had_key = key in listing.keys(session)
            had_file = self._files.has_key(key)
            try:
                # The file comes after the key: whoever sees the file and misses the key knows that it was wiped.
                self._load(session, credential.key, key)
                for certificate in (*_without_root(credential), credential.certificate):
                    _load_certificate(session, certificate)
            except IkewardenError as failed:
                if not had_file:
                    self._files.remove_key(key)
                if not had_key and not isinstance(failed, DaemonUnreachable):
                    _unload_key(session, key)
                raise

    def check(self, credential: Credential) -> None:
        with self._endpoint.session() as session:
            _require_usable(listing.certificates(session), credential)

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        if old is not None and old.fingerprint == credential.fingerprint:
            old = None
        with self._endpoint.session() as session:
            _require_usable(listing.certificates(session), credential)
            for issuer in _without_root(credential):
                self._files.write_certificate(self._files.chain_path(issuer), issuer)
            path = self._files.certificate_path(credential.certificate)
            self._files.write_certificate(path, credential.certificate)
            if old is not None:
                # Both would be loaded by a restart, in the order of the folder.
                self._files.put_aside(old.certificate)
                # The old one would still be shown to a peer that asks for its CA and not for the new one's.
                self._unload(session, old)
            self._flush(session)

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        certificate = credential.certificate
        if old is not None and old.fingerprint == credential.fingerprint:
            return
        if old is not None:
            self._require_key(credential, old)
            self._files.put_back(old.certificate)
        shared = self._files.shares_key(certificate)
        self._files.remove_credential(certificate)
        with self._endpoint.session() as session:
            if old is not None:
                self._bring_back(session, old)
            if not shared:
                _unload_key(session, _key_of(certificate))
            self._flush(session)

    def retire(self, old: CredentialName) -> None:
        shared = self._files.shares_key(old.certificate)
        self._files.remove_credential(old.certificate)
        if not shared:
            with self._endpoint.session() as session:
                _unload_key(session, _key_of(old.certificate))

    # inside

    def _load(self, session: Session, key: Secret | TokenKey, name: str) -> None:
        """Load a key, then write down for a restart where it is."""
        if isinstance(key, TokenKey):
            content = tokens.rendered(key.uri, name)
            tokens.load(session, content, name)
            self._files.write(self._files.token_path(name), content.reveal())
        else:
            _load_key(session, key, name)
            self._files.write(self._files.key_path(name), key.reveal())

    def _unload(self, session: Session, old: CredentialName) -> None:
        """Let a key of ours go that was put aside for `undo`; it stays if the new certificate is for it too."""
        key = _key_of(old.certificate)
        if not self._files.shares_key(old.certificate) and self._files.has_key(key):
            _unload_key(session, key)

    def _require_key(self, credential: Credential, old: CredentialName) -> None:
        """What is in use is not taken out for something whose key is gone."""
        key = _key_of(old.certificate)
        if (
            not self._files.has_key(key)
            and self._files.certificate_path(credential.certificate).exists()
        ):
            with self._endpoint.session() as session:
                if key not in listing.keys(session):
                    raise DaemonRefused(
                        "The former certificate's key is gone; the new certificate stays in use."
                    )

    def _bring_back(self, session: Session, old: CredentialName) -> None:
        key = _key_of(old.certificate)
        if key not in listing.keys(session):
            if (secret := self._files.key(key)) is not None:
                _load_key(session, secret, key)
            elif (token := self._files.token(key)) is not None:
                tokens.load(session, token, key)
        for certificate in (*self._files.chain(), old.certificate):
            _load_certificate(session, certificate)


def _key_of(certificate: x509.Certificate) -> str:
    return matching.key_id(certificate.public_key())


def _without_root(credential: Credential) -> list[x509.Certificate]:
    """The issuers, the highest first. A root would become a trust anchor by being loaded; `trust` decides that."""
    return [each for each in reversed(credential.chain) if not matching.is_root(each)]


def _load_key(session: Session, key: Secret, expected: str) -> None:
    answer = session.ask("load-key", {"type": "any", "data": key.reveal()})
    if answer.get("id") != expected:
        raise DaemonRefused("charon read another key than it was given.")


def _unload_key(session: Session, key: str) -> None:
    if key in listing.keys(session):
        with contextlib.suppress(DaemonRefused):  # somebody else was quicker
            session.ask("unload-key", {"id": key})


def _load_certificate(session: Session, certificate: x509.Certificate) -> None:
    der = certificate.public_bytes(Encoding.DER)
    session.ask("load-cert", {"type": "X509", "flag": "NONE", "data": der})


def _require_usable(listed: list[listing.Listed], credential: Credential) -> None:
    for each in listed:
        if each.fingerprint == credential.fingerprint:
            if each.has_key:
                return
            raise DaemonRefused("charon lists the certificate, but not its key.")
    raise DaemonRefused("charon does not list the certificate.")
