"""One gateway of the lab: a charon daemon in its own network and mount namespace."""

import contextlib
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import vici
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.lab import sas
from tests.lab.clocks import moved
from tests.lab.daemonlog import DaemonLog
from tests.lab.errors import LabError, Refused
from tests.lab.namespaces import Namespace, Process, run
from tests.lab.settings import Section, merged, render

DAEMON = "/usr/sbin/charon-systemd"
_PLUGINS = (
    "pem x509 pkcs1 pkcs8 openssl random nonce kdf revocation constraints curl vici"
    " socket-default {esp}kernel-netlink updown counters error-notify"
)
# Every folder that swanctl looks into: it complains of each one that is not there.
_FOLDERS = (
    *("bliss", "conf.d", "ecdsa", "pkcs12", "pkcs8", "private", "pubkey", "rsa"),
    *("x509", "x509aa", "x509ac", "x509ca", "x509crl", "x509ocsp"),
)


@dataclass(frozen=True)
class Credentials:
    """What is installed under one name: the identity it proves, the trust anchors beside it."""

    name: str
    identity: str
    anchors: tuple[str, ...]


class Gateway:
    """A charon daemon with its files, made by `Lab.gateway`.

    `inside` is its address behind the tunnel with the network's prefix, `outside` the one it speaks
    IKE from.
    """

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        *,
        inside: IPv4Interface,
        directory: Path,
        kernel_esp: bool,
        settings: Section,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.outside = namespace.address
        self.inside = inside
        self.directory = directory
        self.log = DaemonLog(directory / "charon.log")
        self._socket = directory / "vici"
        self._swanctl = directory / "swanctl"
        self._process: Process | None = None
        self._credentials: dict[str, Credentials] = {}
        for folder in _FOLDERS:
            (self._swanctl / folder).mkdir(mode=0o700, parents=True)
        (self._swanctl / "swanctl.conf").write_text("include conf.d/*.conf\n")
        tree = merged(self._daemon_settings(kernel_esp), settings)
        if "pkcs11" in tree["plugins"]:
            tree["load"] += " pkcs11"
        (directory / "strongswan.conf").write_text(render({"charon-systemd": tree}))

    def __repr__(self) -> str:
        return f"<Gateway {self.name} {self.outside} {self.inside}>"

    # the daemon

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def process_id(self) -> int:
        """The daemon's, by which its own mount namespace is entered; raises LabError while it does not run."""
        if self._process is None:
            raise LabError(f"charon of {self.name} does not run")
        return self._process.popen.pid

    def start(self, *, timeout: float = 90.0, clock: Path | None = None) -> None:
        """Start charon and wait until it answers over VICI; raises LabError with what it said.

        `clock` is a file with what its clock is wrong by, such as -1h; it may change while charon runs.
        """
        output = self.directory / "output"
        # charon's own /run, so that no socket or pid file of this machine's strongSwan is touched.
        script = 'mount -t tmpfs tmpfs /run && exec "$@"'
        if clock is not None:
            script = (
                f"unset FAKETIME; {script}"  # of the tests in another year: it goes before the file
            )
        self._process = self.namespace.start(
            ["unshare", "-m", "sh", "-c", script, "sh", *_unconfined(), DAEMON],
            output=output,
            env=self._environment | (moved(clock) if clock is not None else {}),
        )
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError), self.session(timeout=1.0) as session:
                session.version()
                return
            if not self.running or time.monotonic() > deadline:
                said = output.read_text(errors="replace") + self.log.text()
                raise LabError(f"charon of {self.name} did not come up:\n{said}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the daemon; its files stay, and `start` brings it back with nothing loaded."""
        if self._process is not None:
            self._process.stop()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the daemon without a word to its peers, as a power cut would."""
        if self._process is not None:
            self._process.popen.kill()
            self.stop()

    @property
    def vici_socket(self) -> Path:
        """Where the daemon listens."""
        return self._socket

    @property
    def swanctl_folder(self) -> Path:
        """What is /etc/swanctl elsewhere."""
        return self._swanctl

    @property
    def version(self) -> str:
        """The daemon's version, such as "5.9.8"."""
        with self.session() as session:
            return str(sas.text(session.version())["version"])

    @contextlib.contextmanager
    def session(self, *, timeout: float = 60.0) -> Iterator[vici.Session]:
        """A VICI session for everything that has no method here, closed at the end."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self._socket))
            yield vici.Session(connection)

    def swanctl(self, *arguments: str, check: bool = True) -> str:
        """Run swanctl against this daemon; returns what it printed, raises LabError if it fails."""
        command = [*_unconfined(), "swanctl", *arguments, "--uri", f"unix://{self._socket}"]
        done = run(command, check=check, env=self._environment)
        return done.stdout + done.stderr

    # credentials and connections

    @property
    def identity(self) -> str:
        """The IKE identity of the credentials installed first."""
        return self.credentials().identity

    def credentials(self, name: str = "") -> Credentials:
        """What was installed under a name, or first; raises LabError before any `install`."""
        if not self._credentials:
            raise LabError(f"{self.name} has no credentials yet: call install first")
        return self._credentials[name or next(iter(self._credentials))]

    def install(
        self, key_pem: bytes, certificate_pem: bytes, ca_pems: Sequence[bytes], *, name: str = "own"
    ) -> Credentials:
        """Put a private key (PKCS#8, unencrypted), its certificate and the CA certificates in
        place.

        A PEM of `ca_pems` may hold several certificates. The same `name` again replaces key and
        certificate, as a renewal does; other names are further identities. A running daemon loads
        them at once and forgets what it had remembered about certificates.
        """
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        self._write("x509", f"{name}.pem", certificate_pem)
        self._write("private", f"{name}.pem", key_pem)
        anchors = []
        for pem in ca_pems:
            for authority in x509.load_pem_x509_certificates(pem):
                file = self._write_authority(authority)
                if authority.issuer == authority.subject:
                    anchors.append(file)
        self._credentials[name] = Credentials(name, identity_of(certificate), tuple(anchors))
        if self.running:
            self.load_credentials()
            # The trust cache is enumerated before what was loaded, so the old certificate would
            # stay in use.
            self.flush_certs("x509")
        return self._credentials[name]

    def install_crl(self, crl: bytes, *, name: str = "crl") -> None:
        """Put a CRL (DER) in place and load it, as an agent pushes one; see `flush_certs`."""
        self._write("x509crl", f"{name}.crl", crl)
        if self.running:
            self.load_credentials()

    def add_connection(self, name: str, section: Section) -> None:
        """Write one connection (its section of swanctl.conf) and load it if running."""
        (self._swanctl / "conf.d" / f"{name}.conf").write_text(
            render({"connections": {name: section}})
        )
        if self.running:
            self.swanctl("--load-conns")

    def load_all(self) -> str:
        """Load credentials and connections from the files, as the packaged service does."""
        return self.swanctl("--load-all", "--noprompt")

    def load_credentials(self) -> str:
        """Load keys, certificates and CRLs from the files; keys without a file are unloaded."""
        return self.swanctl("--load-creds", "--noprompt")

    def flush_certs(self, kind: str = "any") -> None:
        """Drop what charon has cached: kind is any, x509, x509_crl or ocsp_response.

        Nothing is fetched again before its nextUpdate without this, and a pushed CRL does not count
        while an older one is cached.
        """
        with self.session() as session:
            session.flush_certs({} if kind == "any" else {"type": kind.upper()})

    def cached_serials(self, name: str) -> list[str]:
        """Serial numbers (hexadecimal) of the certificates for a dNSName that charon has without a key, newest last."""
        with self.session() as session:
            listed = list(session.list_certs({"type": "X509"}))
        found = []
        for raw in listed:
            certificate = x509.load_der_x509_certificate(raw["data"])
            if raw.get("has_privkey") == b"yes" or name not in _dns_names(certificate):
                continue
            digits = f"{certificate.serial_number:x}"
            found.append(digits.zfill(len(digits) + len(digits) % 2))
        return found

    # security associations

    def initiate(self, child: str = "tunnel", *, timeout: float = 60.0) -> list[str]:
        """Bring up a CHILD_SA and its IKE_SA; returns the daemon's words, or raises Refused."""
        words: list[str] = []
        # No time limit of charon's own ("0"): under a clock that is moved (libfaketime) it ends at once.
        request = {"child": child, "timeout": "0", "loglevel": "1"}
        with self.session(timeout=timeout) as session:
            try:
                for event in session.initiate(request):
                    words.append(sas.text(event)["msg"].strip())
            except vici.exception.CommandException as refused:
                raise Refused(f"{self.name}: {refused}", words) from refused
            except TimeoutError:
                raise LabError(f"{self.name}: no answer about {child} in {timeout} s") from None
        return words

    def terminate(self, ike: str = "tunnel", *, timeout: float = 60.0, force: bool = False) -> int:
        """End every IKE_SA of a connection and return how many there were."""
        request = {
            "ike": ike,
            "timeout": "0",
            "force": "yes" if force else "no",
        }
        before = len([sa for sa in self.list_sas() if sa.name == ike])
        if before:
            with self.session(timeout=timeout + 5) as session:
                try:
                    for _ in session.terminate(request):
                        pass
                except vici.exception.CommandException:
                    # Some may have ended by themselves meanwhile, as one that was rekeyed does.
                    if not self._without(ike, timeout):
                        raise
        return before

    def _without(self, ike: str, timeout: float) -> bool:
        """Whether the last IKE_SA of a connection is gone within that many seconds."""
        end = time.monotonic() + timeout
        while any(sa.name == ike for sa in self.list_sas()):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def reauthenticate(self, ike: str = "tunnel") -> None:
        """Start a fresh authentication and return; the log and `list_sas` show how it ends."""
        with self.session() as session:
            session.rekey({"ike": ike, "reauth": "yes"})

    def list_sas(self) -> list[sas.IkeSa]:
        """The IKE_SAs of this daemon, also those that are coming up or going down."""
        with self.session() as session:
            answer = [sas.text(each) for each in session.list_sas({})]
        return [sas.IkeSa.of(name, raw) for each in answer for name, raw in each.items()]

    def established(self, ike: str = "tunnel") -> sas.IkeSa | None:
        """The newest established IKE_SA of a connection, or None; one with CHILD_SAs rather than one that merely proves
        a key.
        """
        found = [sa for sa in self.list_sas() if sa.name == ike and sa.established]
        return max(found, key=lambda sa: (bool(sa.children), sa.number), default=None)

    def wait_until(self, ike: str = "tunnel", *, up: bool, timeout: float = 60.0) -> None:
        """Wait until a connection has an established IKE_SA, or none; raises LabError if late."""
        deadline = time.monotonic() + timeout
        while (self.established(ike) is not None) != up:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {ike} is still {'down' if up else 'up'}")
            time.sleep(0.02)

    # files

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "STRONGSWAN_CONF": str(self.directory / "strongswan.conf"),
            "SWANCTL_DIR": str(self._swanctl),
        }

    def _write(self, folder: str, file: str, content: bytes) -> None:
        path = self._swanctl / folder / file
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            sink.write(content)

    def _write_authority(self, authority: x509.Certificate) -> str:
        der = authority.public_bytes(Encoding.DER)
        file = f"{hashlib.sha256(der).hexdigest()[:16]}.pem"
        # One certificate per file: charon reads only the first of a PEM.
        self._write("x509ca", file, authority.public_bytes(Encoding.PEM))
        return file

    def _daemon_settings(self, kernel_esp: bool) -> dict[str, Any]:
        plugins: dict[str, Any] = {
            "vici": {"socket": f"unix://{self._socket}"},
            "error-notify": {"socket": f"unix://{self.directory / 'enfy'}"},
        }
        if not kernel_esp:
            plugins["kernel-libipsec"] = {"load": "yes"}
        return {
            "load": _PLUGINS.format(esp="" if kernel_esp else "kernel-libipsec "),
            # A peer that is gone is noticed within seconds, not minutes.
            "retransmit_timeout": 1.0,
            "retransmit_tries": 3,
            "plugins": plugins,
            "filelog": {
                "lab": {
                    "path": self.log.path,
                    "time_format": "%b %e %T",
                    "default": 1,
                    "ike_name": "yes",
                    "flush_line": "yes",
                }
            },
        }


def _dns_names(certificate: x509.Certificate) -> list[str]:
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)
    return []


