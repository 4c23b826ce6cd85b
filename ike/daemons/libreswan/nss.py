"""The NSS database from which pluto takes keys, certificates and revocation lists, by certutil, pk12util, crlutil.

A certificate is held under a nickname. Several of one subject may have nicknames of their own, whatever is said of NSS
elsewhere: that was true of its old database format. `certutil -L -n` still lists every certificate of the subject, so
which is which is told by our nicknames, which end in the fingerprint.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.programs import Ended, nameless, path_of, run
from ike.daemons.port import Credential, DaemonFilesUnwritable, DaemonRefused, fingerprint

_SECONDS = 20.0  # a database that another process has locked is waited for
_LISTED = re.compile(r"(?P<nickname>.*\S) +(?P<trust>[A-Za-z]*,[A-Za-z]*,[A-Za-z]*) *")
_LIST_HEAD = "Certificate Nickname "
_KEY = re.compile(r"<\s*\d+>\s+\w+\s+(?P<id>[0-9a-f]{40})\b")
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_NUMBER = re.compile(r"Name: CRL Number\n\s+Data:\s+(?:\d+ \((0x[0-9a-f]+)\)|([0-9a-f:\s]+))")
_CRL_NAME = re.compile(r"(?P<name>.*\S) +CRL *")
# What NSS says when the files cannot be written; it says little, so the room is looked at too.
_UNWRITABLE = ("READ_ONLY", "NO_DEVICE_SPACE", "BAD_DATABASE", "SEC_ERROR_IO", "LIBRARY_FAILURE")


def key_id(public: CertificatePublicKeyTypes) -> str:
    """The id under which NSS keeps the private key: SHA-1 of the EC point or of the RSA modulus, hexadecimal."""
    if isinstance(public, rsa.RSAPublicKey):
        modulus = public.public_numbers().n
        data = modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    elif isinstance(public, ec.EllipticCurvePublicKey):
        data = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        raise DaemonRefused(
            "Libreswan signs with RSA and ECDSA keys only.",
            next_step="Choose a profile with RSA or a NIST curve for this gateway.",
        )
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A certificate of the database, under its nickname."""

    nickname: str
    certificate: x509.Certificate
    has_key: bool

    @property
    def fingerprint(self) -> str:
        """Names the certificate."""
        return fingerprint(self.certificate)


