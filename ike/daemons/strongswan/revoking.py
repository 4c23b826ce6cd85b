"""Revocation in charon: lists that count at once, and the end of the SAs that a certificate authenticated."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import IkewardenError
from ike.daemons import matching
from ike.daemons.port import Cut, DaemonRefused, IkeSa, LoadedCrl, RevokedPeer
from ike.daemons.strongswan import listing, names
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.sas import listed_sas
from ike.daemons.strongswan.session import MAX_VALUE, Endpoint, Session
from ike.daemons.strongswan.sightings import Sightings
from ike.daemons.strongswan.trusting import Trusting, crl_name

# When to look again whether an SA that was half-open has got its identity by now, in seconds.
_LOOK_AGAIN = (0.02, 0.04, 0.08, 0.16, 0.2)
_NAMELESS = {"", "%any"}
_pause = threading.Event().wait


class RevocationLists:
    """The lists of one charon: loaded where they fit into a VICI message and no other key has the issuer's name, else
    by the URL of a file.
    """

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles, trusting: Trusting) -> None:
        self._endpoint = endpoint
        self._files = files
        self._trusting = trusting

    def load(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        refused: list[IkewardenError] = []
        in_files = []
        with self._endpoint.session() as session:
            for crl in crls:
                try:
                    if not self._load(session, crl):
                        in_files.append(crl)
                except DaemonRefused as refusal:
                    refused.append(refusal)
            # What is cached is looked at before what was loaded, until its nextUpdate; a cached OCSP answer that says
            # good is looked at before any list.
            session.ask("flush-certs", {"type": "X509_CRL"})
            session.ask("flush-certs", {"type": "OCSP_RESPONSE"})
            for crl in in_files:
                self._displace_older(session, crl)
        if refused:
            raise refused[0]

    def files(self) -> list[LoadedCrl]:
        """The lists that charon reads from a file when it needs them: VICI cannot show them."""
        found = []
        for authority in self._files.authorities():
            held = _read(self._files.large_crl_path(crl_name(authority)))
            if held is not None:
                found.append(listing.loaded_crl(held))
        return found

    def _load(self, session: Session, crl: x509.CertificateRevocationList) -> bool:
        """Give charon a list, or the URL of its file; says whether it was loaded."""
        issuer = self._issuer(crl)
        small = self._files.small_crl_path(crl_name(issuer))
        large = self._files.large_crl_path(crl_name(issuer))
        for had in map(_read, (small, large)):
            crl = had if had is not None and _newer(had, crl) else crl
        der = crl.public_bytes(Encoding.DER)
        loaded = len(der) <= MAX_VALUE and not self._has_namesake(session, issuer)
        if loaded:
            session.ask("load-cert", {"type": "X509_CRL", "data": der})
            self._files.write(small, der)
            self._files.remove(large)
        else:
            self._files.write(large, der)
            self._files.remove(small)  # swanctl stumbles over large ones, and would load an old one
        self._trusting.write()
        self._trusting.load(session, [issuer])
        return loaded

    def _issuer(self, crl: x509.CertificateRevocationList) -> x509.Certificate:
        """The trusted CA whose key signed a list. charon takes any list, and lets one that nobody signed push out a
        good one.
        """
        for authority in self._files.authorities():
            key = authority.public_key()
            if authority.subject == crl.issuer and _is_signed(crl, key):
                return authority
        raise DaemonRefused(
            f"The revocation list of {crl.issuer.rfc4514_string()} is of no CA that this gateway trusts.",
            next_step="Give the gateway the CA's certificate first.",
        )

    def _has_namesake(self, session: Session, issuer: x509.Certificate) -> bool:
        """Whether another key has the issuer's name, as in a rollover: charon holds one loaded list for a name, whoever
        signed it, that with the higher number. From files it takes each for its own key.
        """
        keys = {
            crl_name(each) for each in self._files.authorities() if each.subject == issuer.subject
        }
        return len(keys) > 1 or any(
            had.issuer == issuer.subject and _key_of(had) not in {None, crl_name(issuer)}
            for had in listing.crls(session)
        )

    def _displace_older(self, session: Session, crl: x509.CertificateRevocationList) -> None:
        """Push out an older list that lies loaded before the file of a large one: nothing unloads a list.

        What pushes it out has the same number and no signature that counts: charon passes it over and reads the file.
        """
        older = [
            had
            for had in listing.crls(session)
            if had.issuer == crl.issuer and _key_of(had) == _key_of(crl) and _newer(crl, had)
        ]
        if older:
            empty = _unsigned(crl).public_bytes(Encoding.DER)
            session.ask("load-cert", {"type": "X509_CRL", "data": empty})
            session.ask("flush-certs", {"type": "X509_CRL"})


class Cutting:
    """The end of SAs that a revoked certificate authenticated."""

    def __init__(
        self, endpoint: Endpoint, sightings: Sightings, now: Callable[[], datetime]
    ) -> None:
        self._endpoint = endpoint
        self._sightings = sightings
        self._now = now

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        cuts: dict[str, Cut] = {}
        with self._endpoint.session() as session:
            nameless = self._cut_once(session, peer, cuts)
            for seconds in _LOOK_AGAIN:
                # Who is still coming in may have been let in by the old list.
                if not nameless:
                    break
                _pause(seconds)
                nameless &= self._cut_once(session, peer, cuts)
            self._confirm(session, cuts)
        return tuple(cuts.values())

    def _cut_once(self, session: Session, peer: RevokedPeer, cuts: dict[str, Cut]) -> set[str]:
        """End what matches; gives the ids of half-open SAs whose peer is not known yet."""
        nameless = set()
        for sa in listed_sas(session, self._now()):
            matched = self._matched(sa, peer) or self._is_called(session, sa, peer)
            if matched:
                cuts[sa.id] = Cut(sa, matched, error=_terminate(session, sa))
            elif not sa.established and sa.remote_id in _NAMELESS:
                nameless.add(sa.id)
        return nameless

    def _matched(self, sa: IkeSa, peer: RevokedPeer) -> str:
        seen = self._sightings.of(sa)
        if seen is not None and seen.remote is not None:
            return "certificate" if seen.remote == peer.fingerprint else ""
        return "identity" if names.any_is_said(peer.identities, sa.remote_id) else ""

    def _is_called(self, session: Session, sa: IkeSa, peer: RevokedPeer) -> str:
        """Whether a half-open SA that we began is meant for the peer: its connection says whom it expects."""
        if sa.established or not sa.initiator or sa.remote_id not in _NAMELESS:
            return ""
        expected = [
            part["id"]
            for entry in session.stream("list-conns", "list-conn", {"ike": sa.connection})
            for name, part in entry.get(sa.connection, {}).items()
            if name.startswith("remote") and isinstance(part, dict) and "id" in part
        ]
        found = any(names.any_is_said(peer.identities, each) for each in expected)
        return "identity" if found else ""

    def _confirm(self, session: Session, cuts: dict[str, Cut]) -> None:
        """An SA is ended when it is listed no more, whatever `terminate` said."""
        left = {sa.id for sa in listed_sas(session, self._now())} if cuts else set()
        for id_, cut in cuts.items():
            ended = id_ not in left
            error = "" if ended else cut.error or "charon still lists it"
            cuts[id_] = Cut(cut.sa, cut.matched_by, ended, error)


def _terminate(session: Session, sa: IkeSa) -> str:
    """End an SA at once: the peer is sent a DELETE, its answer is not waited for. Gives the daemon's refusal."""
    try:
        session.stream("terminate", "control-log", {"ike-id": sa.id, "force": "yes"})
    except DaemonRefused as refusal:
        return refusal.message
    return ""


def _read(path: Path) -> x509.CertificateRevocationList | None:
    """The list in a file; None where there is none, or none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return x509.load_der_x509_crl(path.read_bytes())
    return None


def _newer(one: x509.CertificateRevocationList, other: x509.CertificateRevocationList) -> bool:
    numbers = listing.crl_number(one), listing.crl_number(other)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] > numbers[1]
    return one.last_update_utc > other.last_update_utc


def _key_of(crl: x509.CertificateRevocationList) -> str | None:
    """The identifier of the key that a list says it is of (RFC 5280 §5.2.1), as `crl_name` has it."""
    with suppress(x509.ExtensionNotFound, *matching.MALFORMED):
        found = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        return found.key_identifier.hex() if found.key_identifier is not None else None
    return None


def _is_signed(crl: x509.CertificateRevocationList, key: object) -> bool:
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _unsigned(crl: x509.CertificateRevocationList) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(crl.issuer)
    builder = builder.last_update(crl.last_update_utc)
    builder = builder.next_update(crl.next_update_utc or crl.last_update_utc + timedelta(days=1))
    for extension in crl.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