def identity_of(certificate: x509.Certificate) -> str:
    """The IKE identity that a certificate proves: first dNSName, else rfc822Name, iPAddress."""
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for kind in (x509.DNSName, x509.RFC822Name, x509.IPAddress):
            values = names.get_values_for_type(kind)
            if values:
                return str(values[0])
    # charon matches identities against subjectAltName only, never against the common name.
    raise LabError(f"{certificate.subject.rfc4514_string()} has no name that IKE can use")


def connect(
    left: Gateway,
    right: Gateway,
    *,
    name: str = "tunnel",
    revocation: str = "strict",
    ike: Section | None = None,
    child: Section | None = None,
) -> None:
    """Give both gateways a connection to each other with public-key authentication, and load it.

    Both must have credentials. `ike` and `child` are laid over both ends' sections, for lifetimes
    and proposals.
    """
    for here, there in ((left, right), (right, left)):
        section = {
            "version": 2,
            "local_addrs": here.outside,
            "remote_addrs": there.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": here.identity},
            "remote": {
                "auth": "pubkey",
                "id": there.identity,
                "cacerts": ", ".join(here.credentials().anchors),
                "revocation": revocation,
            },
            "children": {
                name: {
                    "local_ts": here.inside.network,
                    "remote_ts": there.inside.network,
                    **(child or {}),
                }
            },
        }
        here.add_connection(name, merged(section, ike or {}))
    for gateway in (left, right):
        gateway.load_all()


def _unconfined() -> list[str]:
    """What goes before strongSwan's programs where AppArmor keeps them from our files."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if shutil.which("aa-exec") and enabled.exists() and enabled.read_text().startswith("Y"):
        return ["aa-exec", "-p", "unconfined", "--"]
    return []
