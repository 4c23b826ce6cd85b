"""One gateway of the lab with Libreswan: a pluto in its own network and mount namespace.

Debian's libreswan conflicts with strongSwan, so it is not installed: `tests/lab/unpack.sh` unpacks it into a cache
folder, and the programs are run from there through small scripts in the gateway's folder (`Pluto.programs`).
"""

import contextlib
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from tests.lab.charon import identity_of
from tests.lab.daemonlog import DaemonLog, LogLine
from tests.lab.errors import LabError, Refused
from tests.lab.namespaces import Namespace, Process, run
from tests.lab.unpacked import LIBRESWAN

_LINE = re.compile(
    r"(?P<time>\w{3} [ \d]\d [\d:]{8}\.\d+): (?P<debug>\| )?"
    r'(?:(?P<sa>"[^"]+"(?:\[\d+\] \S+)?(?: #\d+)?): )?(?P<message>.*)'
)
_TOOLS = ("certutil", "pk12util", "crlutil")
_CLOCK = ("LD_PRELOAD", "FAKETIME")  # libfaketime, as `make future` sets it
_SETUP = """config setup
\tuniqueids=yes
\tdnssec-enable=no
{more}
include {folder}/ipsec.d/*.conf
"""
# A path that is compiled in: pluto looks for addconn there, and the helper that imports fetched CRLs opens the
# compiled-in NSS folder whatever --nssdir says, and is given no environment. So all are laid over, in a mount namespace
# of pluto's own.
_START = """
mount --make-rprivate /
mount --bind {tree}/usr/libexec /usr/libexec
mount --bind {folder}/programs/_import_crl /usr/libexec/ipsec/_import_crl
mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/ipsec/nss && mount --bind {folder}/nss /var/lib/ipsec/nss
exec /usr/libexec/ipsec/pluto --nofork --config {folder}/ipsec.conf --nssdir {folder}/nss \
 --rundir {folder}/run --secretsfile {folder}/ipsec.secrets --ipsecdir {folder}/ipsec.d \
 --dumpdir {folder}/dump --logfile {folder}/pluto.log --no-dnssec {options}
"""


class PlutoLog(DaemonLog):
    """pluto's file log; `sa` of a line is what stands before the message, such as `"tunnel" #3`."""

    def lines(self, since: int = 0) -> list[LogLine]:
        found = (_LINE.fullmatch(line) for line in self.text(since).splitlines())
        return [
            LogLine(match["time"], 0, "", match["sa"] or "", match["message"].strip())
            for match in found
            if match and not match["debug"]
        ]


@dataclass(frozen=True)
class Said:
    """How a program ended and what it printed; `status` is None where it had to be stopped."""

    status: int | None
    text: str