class Database:
    """The database in a folder. Methods raise DaemonRefused with NSS's words, DaemonFilesUnwritable, and
    DaemonUnreachable where a tool is missing.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def require_private(self) -> None:
        """Make sure that only root reads the keys; raises DaemonRefused."""
        for path in (self._places.nss, self._places.nss / "key4.db"):
            try:
                mode = path.stat().st_mode
            except OSError as error:
                raise DaemonRefused(
                    f"{path} is not to be had: {error.strerror}.",
                    next_step="Make the database: ipsec initnss",
                ) from error
            # key4.db holds private keys, not encrypted unless the database has a password.
            if stat.S_IMODE(mode) & 0o077:
                raise DaemonRefused(
                    f"{path} is open to others (mode {stat.S_IMODE(mode):o}); no key is put there.",
                    next_step=f"chmod go= {path}",
                )

    # what there is

    def entries(self) -> tuple[Entry, ...]:
        """Every certificate, with its nickname."""
        keys = self.keys()
        names = self._nicknames()
        found: dict[str, tuple[str, x509.Certificate]] = {}
        unclear: list[tuple[str, x509.Certificate]] = []
        for name, listed in self._listed(names).items():
            # Every certificate of the subject is listed. Its own nickname is the one that ends in its fingerprint.
            here = _own_of(name, listed, names)
            known = here if len(here) == 1 else self._signers(name, here)
            found.update({fingerprint(each): (name, each) for each in known})
            unclear += [(name, each) for each in here]
        for name, each in unclear:
            found.setdefault(fingerprint(each), (name, each))
        return tuple(
            Entry(name, each, _key_id_or_none(each) in keys) for name, each in found.values()
        )

    def _signers(self, nickname: str, among: list[x509.Certificate]) -> list[x509.Certificate]:
        """Which of several certificates of one subject signs under a nickname: at most one."""
        request = self._request(nickname) if among else None
        found = [each for each in among if request and each.public_key() == request.public_key()]
        return found[:1]

    def keys(self) -> frozenset[str]:
        """The ids of the private keys, as `key_id` gives them."""
        done = self._tool(self._places.certutil, "-K", check=False)
        if done.status != 0 and "no keys found" not in done.text:
            raise self._refusal(done)
        return frozenset(match["id"] for match in map(_KEY.match, done.text.splitlines()) if match)

    def _nicknames(self) -> list[str]:
        lines = self._tool(self._places.certutil, "-L").text.splitlines()
        found = [match["nickname"] for match in map(_LISTED.fullmatch, lines) if match]
        return [name for name in found if name != _LIST_HEAD.strip()]

    def _listed(self, nicknames: Sequence[str]) -> dict[str, list[x509.Certificate]]:
        """What certutil lists under each nickname: all in one process, with the list's head to part them."""
        lines = "".join(f"-L -n {_quoted(name)} -a\n-L\n" for name in nicknames)
        with nameless(lines.encode()) as batch:
            batched = ("-B", "-i", path_of(batch))
            done = self._tool(self._places.certutil, *batched, handles=(batch,), check=False)
        parts = done.text.split(_LIST_HEAD)[:-1]
        if done.status != 0 or len(parts) != len(nicknames):
            # One of them is gone meanwhile, or cannot be written in a batch.
            one_by_one = (("-L", "-n", name, "-a") for name in nicknames)
            tries = [self._tool(self._places.certutil, *each, check=False) for each in one_by_one]
            parts = [each.text for each in tries]
        return {
            name: [
                each
                for pem in _PEM.finditer(part)
                for each in x509.load_pem_x509_certificates(pem[0].encode())
            ]
            for name, part in zip(nicknames, parts, strict=True)
        }

    # changes

    def add(self, nickname: str, certificate: x509.Certificate, trust: str) -> None:
        """Put a certificate in under a nickname; its private key may be there already or come later."""
        pem = certificate.public_bytes(Encoding.PEM)
        place = ("-A", "-a", "-n", nickname, "-t", trust)
        self._tool(self._places.certutil, *place, stdin=pem)

    def add_key(self, credential: Credential) -> None:
        """Put a private key in whose certificate is there; no secret is an argument or a file with a name."""
        private = load_pem_private_key(credential.pem.reveal(), None)
        password = os.urandom(24).hex().encode()
        bundle = serialize_key_and_certificates(
            b"ikewarden",
            private,  # type: ignore[arg-type]  # RSA or EC, see key_id
            credential.certificate,
            None,
            BestAvailableEncryption(password),
        )
        with nameless(bundle) as bundled, nameless(password) as secret:
            self._tool(
                self._places.pk12util,
                *("-i", path_of(bundled), "-w", path_of(secret)),
                handles=(bundled, secret),
                key_password="-k",  # noqa: S106 - the name of an option
            )

    def rename(self, *pairs: tuple[str, str]) -> None:
        """Give certificates other nicknames, one after the other in one process."""
        lines = "".join(
            f"--rename -n {_quoted(old)} --new-n {_quoted(new)}\n" for old, new in pairs
        )
        with nameless(lines.encode()) as batch:
            self._tool(self._places.certutil, "-B", "-i", path_of(batch), handles=(batch,))

    def remove(self, nickname: str) -> None:
        """Take a certificate out; its key stays."""
        self._tool(self._places.certutil, "-D", "-n", nickname)

    def remove_key(self, identifier: str) -> None:
        """Take a private key out, if it is there."""
        if identifier in self.keys():
            self._tool(self._places.certutil, "-F", "-k", identifier)

    def require_signature(self, entry: Entry) -> None:
        """Have the database sign with the key of a certificate, and verify it; raises DaemonRefused."""
        request = self._request(key_id(entry.certificate.public_key()))
        if request is None or request.public_key() != entry.certificate.public_key():
            raise DaemonRefused("The NSS database does not sign with the key of the certificate.")

    def _request(self, key: str) -> x509.CertificateSigningRequest | None:
        """A request for a certificate, signed by a key (its id, or the nickname of its certificate)."""
        with nameless(os.urandom(64)) as noise:
            named = ("-R", "-a", "-s", "CN=check", "-z", path_of(noise), "-k", key)
            done = self._tool(self._places.certutil, *named, handles=(noise,), check=False)
        pem = _PEM.search(done.text)
        if done.status != 0 or pem is None:
            return None
        with contextlib.suppress(ValueError):
            request = x509.load_pem_x509_csr(pem[0].encode())
            if request.is_signature_valid:
                return request
        return None

    # revocation lists

    def lists(self) -> dict[str, int | None]:
        """Numbers of the revocation lists, by the name that crlutil has for the issuer: a nickname or a subject."""
        lines = self._tool(self._places.crlutil, "-L").text.splitlines()
        names = [match["name"] for match in map(_CRL_NAME.fullmatch, lines) if match]
        return {name: self._number(name) for name in names}

    def _number(self, name: str) -> int | None:
        text = self._tool(self._places.crlutil, "-L", "-n", name, check=False).text
        match = _NUMBER.search(text)
        if match is None:
            return None
        return int(match[1], 16) if match[1] else int(re.sub(r"[:\s]", "", match[2]), 16)

    def add_list(self, path: str, issuer: str) -> None:
        """Import a revocation list (DER file) in the place of the one of its issuer, a nickname of the database."""
        done = self._tool(self._places.crlutil, "-I", "-i", path, check=False)
        if done.status != 0 and "SEC_ERROR_OLD_CRL" in done.text:
            # NSS goes by thisUpdate, to the second; the number (RFC 5280 §5.2.3) was compared before.
            self._tool(self._places.crlutil, "-D", "-n", issuer)
            done = self._tool(self._places.crlutil, "-I", "-i", path, check=False)
        if done.status != 0:
            raise self._refusal(done)

    # running the tools

    def _tool(
        self,
        program: str,
        *arguments: str,
        stdin: bytes = b"",
        handles: Sequence[int] = (),
        check: bool = True,
        key_password: str = "-f",  # noqa: S107 - the name of an option
    ) -> Ended:
        command = [program, *arguments, "-d", f"sql:{self._places.nss}"]
        if self._places.password.exists():
            command += [key_password, str(self._places.password)]
        done = run(command, seconds=_SECONDS, stdin=stdin, handles=handles)
        if check and done.status != 0:
            raise self._refusal(done)
        return done

    def _refusal(self, done: Ended) -> DaemonRefused | DaemonFilesUnwritable:
        if done.status is None:
            return DaemonRefused(f"The NSS tools did not end within {_SECONDS:.0f} s.")
        folder, words = self._places.nss, done.last_words
        if any(sign in done.text for sign in _UNWRITABLE) or not _has_room(str(folder)):
            return DaemonFilesUnwritable(f"{folder} cannot be written: {words}")
        return DaemonRefused(f"NSS refused: {words}")


def _own_of(
    nickname: str, listed: Sequence[x509.Certificate], nicknames: Collection[str]
) -> list[x509.Certificate]:
    """Those of the certificates listed under a nickname that it may be the nickname of."""
    prints = [(fingerprint(each)[:16], each) for each in listed]
    named = [each for print_, each in prints if nickname.endswith(f"-{print_}")]
    if named:
        return named
    return [
        each
        for print_, each in prints
        if not any(name.endswith(f"-{print_}") for name in nicknames)
    ]


def _key_id_or_none(certificate: x509.Certificate) -> str | None:
    with contextlib.suppress(DaemonRefused, ValueError):
        return key_id(certificate.public_key())
    return None


def _quoted(nickname: str) -> str:
    # certutil's batch files know double quotes, and nothing that escapes one within.
    return f'"{nickname}"' if '"' not in nickname else nickname


def _has_room(folder: str) -> bool:
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize > 256 * 1024
