"""The agent's home: one private directory that holds everything the agent knows, and one agent at a time."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ike.agent import settings as settings_file
from ike.agent.errors import HomeDamaged, HomeInUse, NotEnrolled
from ike.agent.folder import FILE_MODE, Folder, Watch, nobody, told
from ike.agent.generations import Generation, Generations
from ike.agent.keyring import Keyring
from ike.agent.settings import AgentSettings
from ike.agent.tokens import Tokens

DEFAULT: Final = Path("/var/lib/ikewarden-agent")
ROOT: Final = "root.pem"
LOCK: Final = "lock"
NOTES: Final = "state.json"
DESIRED: Final = "desired.json"
AUDITED: Final = "audit.json"
WATCHED: Final = "watch.json"
_SMALL: Final = 256 * 1024
_LARGE: Final = 16 * 2**20
LARGEST_CRL: Final = 64 * 2**20


@dataclass
class Notes:
    """What the agent remembers beside its generations; losing it costs nothing but a second report.

    `commands` are outcomes by the command's id, kept as long as the service names the command. `renewed_at` and
    `failures` keep a restarted agent from renewing in a tight loop. `secrets` are the slots of shared secrets by name:
    what was found of them (never a value), the order to prove one and the authentication that was seen.
    """

    version: int | None = None
    incarnation: str = ""
    contact_at: str | None = None
    contact_error: str = ""
    applied_at: str | None = None
    renewed_at: str | None = None
    renew_version: int | None = None
    failures: int = 0
    retry_at: str | None = None
    retry_seconds: float = 0.0
    skew_seconds: float | None = None
    errors: list[dict[str, str]] = field(default_factory=list)
    drift: list[dict[str, str]] = field(default_factory=list)
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    daemon: dict[str, str] = field(default_factory=dict)
    sas: list[dict[str, Any]] = field(default_factory=list)
    abilities: dict[str, bool] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)


class Home:
    """One home. Making an instance touches nothing; changes need `locked()`."""

    def __init__(self, path: Path, watch: Watch = nobody) -> None:
        self.path = path
        self._folder = Folder(path, watch)
        self._crls = self._folder.sub("crls")
        self.generations = Generations(self._folder.sub("generations"))
        self.channel = Generations(self._folder.sub("channel"))
        self.tokens = Tokens(self._folder)
        self.keyring = Keyring(self._folder.sub("secrets"))

    @contextmanager
    def locked(self, *, make: bool = False) -> Iterator[None]:
        """Be the only agent here until the block ends; finish what a killed one left half-done.

        Raises HomeInUse with the other one's process id, HomeNotPrivate, NotEnrolled where there is no home and
        `make` is not set.
        """
        if make:
            self._folder.make()
        self._folder.check()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with told(self.path / LOCK):
            lock = os.open(self.path / LOCK, flags, FILE_MODE)
        try:
            self._take(lock)
            self._folder.sweep()
            self.generations.sweep()
            self.channel.sweep()
            yield
        finally:
            os.close(lock)  # gives the lock back, as death does

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise HomeInUse(
                f"Another agent works in {self.path}: process {pid}.", details={"pid": pid}
            ) from None
        with told(self.path / LOCK):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def identity(self) -> Generation | None:
        """The one to speak to the service with: the channel's, where there is one, else the gateway's own."""
        return self.channel.current() or self.generations.identity()

    def check(self) -> None:
        """Refuse a home that is not private. Raises HomeNotPrivate, NotEnrolled."""
        self._folder.check()

    def enrolled(self) -> bool:
        """Whether there are settings and a certificate."""
        return self._folder.read(settings_file.NAME, limit=_SMALL) is not None

    def settings(self) -> AgentSettings:
        """agent.toml. Raises NotEnrolled, AgentSettingsInvalid."""
        content = self._folder.read(settings_file.NAME, limit=_SMALL)
        if content is None:
            raise NotEnrolled(f"There is no {settings_file.NAME} in {self.path}.")
        return settings_file.parse(content, self.path / settings_file.NAME)

    def write_settings(self, settings: AgentSettings) -> None:
        """Write agent.toml."""
        self._folder.write(settings_file.NAME, settings_file.render(settings))

    def root(self) -> x509.Certificate:
        """The root that the service must prove itself by. Raises NotEnrolled, HomeDamaged."""
        content = self._folder.read(ROOT, limit=_SMALL)
        if content is None:
            raise NotEnrolled(f"There is no {ROOT} in {self.path}.")
        try:
            return x509.load_pem_x509_certificate(content)
        except ValueError:
            raise HomeDamaged(f"{self.path / ROOT} holds no certificate.") from None

    def write_root(self, root: x509.Certificate) -> None:
        """Write root.pem."""
        self._folder.write(ROOT, root.public_bytes(Encoding.PEM))

    def notes(self) -> Notes:
        """state.json; empty notes where it is missing or cannot be understood: nothing depends on them."""
        document = self._document(NOTES, _LARGE)
        known = Notes()
        for name, value in (document or {}).items():
            kind = type(getattr(known, name, None))
            if hasattr(known, name) and (kind is type(None) or isinstance(value, kind)):
                setattr(known, name, value)
        return known

    def write_notes(self, notes: Notes) -> None:
        """Write state.json."""
        self._folder.write(NOTES, json.dumps(vars(notes), indent=1).encode())

    def audit_notes(self) -> dict[str, Any]:
        """audit.json: when the host was audited last, what it came to; empty where there is none that can be read."""
        return self._document(AUDITED, _SMALL) or {}

    def write_audit_notes(self, document: dict[str, Any]) -> None:
        """Write audit.json."""
        self._folder.write(AUDITED, json.dumps(document).encode())

    def watch_notes(self) -> dict[str, Any]:
        """watch.json: how the watch over SAs goes; empty where there is none that can be read."""
        return self._document(WATCHED, _SMALL) or {}

    def write_watch_notes(self, document: dict[str, Any]) -> None:
        """Write watch.json."""
        self._folder.write(WATCHED, json.dumps(document).encode())

    def desired(self) -> tuple[dict[str, Any] | None, str | None]:
        """The last desired state that the service gave, and its ETag; None where there is none that can be read."""
        document = self._document(DESIRED, _LARGE) or {}
        state, etag = document.get("state"), document.get("etag")
        if not isinstance(state, dict) or not isinstance(etag, str):
            return None, None
        return state, etag

    def write_desired(self, state: dict[str, Any], etag: str) -> None:
        """Keep a desired state, so that the agent goes on with it while the service is away."""
        self._folder.write(DESIRED, json.dumps({"etag": etag, "state": state}).encode())

    def forget_desired(self) -> None:
        """Forget it: the home belongs to another service now."""
        self._folder.remove(DESIRED)
        self._folder.remove(NOTES)

    def crl(self, authority: str) -> bytes | None:
        """The CRL of an authority that was fetched last, DER."""
        return self._crls.read(_crl_name(authority), limit=LARGEST_CRL)

    def write_crl(self, authority: str, der: bytes) -> None:
        """Keep a CRL."""
        self._crls.make()
        self._crls.write(_crl_name(authority), der)

    def drop_crls(self, but: set[str]) -> None:
        """Forget the CRLs of authorities that are not named any more."""
        kept = {_crl_name(authority) for authority in but}
        for name in self._crls.names():
            if name not in kept:
                self._crls.remove(name)

    def _document(self, name: str, limit: int) -> dict[str, Any] | None:
        try:
            content = self._folder.read(name, limit=limit)
            document = json.loads(content) if content else None
        except (HomeDamaged, ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


def _crl_name(authority: str) -> str:
    """A file name for any authority's name, whatever is in it."""
    return hashlib.sha256(authority.encode()).hexdigest()[:40] + ".crl"


def stamp(moment: datetime | None) -> str | None:
    """A time as it is kept and sent: RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
