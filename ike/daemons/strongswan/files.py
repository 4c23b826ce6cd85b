"""The adapter's files under charon's swanctl folder, so that a restart or `swanctl --load-all` finds what is loaded.

::

    x509/ikewarden-<certificate>.pem       the certificate to be used
    x509ca/ikewarden-<certificate>.pem     its issuers without the root
    private/ikewarden-<key>.pem            keys, 0600
    x509crl/ikewarden-<authority>.crl      revocation lists that fit into a VICI message
    conf.d/ikewarden.conf                  CA certificates, as authorities, by absolute path
    conf.d/ikewarden-<name>.conf           one managed connection each
    conf.d/ikewarden.secrets.conf          shared secrets, 0600
    ikewarden/                             what swanctl must not find by itself: the authorities' certificates (what
                                           lies in x509ca/ cannot be unloaded), large revocation lists, the key and
                                           certificate that were replaced and may come back

Every file is written in `ikewarden/`, synced and renamed into its place: swanctl loads whatever lies in its folders,
also what a writer left there that died. Only where a folder is a file system of its own is it written beside its place.
Nothing without our name is ever touched.
"""

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.secret import Secret
from ike.daemons import matching
from ike.daemons.port import DaemonFilesUnwritable, fingerprint

SWANCTL = Path("/etc/swanctl")
PREFIX = "ikewarden-"
_TEMPORARY = ".ikewarden-"


