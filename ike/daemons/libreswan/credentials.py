"""One nickname, one certificate at a time: how a credential gets into use and out again.

Connections name their certificate by nickname. So what is staged, and what was in use before, is held beside it under
nicknames of its own that end in its fingerprint, each with its key; the switch is a change of nicknames in one process
of certutil, and no key moves. Then pluto is told to look (`--rereadcerts`), and asked which key it signs with.
"""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ike.daemons import matching
from ike.daemons.libreswan.nss import Database, Entry, key_id
from ike.daemons.libreswan.status import UsedKey, used_keys
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import Credential, CredentialName, DaemonRefused, fingerprint

CHAIN = "ikewarden-ca"
_INTERIM = timedelta(seconds=2)


class Credentials:
    """The credentials under one nickname. `clock` tells the time, `wait` takes seconds."""

    def __init__(
        self,
        database: Database,
        whack: Whack,
        nickname: str,
        *,
        clock: Callable[[], datetime],
        wait: Callable[[float], object],
    ) -> None:
        self._database = database
        self._whack = whack
        self.nickname = nickname
        self._clock = clock
        self._wait = wait

    def is_ours(self, entry: Entry) -> bool:
        """Whether an entry stands under the nickname or one made from it."""
        return entry.nickname in (self.nickname, self._beside(entry.certificate))

    def current(self) -> Entry | None:
        """What stands under the nickname."""
        return self._current(self._database.entries())

    def _current(self, entries: tuple[Entry, ...]) -> Entry | None:
        # Two under one nickname are of an operator's making: NSS then takes the newest.
        held = [each for each in entries if each.nickname == self.nickname]
        return max(held, key=lambda each: each.certificate.not_valid_before_utc, default=None)

    def _beside(self, certificate: x509.Certificate) -> str:
        return f"{self.nickname}-{fingerprint(certificate)[:16]}"

    def _find(self, print_: str, entries: tuple[Entry, ...] | None = None) -> Entry | None:
        found = [
            each
            for each in (self._database.entries() if entries is None else entries)
            if each.fingerprint == print_ and self.is_ours(each)
        ]
        return found[0] if found else None

    def _swept(self) -> tuple[Entry, ...]:
        """Every entry, once what an agent left behind that died in `_loosen` is out."""
        entries = self._database.entries()
        left = [each for each in entries if self.is_ours(each) and _is_interim(each.certificate)]
        for each in left:
            self._database.remove(each.nickname)
        return tuple(each for each in entries if each not in left)

    # the steps

    def stage(self, credential: Credential) -> None:
        """Put certificate and key in beside what is in use."""
        identifier = key_id(credential.certificate.public_key())
        self._database.require_private()
        entries = self._swept()
        self._add_chain(credential, entries)
        had = self._find(credential.fingerprint, entries)
        if had is None:
            # The certificate first: pk12util would put it under the nickname that its subject has already.
            self._database.add(self._beside(credential.certificate), credential.certificate, ",,")
        if had is None or not had.has_key:
            try:
                if identifier not in self._database.keys():
                    self._database.add_key(credential)
            except Exception:
                if had is None:
                    self._database.remove(self._beside(credential.certificate))
                raise

    def _add_chain(self, credential: Credential, entries: tuple[Entry, ...]) -> None:
        held = {each.fingerprint for each in entries}
        for each in credential.chain:
            print_ = fingerprint(each)
            if print_ not in held and not matching.is_root(each):
                self._database.add(f"{CHAIN}-{print_[:16]}", each, ",,")

    def check(self, credential: Credential) -> None:
        """Make sure that the certificate is there and its key signs; raises DaemonRefused."""
        entry = self._find(credential.fingerprint)
        if entry is None or not entry.has_key:
            raise DaemonRefused("The NSS database does not have the certificate with its key.")
        self._database.require_signature(entry)

    def apply(self, credential: Credential) -> None:
        """Put the staged credential under the nickname, what was there beside it, and have pluto take it."""
        entries = self._swept()
        entry = self._find(credential.fingerprint, entries)
        if entry is None or not entry.has_key:
            raise DaemonRefused("The NSS database does not have the certificate with its key.")
        self._put(entry, entries)
        self.tell(entry.certificate)

    def _put(self, entry: Entry, entries: tuple[Entry, ...]) -> None:
        current = self._current(entries)
        if entry.nickname == self.nickname:
            return
        pairs = [(entry.nickname, self.nickname)]
        if current is not None:
            pairs.insert(0, (self.nickname, self._beside(current.certificate)))
        self._database.rename(*pairs)

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        """Take a credential out again; the old one is under the nickname as before."""
        if old is not None and old.fingerprint == credential.fingerprint:
            return
        entries = self._swept()
        current = self._current(entries)
        back = self._former(credential, old, entries)
        changed = current is None or current.fingerprint == credential.fingerprint
        if back is not None and changed:
            self._put(back, entries)
            self.tell(back.certificate)
        self._remove(credential.certificate)
        if back is None and changed:
            self._whack.ask("--rereadcerts")

    def _former(
        self, credential: Credential, old: CredentialName | None, entries: tuple[Entry, ...]
    ) -> Entry | None:
        """What was under the nickname before: the old one, else what the agent found there at first."""
        if old is not None:
            found = self._find(old.fingerprint, entries)
            if found is None or not found.has_key:
                raise DaemonRefused("The old certificate and its key are in the database no more.")
            return found
        others = [
            each
            for each in entries
            if self.is_ours(each) and each.has_key and each.fingerprint != credential.fingerprint
        ]
        return max(others, key=lambda each: each.certificate.not_valid_before_utc, default=None)

    def retire(self, old: CredentialName) -> None:
        """Take an old credential out, wherever it stands."""
        current = self._current(self._swept())
        self._remove(old.certificate)
        if current is not None and current.fingerprint == old.fingerprint:
            self._whack.ask("--rereadcerts")

    def _remove(self, certificate: x509.Certificate) -> None:
        entries = self._database.entries()
        print_ = fingerprint(certificate)
        identifier = key_id(certificate.public_key())
        shared = any(
            each.has_key and key_id(each.certificate.public_key()) == identifier
            for each in entries
            if each.fingerprint != print_
        )
        # The key first: a certificate that a kill leaves behind is found again, a key without one is not.
        if not shared:
            self._database.remove_key(identifier)
        entry = self._find(print_, entries)
        if entry is not None:
            self._database.remove(entry.nickname)

    # pluto

    def tell(self, certificate: x509.Certificate) -> None:
        """Have pluto take the certificate that is under the nickname, and make sure that it did."""
        if self._reread() and not self.in_use(certificate):
            self._loosen(certificate)
            if not self.in_use(certificate):
                raise DaemonRefused(
                    "pluto goes on with another certificate of the same nickname.",
                    next_step="Restart Libreswan.",
                )

    def _reread(self) -> bool:
        """Tell pluto to look; whether a connection takes its certificate by the nickname."""
        mine = f"leftcert='{self.nickname}'", f"rightcert='{self.nickname}'"
        lines = self._whack.ask("--rereadcerts").splitlines()
        about = [line for line in lines if any(each in line for each in mine)]
        failed = [line for line in about if "failed" in line]
        if failed:
            raise DaemonRefused(f"pluto refused the certificate: {failed[0][4:]}")
        return bool(about)

    def in_use(self, certificate: x509.Certificate) -> bool:
        """Whether pluto signs with the key of a certificate, for a connection that is loaded."""
        wanted = _as_used(certificate)
        keys = used_keys(self._whack.ask("--utc", "--listpubkeys"))
        return any(wanted.id.startswith(each.id) and each.until == wanted.until for each in keys)

    def _loosen(self, certificate: x509.Certificate) -> None:
        """Make pluto let go of a newer certificate that it holds under the nickname.

        pluto remembers the nickname that a certificate had when it was loaded, whatever the database says since, and
        of all under one nickname it takes the newest that is valid (NSS: CERT_IsNewer). Only what a connection holds
        is remembered. So for a moment an even newer one is put in its place, with the key of the one that is wanted,
        which expires at once; the next look then finds the wanted one alone.
        """
        interim = self._interim(certificate)
        self._database.rename((self.nickname, self._beside(certificate)))
        self._database.add(self.nickname, interim, ",,")
        try:
            self._reread()
        finally:
            self._database.remove(self.nickname)
            self._database.rename((self._beside(certificate), self.nickname))
        while (left := interim.not_valid_after_utc - self._clock()) >= timedelta(0):
            self._wait(left.total_seconds() + 0.01)
        self._reread()

    def _interim(self, model: x509.Certificate) -> x509.Certificate:
        now = self._clock()
        builder = x509.CertificateBuilder(
            issuer_name=model.issuer,
            subject_name=model.subject,
            public_key=model.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now,
            not_valid_after=now + _INTERIM,
        )
        # Nobody is ever shown this signature: pluto does not verify its own certificate, and no peer accepts this one.
        return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def _is_interim(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc <= _INTERIM


def _as_used(certificate: x509.Certificate) -> UsedKey:
    """How pluto would list a certificate's key."""
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        data = bytes([len(exponent)]) + exponent + modulus  # RFC 3110 §2
    else:
        data = bytes.fromhex(key_id(public))
    until = certificate.not_valid_after_utc.strftime("%b %d %H:%M:%S UTC %Y")
    return UsedKey(base64.b64encode(data).decode(), until)
