"""CA certificates and revocation lists: what pluto believes of its peers.

pluto keeps what it has read: CA certificates until five minutes after the last authentication or, once taken out of the
database, until it is restarted; revocation lists until NSS looks again, within a minute. What makes it look at once are
the timers that it has for this, let off by hand (`--impair trigger:…`: the name is of its tests, the function is the
timer's own).
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ike.daemons import matching
from ike.daemons.libreswan.credentials import CHAIN
from ike.daemons.libreswan.managed import write
from ike.daemons.libreswan.nss import Database, Entry
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import (
    DaemonFilesUnwritable,
    DaemonRefused,
    DaemonUnreachable,
    LoadedCrl,
    NotYetInForce,
    fingerprint,
)

SIGNPOST = "ikewarden-crl"
_FETCH_SECONDS = 15.0
_ADDED, _REMOVED = "added-authorities", "removed-authorities"
_SETTLED = "imported CRL for '"
_DISTRUSTED = "p,p,p"


class Trust:
    """The CA set and the revocation lists of one pluto."""

    def __init__(
        self,
        places: Places,
        database: Database,
        whack: Whack,
        clock: Callable[[], datetime],
    ) -> None:
        self._places = places
        self._database = database
        self._whack = whack
        self._clock = clock
        self._in_force: dict[str, str | None] = {}  # list by issuer's key → incarnation

    # CA certificates

    def trust(self, authorities: Sequence[x509.Certificate], needed: set[str]) -> None:
        """As `trust` of the port. `needed` are fingerprints of issuing CAs that own certificates stand on."""
        entries = self._database.entries()
        held = {each.fingerprint for each in entries}
        wanted = {fingerprint(each): each for each in authorities}
        added = {print_: each for print_, each in wanted.items() if print_ not in held}
        if added:
            # Written down first: whoever dies in between must not forget that pluto has to be told.
            self._note(_ADDED)
        for print_, each in added.items():
            flags = "CT,," if matching.is_root(each) else ",,"
            self._database.add(f"{CHAIN}-{print_[:16]}", each, flags)
        for entry in entries:
            if is_authority(entry) and entry.fingerprint not in {*wanted, *needed}:
                self._note(_REMOVED)
                self._database.remove(entry.nickname)
        if self._is_noted(_ADDED):
            self._free_roots()
            self._forget(_ADDED)
        if self._is_noted(_REMOVED):
            raise NotYetInForce(
                "A CA certificate was taken out of the NSS database, but pluto goes on accepting certificates of it"
                " until it is restarted."
            )
        self._forget(_REMOVED)

    def _caches_roots(self) -> bool:
        """Whether pluto has read the CA certificates, which it does at the first authentication."""
        return "EVENT_FREE_ROOT_CERTS" in self._whack.ask("--listevents")

    def _free_roots(self) -> None:
        # From 5.0 on --rereadcerts would do; until then it waits for five quiet minutes.
        done = self._whack.try_for(5.0, "--impair", "trigger:FREE_ROOT_CERTS")
        if done.status != 0:
            raise NotYetInForce(
                f"pluto has not read the new CA certificates yet: {done.last_words}"
            )

    def _note(self, what: str) -> None:
        """Write down which pluto has read the CA certificates as they were; nothing where none has."""
        incarnation = self._whack.incarnation()
        if incarnation is not None and self._caches_roots():
            write(self._places.state / what, incarnation.encode())

    def _is_noted(self, what: str) -> bool:
        """Whether the pluto that runs is the one that was written down."""
        path = self._places.state / what
        try:
            noted = path.read_text()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DaemonFilesUnwritable(f"{path} cannot be read: {error.strerror}.") from error
        return noted == self._whack.incarnation()

    def _forget(self, what: str) -> None:
        (self._places.state / what).unlink(missing_ok=True)

    # revocation lists

    def load(self, lists: Sequence[x509.CertificateRevocationList]) -> None:
        """As `load_crls` of the port."""
        entries = self._database.entries()
        held = self._database.lists()
        fresh: list[str] = []
        for each in lists:
            issuer = _issuer(each, entries)
            key = _key(each.issuer)
            had = _held_number(issuer, held)
            if had is not None and had > (number(each) or 0):
                continue
            self._signpost(key, entries)
            content = each.public_bytes(Encoding.DER)
            write(self._list_path(key), content)
            if had is None or had < (number(each) or 0):
                self._database.add_list(str(self._list_path(key)), issuer.nickname)
                fresh.append(key)
            elif self._in_force.get(key) != self._whack.incarnation():
                fresh.append(key)
        if fresh:
            self._have_read(fresh)

    def loaded(self, entries: Sequence[Entry]) -> tuple[LoadedCrl, ...]:
        """The lists of the database."""
        by_name = {each.nickname: each.certificate.subject.rfc4514_string() for each in entries}
        return tuple(
            LoadedCrl(by_name.get(name, name), found)
            for name, found in self._database.lists().items()
        )

    def _list_path(self, key: str) -> Path:
        return self._places.lists / f"{key}.crl"

    def _signpost(self, key: str, entries: Sequence[Entry]) -> None:
        """Have a certificate in the database whose distribution point is our file of a list.

        pluto fetches the distribution points of every certificate of its database, and what it fetched itself counts
        at once. (The URL that crlutil can give a list is not looked at where the CA certificate names a distribution
        point.) The certificate is nobody's: no CA, distrusted, its key forgotten.
        """
        nickname = f"{SIGNPOST}-{key}"
        if any(each.nickname == nickname for each in entries):
            return
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, nickname)])
        now = self._clock()
        point = x509.DistributionPoint(
            [x509.UniformResourceIdentifier(self._list_path(key).as_uri())], None, None, None
        )
        private = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=private.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=36500),
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        self._database.add(nickname, builder.sign(private, hashes.SHA256()), _DISTRUSTED)

    def _have_read(self, keys: Sequence[str]) -> None:
        incarnation = self._whack.incarnation()
        if incarnation is None:
            raise DaemonUnreachable(
                "pluto is not running; it will read the revocation lists when it starts."
            )
        missing = set(keys)
        # A second time for what pluto was told to fetch before and could not: the first time it says so to nobody.
        for _ in range(2):

            def told(text: str, wanted: set[str] = missing) -> bool:
                return all(f"{_SETTLED}CN={SIGNPOST}-{key}'" in text for key in wanted)

            done = self._whack.try_for(
                _FETCH_SECONDS, "--impair", "trigger:CHECK_CRLS", enough=told
            )
            if "crlcheckinterval= is unset" in done.text:
                raise NotYetInForce(
                    "pluto will count the new revocation list within 60 seconds.",
                    next_step="Set crlcheckinterval=1h in config setup of ipsec.conf and restart Libreswan;"
                    " from then on lists count at once.",
                )
            missing = {key for key in missing if not told(done.text, {key})}
            if not missing:
                self._in_force.update({key: incarnation for key in keys})
                return
            if done.status is None:
                break
        raise NotYetInForce(
            f"pluto did not say that it has read the new revocation list: {done.last_words}",
            next_step="It counts within 60 seconds all the same. Look for CRL in pluto's log: distribution points that"
            " do not answer are waited for first.",
        )


def is_authority(entry: Entry) -> bool:
    """Whether an entry is a CA certificate that the agent put there."""
    return entry.nickname == f"{CHAIN}-{entry.fingerprint[:16]}"


def is_signpost(entry: Entry) -> bool:
    """Whether an entry is there for its distribution point only."""
    return entry.nickname.startswith(f"{SIGNPOST}-")


def number(crl: x509.CertificateRevocationList) -> int | None:
    """CRL number (RFC 5280 §5.2.3)."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *matching.MALFORMED):
        return None


def _key(issuer: x509.Name) -> str:
    return hashlib.sha256(issuer.public_bytes()).hexdigest()[:16]


def _issuer(crl: x509.CertificateRevocationList, entries: Sequence[Entry]) -> Entry:
    for each in entries:
        if each.certificate.subject == crl.issuer and not is_signpost(each):
            return each
    raise DaemonRefused(
        f"The revocation list of {crl.issuer.rfc4514_string()} is of no CA in the NSS database.",
        next_step="Put the CA certificate into the CA set first.",
    )


def _held_number(issuer: Entry, held: dict[str, int | None]) -> int | None:
    """The number of the list of an issuer; 0 for a list without one."""
    for name in (issuer.nickname, issuer.certificate.subject.rfc4514_string()):
        if name in held:
            return held[name] or 0
    return None