class SwanctlFiles:
    """The files of one charon; `root` is its swanctl folder. One object for all threads that write. Methods that do
    raise DaemonFilesUnwritable.
    """

    def __init__(self, root: Path = SWANCTL) -> None:
        self.root = root
        self.own = root / "ikewarden"
        # What one thread is writing must not look to another like what a dead writer left.
        self._lock = threading.RLock()

    # certificates and keys

    def certificate_path(self, certificate: x509.Certificate) -> Path:
        return self.root / "x509" / f"{PREFIX}{_short(certificate)}.pem"

    def aside_path(self, certificate: x509.Certificate) -> Path:
        """Where a certificate lies that was replaced and may come back."""
        return self.own / f"old-{_short(certificate)}.pem"

    def key_aside_path(self, key: str) -> Path:
        return self.own / f"old-key-{key}.pem"

    def chain_path(self, certificate: x509.Certificate) -> Path:
        return self.root / "x509ca" / f"{PREFIX}{_short(certificate)}.pem"

    def key_path(self, key: str) -> Path:
        return self.root / "private" / f"{PREFIX}{key}.pem"

    def authority_path(self, certificate: x509.Certificate) -> Path:
        return self.own / f"ca-{_short(certificate)}.pem"

    def key_ids(self) -> set[str]:
        """The ids of the keys that are ours."""
        return {path.stem.removeprefix(PREFIX) for path in self._ours("private", "*.pem")}

    def key(self, key: str) -> Secret | None:
        """A key of ours, also one put aside; None where there is no such file."""
        for path in (self.key_path(key), self.key_aside_path(key)):
            with self._told(path), contextlib.suppress(FileNotFoundError):
                return Secret(path.read_bytes())
        return None

    def certificates(self) -> list[x509.Certificate]:
        """The certificates of ours that a restart would load."""
        return list(self._read(self._ours("x509", "*.pem")))

    def chain(self) -> list[x509.Certificate]:
        """The issuers of our certificates, without roots."""
        return list(self._read(self._ours("x509ca", "*.pem")))

    def put_aside(self, certificate: x509.Certificate) -> None:
        """Take a certificate and its key out of what a restart loads. They can be put back on a full disk."""
        self._rename(self.certificate_path(certificate), self.aside_path(certificate))
        if not self.shares_key(certificate):
            key = matching.key_id(certificate.public_key())
            self._rename(self.key_path(key), self.key_aside_path(key))

    def put_back(self, certificate: x509.Certificate) -> None:
        """Have a restart load a certificate and its key again, from where they were put aside; the certificate anew
        where it was not.
        """
        key = matching.key_id(certificate.public_key())
        self._rename(self.key_aside_path(key), self.key_path(key))
        if not self.certificate_path(certificate).exists():
            self._rename(self.aside_path(certificate), self.certificate_path(certificate))
        if not self.certificate_path(certificate).exists():
            self.write_certificate(self.certificate_path(certificate), certificate)

    def remove_credential(self, certificate: x509.Certificate) -> None:
        """Delete a certificate and, unless another of ours is for it too, its key, wherever they lie."""
        if not self.shares_key(certificate):
            key = matching.key_id(certificate.public_key())
            self.remove(self.key_path(key))
            self.remove(self.key_aside_path(key))
        self.remove(self.certificate_path(certificate))
        self.remove(self.aside_path(certificate))
        self._drop_unused_chain()

    def shares_key(self, certificate: x509.Certificate) -> bool:
        """Whether another certificate of ours, in use or put aside, is for the same key."""
        key = matching.key_id(certificate.public_key())
        paths = [*self._ours("x509", "*.pem"), *self._aside()]
        return any(
            each != certificate and matching.key_id(each.public_key()) == key
            for each in self._read(paths)
        )

    def _drop_unused_chain(self) -> None:
        """Delete the issuers that none of our certificates needs."""
        needed = list(self._read([*self._ours("x509", "*.pem"), *self._aside()]))
        left = dict(self._pairs(self._ours("x509ca", "*.pem")))
        while needed:
            below = needed.pop()
            for path, above in list(left.items()):
                if matching.issued_by(below, above):
                    needed.append(left.pop(path))
        for path in left:
            self.remove(path)

    # authorities and lists

    def authorities(self) -> list[x509.Certificate]:
        """The CA certificates that the adapter was told to trust."""
        return list(self._read(sorted(self.own.glob("ca-*.pem"))))

    def small_crl_path(self, name: str) -> Path:
        """A list that swanctl loads by itself."""
        return self.root / "x509crl" / f"{PREFIX}{name}.crl"

    def large_crl_path(self, name: str) -> Path:
        """A list that charon fetches by a file: URL."""
        return self.own / f"crl-{name}.crl"

    # connections

    @property
    def authorities_conf(self) -> Path:
        return self.root / "conf.d" / "ikewarden.conf"

    def connection_path(self, name: str) -> Path:
        return self.root / "conf.d" / f"{PREFIX}{name}.conf"

    def connections(self) -> set[str]:
        """The names of the managed connections that are written down."""
        return {path.stem.removeprefix(PREFIX) for path in self._ours("conf.d", "*.conf")}

    # shared secrets

    @property
    def main_conf(self) -> Path:
        """What swanctl reads, with all that it includes."""
        return self.root / "swanctl.conf"

    @property
    def secrets_conf(self) -> Path:
        return self.root / "conf.d" / "ikewarden.secrets.conf"

    @property
    def ppks(self) -> Path:
        """Which PPK_IDs a connection has."""
        return self.own / "ppks.json"

    # writing

    def write_certificate(self, path: Path, certificate: x509.Certificate) -> None:
        """One certificate in PEM: charon reads only the first of a file."""
        self.write(path, certificate.public_bytes(Encoding.PEM))

    def write(self, path: Path, content: bytes) -> None:
        """Put a file in place, all of it or nothing, readable by its owner alone. The same content is not written."""
        with self._lock, self._told(path):
            self._sweep(path.parent)
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() == content and path.stat().st_mode & 0o077 == 0:
                    return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.own.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write(self.own, path, content)
            except OSError as failed:
                if failed.errno != errno.EXDEV:
                    raise
                _write(path.parent, path, content)

    def remove(self, path: Path) -> None:
        """Delete a file that may be gone already."""
        with self._lock, self._told(path):
            self._sweep(path.parent)
            if path.exists():
                path.unlink(missing_ok=True)
                _sync(path.parent)

    # inside

    def _sweep(self, folder: Path) -> None:
        """Delete what a writer left that died: swanctl would load it, whatever its name is."""
        for place in (self.own, folder):
            for left in place.glob(f"{_TEMPORARY}*"):
                left.unlink(missing_ok=True)

    def _aside(self) -> list[Path]:
        return [path for path in self.own.glob("old-*.pem") if not path.name.startswith("old-key-")]

    def _ours(self, folder: str, pattern: str) -> list[Path]:
        return sorted((self.root / folder).glob(PREFIX + pattern))

    def _pairs(self, paths: list[Path]) -> Iterator[tuple[Path, x509.Certificate]]:
        for path in paths:
            # A file that cannot be read as a certificate is none that charon could load.
            with self._told(path), contextlib.suppress(FileNotFoundError, ValueError):
                yield path, x509.load_pem_x509_certificate(path.read_bytes())

    def _read(self, paths: list[Path]) -> Iterator[x509.Certificate]:
        return (certificate for _, certificate in self._pairs(paths))

    def _rename(self, source: Path, target: Path) -> None:
        with self._lock, self._told(target):
            if source.exists():
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                source.replace(target)
                _sync(source.parent)
                _sync(target.parent)

    @contextlib.contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as failed:
            raise DaemonFilesUnwritable(
                f"{path} cannot be used: {failed.strerror or failed}."
            ) from None


def _short(certificate: x509.Certificate) -> str:
    return fingerprint(certificate)[:32]


def _write(place: Path, path: Path, content: bytes) -> None:
    """Write a file in one folder, sync it, and rename it into another of the same file system."""
    made = place / f"{_TEMPORARY}{secrets.token_hex(6)}"
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
