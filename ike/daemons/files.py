"""Files in the place of a daemon: written into one directory, whoever reads them is told by a program.

What was given is kept in `OUT/.ikewarden` (0700); the files that others read are made from it, each replaced whole, and
only those with our names are touched. The program runs when a new credential is applied, where its failure takes the
new one out again, and at the end of a round (`settle`) that changed anything else.
"""

import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import InvalidInput
from core.secret import Secret
from ike.atomic import PRIVATE, write_atomically
from ike.daemons import matching
from ike.daemons.connections import require_valid
from ike.daemons.port import (
    Abilities,
    Child,
    Connection,
    ConnectionInvalid,
    Credential,
    CredentialName,
    Cut,
    DaemonEvent,
    DaemonFilesUnwritable,
    DaemonInfo,
    DaemonRefused,
    IkeSa,
    Inventory,
    LoadedCertificate,
    LoadedCrl,
    LoadedSlot,
    Proof,
    RevokedPeer,
    Shared,
    SharedSlot,
    fingerprint,
)
from ike.daemons.rendering import Content, Files, render
from ike.daemons.slots import dumped, parsed, to_be_loaded

_KEPT: Final = ".ikewarden"
# Of the secrets of a slot those that are rendered: where one is all that is known to be taken, the first.
_SECRETS: Final = {"swanctl": "conf.d/ikewarden.secrets.conf", "ipsec": "ikewarden.secrets"}
_OVERLAPS: Final = "swanctl"
_HALF: Final = re.compile(r"\.(.+)\.[0-9a-f]{12}")  # as ike.atomic names them
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OutputUnusable(InvalidInput):
    """The directory for rendered files is not named, or is no directory."""

    code = "output_unusable"
    next_step = "Name a directory of its own with --out, or [files] out in agent.toml."


@dataclass(frozen=True)
class After:
    """What is run when files changed: a program with its arguments, for so many seconds at most."""

    command: tuple[str, ...] = ()
    seconds: int = 30