class Pluto:
    """A pluto with its files, made by `Lab.pluto`. Addresses as in `Gateway`."""

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        *,
        inside: IPv4Interface,
        directory: Path,
        setup: Mapping[str, object],
        options: Sequence[str],
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.outside = namespace.address
        self.inside = inside
        self.directory = directory
        self.log = PlutoLog(directory / "pluto.log")
        self.control = directory / "run/pluto.ctl"
        self.nss = directory / "nss"
        self.connections = directory / "ipsec.d"
        self.programs = directory / "programs"
        self.nickname = "own"
        self.identity = ""
        self._options = options
        self._process: Process | None = None
        for folder in ("nss", "run", "ipsec.d", "dump", "programs"):
            (directory / folder).mkdir(mode=0o700, parents=True)
        for tool in _TOOLS:
            self._wrap(tool, LIBRESWAN.tree / "usr/bin" / tool)
        for tool in ("whack", "addconn", "_import_crl"):
            self._wrap(tool, LIBRESWAN.tree / "usr/libexec/ipsec" / tool)
        more = "".join(f"\t{key}={value}\n" for key, value in setup.items())
        self.configuration = directory / "ipsec.conf"
        self.configuration.write_text(_SETUP.format(more=more, folder=directory))
        self.write_secrets()
        self.tool("certutil", "-N", "--empty-password")

    def __repr__(self) -> str:
        return f"<Pluto {self.name} {self.outside} {self.inside}>"

    def _wrap(self, tool: str, target: Path) -> None:
        # A clock that is moved is moved for the tools too, though whoever runs them keeps its environment from them.
        moved = {key: os.environ[key] for key in os.environ if key.startswith(_CLOCK)}
        settings = {"LD_LIBRARY_PATH": str(LIBRESWAN.libraries), **moved}
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in settings.items())
        script = f'#!/bin/sh\n{exports}exec {target} "$@"\n'
        path = self.programs / tool
        path.write_text(script)
        path.chmod(0o700)

    # the daemon

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The process id of pluto."""
        assert self._process is not None
        return self._process.popen.pid

    def start(self, *, timeout: float = 90.0) -> None:
        """Start pluto and wait until it listens for IKE; raises LabError with what it said."""
        output = self.directory / "output"
        mark = self.log.mark()
        script = _START.format(
            tree=LIBRESWAN.tree, folder=self.directory, options=shlex.join(self._options)
        )
        self._process = self.namespace.start(
            ["unshare", "-m", "sh", "-ec", script],
            output=output,
            env={
                "LD_LIBRARY_PATH": str(LIBRESWAN.libraries),
                "PATH": f"{LIBRESWAN.tree / 'usr/sbin'}:{os.environ['PATH']}",  # pluto runs `ipsec _updown`
            },
        )
        deadline = time.monotonic() + timeout
        while "listening for IKE messages" not in self.log.text(mark):
            if not self.running or time.monotonic() > deadline:
                said = output.read_text(errors="replace") + self.log.text(mark)
                raise LabError(f"pluto of {self.name} did not come up:\n{said}")
            time.sleep(0.01)
        while self.whack("--briefstatus").status != 0:
            if time.monotonic() > deadline:
                raise LabError(f"pluto of {self.name} does not answer whack")

    def stop(self) -> None:
        """End the daemon; its files stay, and `start` brings it back."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End the daemon without a word to its peers, as a power cut would."""
        if self._process is not None:
            self._process.popen.kill()
            self.stop()
            # What a boot does: they are in /run, and pluto does not start beside them.
            for left in ("pluto.ctl", "pluto.pid"):
                (self.directory / "run" / left).unlink(missing_ok=True)

    def whack(self, *arguments: str, timeout: float = 60.0) -> Said:
        """Run whack; it waits for ever for an exchange that never ends, hence the limit."""
        return self.run("whack", "--ctlsocket", str(self.control), *arguments, timeout=timeout)

    def tool(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Run certutil, pk12util or crlutil on the database; raises LabError when it fails."""
        path = str(self.programs / name)
        done = run([path, *arguments, "-d", f"sql:{self.nss}"], stdin=stdin, timeout=60)
        return done.stdout + done.stderr

    def run(self, name: str, *arguments: str, timeout: float = 60.0) -> Said:
        """Run one of `programs` under a time limit, whatever its exit status."""
        limited = ["timeout", "-k", "1", str(timeout), str(self.programs / name), *arguments]
        done = run(limited, check=False, timeout=timeout + 60)
        status = None if done.returncode in (124, 137) else done.returncode
        return Said(status, done.stdout + done.stderr)

    # credentials and connections

    def install(
        self,
        key_pem: bytes,
        certificate_pem: bytes,
        ca_pems: Sequence[bytes],
        *,
        name: str = "own",
    ) -> None:
        """Put a private key, its certificate and the CA certificates into the NSS database under a nickname, as an
        operator does by hand. A CA that comes while pluto runs needs a restart.
        """
        key = load_pem_private_key(key_pem, None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        p12, password = self.directory / "own.p12", self.directory / "own.password"
        bundle = serialize_key_and_certificates(
            name.encode(),
            key,  # type: ignore[arg-type] - never a DH key
            certificate,
            None,
            BestAvailableEncryption(b"lab"),
        )
        p12.write_bytes(bundle)
        password.write_text("lab")
        with contextlib.suppress(LabError):
            while True:
                self.tool("certutil", "-D", "-n", name)
        self.tool("pk12util", "-i", str(p12), "-w", str(password))
        for pem in ca_pems:
            for authority in x509.load_pem_x509_certificates(pem):
                self.trust(authority)
        self.nickname, self.identity = name, identity_of(certificate)
        if self.running:
            self.whack("--rereadcerts")

    def trust(self, authority: x509.Certificate) -> None:
        """Put a CA certificate into the database."""
        pem = authority.public_bytes(Encoding.PEM).decode()
        trust = "CT,," if authority.issuer == authority.subject else ",,"
        nickname = authority.subject.rfc4514_string()
        self.tool("certutil", "-A", "-a", "-n", nickname, "-t", trust, stdin=pem)

    def write_secrets(self, *lines: str) -> None:
        """Replace ipsec.secrets as a whole, mode 0600."""
        fresh = self.directory / "ipsec.secrets.new"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as sink:
            sink.writelines(f"{line}\n" for line in lines)
        fresh.rename(self.directory / "ipsec.secrets")

    def add_connection(self, name: str, section: Mapping[str, object]) -> str:
        """Write one conn section as an operator does, load it if running, and return what addconn said."""
        self.add_connection_file(name, section)
        return self.load(name) if self.running else ""

    def add_connection_file(self, name: str, section: Mapping[str, object]) -> None:
        """Write one conn section, and do not load it."""
        lines = "".join(f"\t{key}={value}\n" for key, value in section.items())
        (self.connections / f"{name}.conf").write_text(f"conn {name}\n{lines}")

    def load(self, name: str) -> str:
        """Load one conn from the files; raises LabError with addconn's words."""
        place = ("--config", str(self.configuration), "--ctlsocket", str(self.control))
        said = self.run("addconn", *place, name)
        if said.status != 0:
            raise LabError(f"{self.name}: {said.text}")
        return said.text

    def load_automatic(self) -> str:
        """Load what is to be loaded at a start (auto=add and the like), as the packaged service does."""
        place = ("--config", str(self.configuration), "--ctlsocket", str(self.control))
        return self.run("addconn", *place, "--autoall").text

    # security associations

    def initiate(self, name: str = "tunnel", *, timeout: float = 60.0) -> list[str]:
        """Bring up a connection; returns whack's words, or raises Refused. pluto's exit status says little."""
        said = self.whack("--initiate", "--name", name, timeout=timeout)
        words = said.text.splitlines()
        if not re.search(r"established (IKE|Child) SA", said.text) or said.status != 0:
            raise Refused(f"{self.name}: whack ended with {said.status}", words)
        return words

    def terminate(self, name: str = "tunnel") -> None:
        """End every SA of a connection."""
        self.whack("--terminate", "--name", name)

    def states(self) -> str:
        """What `whack --showstates` prints."""
        return self.whack("--showstates").text

    def established(self, name: str = "tunnel") -> int | None:
        """The newest established IKE SA's number, or None."""
        pattern = rf'#(\d+): "{re.escape(name)}"\S* STATE_V2_ESTABLISHED_IKE_SA'
        return max((int(number) for number in re.findall(pattern, self.states())), default=None)

    def wait_until(self, name: str = "tunnel", *, up: bool, timeout: float = 60.0) -> None:
        """Wait until a connection has an established IKE SA, or none; raises LabError if late."""
        deadline = time.monotonic() + timeout
        while (self.established(name) is not None) != up:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {name} is still {'down' if up else 'up'}")
            time.sleep(0.02)

    def childless(self) -> None:
        """Initiate IKE SAs without a CHILD SA from now on, and do not bring ended ones back by itself.

        For a kernel without ESP: pluto as initiator tears the IKE SA down when the kernel refuses the CHILD SA.
        """
        self.whack("--impair", "omit-v2-ike-auth-child")
        self.whack("--impair", "revival")