class FilesDaemon:
    """Implements `ike.daemons.port.Daemon` with files of one format in the directory `out`.

    `passphrase` is for PKCS #12; without one, one is made and kept.
    """

    def __init__(
        self, form: str, out: Path, after: After | None = None, *, passphrase: Secret | None = None
    ) -> None:
        if not str(out) or str(out) == ".":
            raise OutputUnusable("There is no directory for the rendered files.")
        self.out = out.absolute()
        self._form = form
        self._after = after or After()
        self._passphrase = passphrase
        self._kept = self.out / _KEPT
        self._swept = False

    # --- what there is ------------------------------------------------------------------------------------------

    def describe(self) -> DaemonInfo:
        """Name the format; files are never restarted."""
        return DaemonInfo("files", self._form, str(self.out))

    def inventory(self) -> Inventory:
        """List what stands in the files as it was written; what somebody changed or removed is not there."""
        with self._told():
            content = self._content()
            rendered = render(self._form, content)
            intact = {path for path, (octets, _) in rendered.items() if self._is(path, octets)}
        if self._form == "pkcs12" and (self.out / "credential.p12").exists():
            intact.add("credential.p12")  # its encryption is fresh each time
        whole = not set(rendered) - intact
        certificates = [
            LoadedCertificate(
                fingerprint(each), each.subject.rfc4514_string(), authority=True, has_key=False
            )
            for each in content.authorities
            if whole
        ]
        made = content.credential
        keys: tuple[str, ...] = ()
        if made is not None and whole:
            subject = made.certificate.subject.rfc4514_string()
            certificates.append(
                LoadedCertificate(made.fingerprint, subject, False, has_key=True, in_use=True)
            )
            keys = (matching.key_id(made.certificate.public_key()),)
        crls = [LoadedCrl(each.issuer.rfc4514_string(), _number(each)) for each in content.crls]
        names = tuple(each.name for each in content.connections) if whole else ()
        return Inventory(tuple(certificates), keys, tuple(crls) if whole else (), names)

    def sas(self) -> tuple[IkeSa, ...]:
        """Files know of no SAs."""
        return ()

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        """Nothing ever happens."""
        never = Event()
        while not stop():
            never.wait(0.5)
        yield from ()

    # --- changes ------------------------------------------------------------------------------------------------

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """See the port."""
        content = b"".join(each.public_bytes(Encoding.PEM) for each in authorities)
        self._keep("authorities.pem", content)
        self._publish()

    def stage(self, credential: Credential) -> None:
        """See the port; nothing that others read changes yet."""
        matching.require_match(credential)
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in credential.chain)
        name = f"credentials/{credential.fingerprint}"
        self._keep(f"{name}/key.pem", credential.key.reveal())
        self._keep(f"{name}/chain.pem", chain)
        self._keep(f"{name}/certificate.pem", credential.certificate.public_bytes(Encoding.PEM))

    def check(self, credential: Credential) -> None:
        """See the port."""
        if self._credential(credential.fingerprint) is None:
            raise DaemonRefused("The certificate is not among what was staged.")

    def apply(self, credential: Credential, old: CredentialName | None) -> None:
        """Write the files and run the program; DaemonRefused where that fails."""
        self.check(credential)
        self._keep("used", credential.fingerprint.encode())
        self._publish()
        self.settle()

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        """The program's success is all that is known."""
        return Proof.LOADED

    def undo(self, credential: Credential, old: CredentialName | None) -> None:
        """See the port. The program runs at the end of the round."""
        if old is not None and self._credential(old.fingerprint) is not None:
            self._keep("used", old.fingerprint.encode())
        elif self._used() == credential.fingerprint:
            self._keep("used", b"")
        self._publish()
        self._drop(credential.fingerprint)

    def retire(self, old: CredentialName) -> None:
        """See the port."""
        if self._used() != old.fingerprint:
            self._drop(old.fingerprint)

    def load_crls(self, crls: Sequence[x509.CertificateRevocationList]) -> None:
        """See the port."""
        held = {each.issuer: each for each in self._content().crls}
        for crl in crls:
            before = held.get(crl.issuer)
            if before is None or _number(before) <= _number(crl):
                held[crl.issuer] = crl
        content = b"".join(each.public_bytes(Encoding.PEM) for each in held.values())
        self._keep("crls.pem", content)
        self._publish()

    def connect(self, connections: Sequence[Connection]) -> None:
        """Write the connections, for swanctl; the other formats have none, which is told as ConnectionInvalid."""
        known = {fingerprint(each) for each in self._content().authorities}
        refused: list[ConnectionInvalid] = []
        sound = []
        for each in connections:
            try:
                require_valid(each, known)
                _require_without_ppk(each)
            except ConnectionInvalid as error:
                refused.append(error)
            else:
                sound.append(each)
        self._keep("connections.json", json.dumps([asdict(each) for each in sound]).encode())
        self._publish()
        if sound and self._form != "swanctl":
            raise ConnectionInvalid(f"Connections are not rendered as {self._form}.")
        if refused:
            raise refused[0]

    def cut(self, peer: RevokedPeer) -> tuple[Cut, ...]:
        """Files end no tunnel. Raises DaemonRefused."""
        raise DaemonRefused(
            "Tunnels cannot be ended by files; the CRL was written and the program was run."
        )

    def reauthenticate(self, connection: str, *, gap: bool = True) -> int:
        """Files authenticate nothing. Raises DaemonRefused, unless nothing was to be interrupted."""
        if not gap:
            return 0
        raise DaemonRefused("Files cannot start an authentication.")

    def initiate(self, connection: str) -> bool:
        """Files start nothing."""
        return False

    def abilities(self) -> Abilities:
        """What the format can say: several secrets for a peer as swanctl. Of what reads the files nothing is known."""
        return Abilities(overlap=self._form == _OVERLAPS, ppk=False, gapless=False)

    def share(self, slots: Sequence[SharedSlot]) -> None:
        """Write the secrets, as swanctl and ipsec; as pem and pkcs12, and for kind ppk, DaemonRefused is raised."""
        held = {each.name: each for each in self._slots()}
        refused: list[DaemonRefused] = []
        wanted = []
        for slot in slots:
            try:
                wanted.append(self._rendered(slot))
            except DaemonRefused as refusal:
                refused.append(refusal)
                wanted += [held[slot.name]] if slot.name in held else []
        self._keep("slots.json", dumped([each for each in wanted if each.keys]))
        self._publish()
        if refused:
            raise refused[0]

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        """Tell what stands in the files as it was written; of others' secrets nothing is seen."""
        path = _SECRETS.get(self._form, "")
        with self._told():
            wanted = render(self._form, self._content()).get(path)
            if wanted is None or not self._is(path, wanted[0]):
                return Shared()
            held = self._slots()
        versions = [(each.name, tuple(key.version for key in each.keys)) for each in held]
        return Shared(tuple(LoadedSlot(*each) for each in sorted(versions)))

    def settle(self) -> None:
        """Run the program if anything changed since it last ran well. Raises DaemonRefused with its exit code."""
        with self._told():
            if not (self._kept / "changed").exists():
                return
            if self._after.command:
                run_after(
                    self._after, {"IKEWARDEN_OUT": str(self.out), "IKEWARDEN_FORMAT": self._form}
                )
            (self._kept / "changed").unlink()

    # --- files --------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Bring the files that others read to what is kept."""
        with self._told():
            content = self._content()
            wanted = render(self._form, content)
            if self._form == "pkcs12":
                self._spare_encrypting(content, wanted)
            written = self._written()
            self._sweep({*written, *wanted})
            stale = [path for path in written if path not in wanted]
            changed = {path: each for path, each in wanted.items() if not self._is(path, each[0])}
            if not changed and not stale:
                return
            self._keep("changed", b"1")
            self._keep("written.json", json.dumps(sorted({*written, *wanted})).encode())
            for path, (octets, mode) in changed.items():
                (self.out / path).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self.out / path, octets, mode)
            for path in stale:
                (self.out / path).unlink(missing_ok=True)
            self._keep("written.json", json.dumps(sorted(wanted)).encode())

    def _spare_encrypting(self, content: Content, wanted: Files) -> None:
        """A PKCS #12 file differs each time it is made; it is made anew only for another credential."""
        path, made = self.out / "credential.p12", content.credential
        mark = made.fingerprint.encode() if made else b""
        if path.exists() and self._read("p12-of") == mark and "credential.p12" in wanted:
            wanted["credential.p12"] = (path.read_bytes(), PRIVATE)
        else:
            self._keep("p12-of", mark)

    def _sweep(self, ours: set[str]) -> None:
        """Remove what a killed process left half-written: it may hold a key. Once is enough."""
        if self._swept or not self.out.is_dir():
            return
        self._swept = True
        folders = {(self.out / path).parent for path in ours} | {self._kept}
        folders |= set(self._kept.glob("credentials/*"))
        names = {Path(path).name for path in ours}
        for folder in filter(Path.is_dir, folders):
            kept = self._kept == folder or self._kept in folder.parents
            for path in folder.glob(".*"):
                found = _HALF.fullmatch(path.name)
                if found and (kept or found[1] in names):
                    path.unlink(missing_ok=True)

    def _is(self, path: str, octets: bytes) -> bool:
        try:
            return (self.out / path).read_bytes() == octets
        except FileNotFoundError:
            return False

    def _content(self) -> Content:
        authorities = self._read("authorities.pem")
        crls = self._read("crls.pem")
        connections = json.loads(self._read("connections.json") or b"[]")
        return Content(
            credential=self._credential(self._used()),
            authorities=x509.load_pem_x509_certificates(authorities) if authorities else [],
            crls=[
                x509.load_pem_x509_crl(pem + _CRL_END)
                for pem in crls.split(_CRL_END)
                if pem.strip()
            ],
            connections=[_connection(each) for each in connections],
            passphrase=self._own_passphrase(),
            slots=self._slots(),
        )

    def _slots(self) -> list[SharedSlot]:
        return parsed(self._read("slots.json") or b"[]")

    def _rendered(self, slot: SharedSlot) -> SharedSlot:
        """The slot as it is written. Raises DaemonRefused."""
        if slot.keys and (self._form not in _SECRETS or slot.kind != "psk"):
            raise DaemonRefused(
                f"Shared secret {slot.name}: kind {slot.kind} is not rendered as {self._form}."
            )
        return to_be_loaded(slot, overlap=self._form == _OVERLAPS)

    def _own_passphrase(self) -> Secret:
        if self._form != "pkcs12":
            return Secret(b"")
        if self._passphrase is not None:
            return self._passphrase
        if not self._read("passphrase"):
            self._keep("passphrase", secrets.token_urlsafe(24).encode())
        return Secret(self._read("passphrase"))

    def _used(self) -> str:
        return self._read("used").decode()

    def _credential(self, name: str) -> Credential | None:
        folder = f"credentials/{name}"
        certificate, chain = (
            self._read(f"{folder}/certificate.pem"),
            self._read(f"{folder}/chain.pem"),
        )
        if not name or not certificate:
            return None
        return Credential(
            Secret(self._read(f"{folder}/key.pem")),
            x509.load_pem_x509_certificate(certificate),
            tuple(x509.load_pem_x509_certificates(chain)) if chain else (),
        )

    def _written(self) -> list[str]:
        found: list[str] = json.loads(self._read("written.json") or b"[]")
        if any(Path(each).is_absolute() or ".." in Path(each).parts for each in found):
            raise ValueError("not below the directory")
        return found

    def _require_own(self) -> None:
        """Refuse to keep keys where another user could have put them, or taken them from. Raises DaemonRefused."""
        try:
            status = self._kept.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        own = status.st_uid == os.geteuid() and not status.st_mode & 0o077
        if not (own and stat.S_ISDIR(status.st_mode)):
            raise DaemonRefused(
                f"{self._kept} is not a directory of this user alone.",
                next_step="Find out who put it there; remove it, and let only root write beside it.",
            )

    def _read(self, name: str) -> bytes:
        self._require_own()
        try:
            return (self._kept / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _keep(self, name: str, content: bytes) -> None:
        path = self._kept / name
        with self._told():
            if path.exists() and path.read_bytes() == content:
                return
            self.out.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._kept.mkdir(mode=0o700, exist_ok=True)
            self._require_own()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, content)

    def _drop(self, name: str) -> None:
        with self._told():
            shutil.rmtree(self._kept / "credentials" / name, ignore_errors=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = error.filename or self.out
            raise DaemonFilesUnwritable(f"{where}: {error.strerror}.") from None
        except ValueError:
            raise DaemonRefused(f"What is kept in {self._kept} cannot be understood.") from None


_CRL_END: Final = b"-----END X509 CRL-----\n"


def run_after(after: After, environ: dict[str, str]) -> None:
    """Run a program, without a shell, with little in its environment. Raises DaemonRefused unless it ends with 0.

    What it prints goes to our standard error. When its time is over, it is killed with all that it started.
    """
    name = after.command[0]
    try:
        process = subprocess.Popen(
            after.command,
            env={"PATH": _PATH, "LANG": "C.UTF-8", **environ},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
    except OSError as error:
        raise DaemonRefused(f"{name} cannot be run: {error.strerror}.") from None
    try:
        code = process.wait(after.seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DaemonRefused(f"{name} did not end within {after.seconds} s.") from None
    if code != 0:
        raise DaemonRefused(f"{name} ended with code {code}.")


def _require_without_ppk(connection: Connection) -> None:
    if connection.ppk != "none":
        raise ConnectionInvalid(f"Connection {connection.name}: PPKs are not rendered.")


def _connection(document: dict[str, Any]) -> Connection:
    children = tuple(Child(**_tuples(each)) for each in document.pop("children"))
    return Connection(**_tuples(document), children=children)


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in document.items()}


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *matching.MALFORMED):
        return 0
