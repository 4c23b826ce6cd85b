"""A service whose every secret a test knows, in each place where keys are kept, and everything that it writes."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import create_engine, inspect, select, table, text

from core.secret import Secret
from hsm.fingerprint import PATH as FINGERPRINT_KEY
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from ikewarden.settings import load_settings
from ikewarden.wiring import open_secrets
from tests.fixtures.openbao import OpenBao, make_identity
from tests.fixtures.ports import free_ports
from tests.fixtures.receivers import Api, Mailbox
from tests.fixtures.receivers import serving as receiving
from tests.fixtures.served import Done, Served, serving
from tests.fixtures.softhsm import MODULE, SoftToken
from tests.hsm.vaults import key_settings, our_policy
from tests.service.canaries import Canaries
from tests.service.witness import Witness

Environ = dict[str, str]


def word() -> str:
    """A secret that looks otherwise in each spelling."""
    return f"Can&ry+{secrets.token_hex(8)}/="


@dataclass
class House:
    """The service, what must not be found, and what was told to whoever asked."""

    served: Served
    place: Path
    canaries: Canaries
    witness: Witness
    words: dict[str, str]
    told: dict[str, bytes] = field(default_factory=dict)
    keys: str = "files"
    vault_log: Path | None = None
    http: urllib3.PoolManager | None = None

    def secret(self, name: str, value: str | bytes, *, guessable: bool = False) -> Any:
        """The value, looked for from now on."""
        self.canaries.add(name, value, guessable=guessable)
        return value

    def file(self, name: str, content: str, mode: int = 0o600) -> Path:
        """A file outside of the instance."""
        path = self.place / "given" / name
        path.touch(mode)
        path.write_text(content)
        path.chmod(mode)
        return path

    def run(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        shows: bool = False,
        local: bool = False,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Done:
        """Run the program; what it prints is kept, unless it `shows` a secret as it must. `local`: on the instance
        itself, with the secrets that open it.
        """
        given = {**(self.served.environ if local else {}), **(environ or {})}
        done = self.served.run(*arguments, environ=given, **options)
        assert code in (done.code, None), (arguments, done)
        if not shows:
            self.keep(f"what {arguments[0]} {arguments[1]} prints", done.out + done.err)
        return done

    def json(self, *arguments: str | Path, **options: Any) -> Any:
        """The same, as the document that it prints, of a success or of a failure."""
        done = self.run(*arguments, "--format", "json", **options)
        return done.document if done.code == 0 else done.error

    def ask(
        self, method: str, path: str, *, body: bytes | str | None = None, **headers: str
    ) -> int:
        """One raw request as admin, if the headers do not say otherwise; gives the status. Who put a secret into it may
        see it in the answer.
        """
        sent = {
            "Authorization": f"Bearer {self.served.admin_token}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.http is None:
            self.http = urllib3.PoolManager(
                ca_certs=str(self.served.ca_file), retries=False, timeout=60.0
            )
        answer = self.http.request(method, self.served.url + path, body=body, headers=sent)
        return answer.status

    def keep(self, what: str, content: str | bytes) -> None:
        """Something that was told, to be searched."""
        octets = content.encode() if isinstance(content, str) else content
        self.told[what] = self.told.get(what, b"") + octets

    def learn_sealed(self) -> None:
        """Look also for what lies sealed in the instance: keys of authorities and of the service, the key of
        fingerprints; and for the tokens that a vault gave.
        """
        directory = self.served.directory
        seal = Seal.open(directory / "keys", Secret(self.words["passphrase"]))
        sealed = SealedFileKeyStore(directory / "keys", seal)
        for file in sorted((directory / "keys").glob("*.key")):
            self.canaries.add_key(
                f"the key {file.stem}", sealed._decode_key(file.stem, file.read_bytes())
            )
        for file in sorted((directory / "keys").glob("*.blob")):
            content = sealed.get_blob(file.stem).reveal()
            if b"PRIVATE KEY-----" in content:
                self.canaries.add_key(
                    f"the key in {file.stem}", load_pem_private_key(content, None)
                )
        settings = load_settings(directory / "ikewarden.toml", self.served.environ)
        store = open_secrets(settings, seal, self.served.environ)
        self.canaries.add("the key of fingerprints", store.get(FINGERPRINT_KEY).value.reveal())
        if self.vault_log is not None:
            for line in self.vault_log.read_text().splitlines():
                auth = json.loads(line).get("response", {}).get("auth", {})
                if auth.get("client_token"):
                    self.canaries.add("a token of the vault", auth["client_token"])

    def written(self) -> Iterator[tuple[str, bytes]]:
        """All that there is to be searched, and where it comes from."""
        yield from self.told.items()
        yield "the log", self.served.log.encode()
        yield from rows(self.database_url)
        # What is left out is a secret by purpose, in a file of its own that only its owner reads.
        kept = {self.served.directory / "admin-token"}
        for folder in (self.served.directory, self.place / "restored", self.place / "tmp"):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path not in kept and path.name != "admin-token":
                    yield f"{path}", path.read_bytes()
        for name in ("backup.ikw", "audit-log.export"):
            yield name, (self.place / name).read_bytes()
        for arguments in self.witness.arguments:
            yield "the arguments of a process", arguments
        for environ, arguments in self.witness.environs.items():
            yield f"the environment of {arguments!r}", environ
        for (path, *_), content in self.witness.files.items():
            yield f"{path}, while it was there", content
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                yield f"{path}", path.read_bytes()

    @property
    def database_url(self) -> str:
        """Where the records are."""
        own = f"sqlite:///{self.served.directory}/ikewarden.db"
        return self.served.environ.get("IKEWARDEN_DATABASE__URL", own)


def rows(url: str, only: str = "") -> Iterator[tuple[str, bytes]]:
    """Every table of a database, or one, with every value of every row, as octets: the tables that there are, not those
    that we know of.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            for name in [only] if only else sorted(inspect(connection).get_table_names()):
                found = connection.execute(select(text("*")).select_from(table(name))).all()
                content = b"\n".join(_octets(value) for row in found for value in row)
                yield f"the table {name}", content
    finally:
        engine.dispose()


def _octets(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value).encode()
    return str(value).encode()


def stage_files(place: Path) -> Iterator[Path]:
    """Files that are there for a moment: where temporary ones go, and beside what is being written."""
    folders = [place / "tmp", place / "instance" / ".backup", place / "restored"]
    for folder in folders:
        with contextlib.suppress(OSError):
            yield from (each for each in folder.rglob("*") if each.name != "admin-token")
    yield from place.glob(".backup.ikw.*")


@contextlib.contextmanager
def housing(
    place: Path, keys: str, database_url: str | None, openbao: OpenBao | None
) -> Iterator[House]:
    """A service with its keys in `files`, `softhsm` or `openbao`. It tells webhook, Alertmanager and mail what happens;
    none of them takes it.
    """
    names = ("passphrase", "webhook", "webhook key", "mail password", "alertmanager token", "PIN")
    words = {each: word() for each in names}
    canaries = Canaries()
    for name, value in words.items():
        canaries.add(name, value, guessable=True)
    for name in ("tmp", "given"):
        (place / name).mkdir(mode=0o700)
    witness = Witness(lambda: stage_files(place))
    house = House(Served(place / "instance", 0, 0), place, canaries, witness, words, keys=keys)
    environ, options = _settings(house, keys, openbao)
    identity = make_identity(place / "given", "mail")
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(receiving(Api()))
        told.answer = 503
        mail = stack.enter_context(Mailbox(identity, "starttls"))
        environ |= _receivers(house, told.url, mail.port, identity.certificate)
        stack.enter_context(house.witness)
        made = serving(
            place / "instance", database_url=database_url, environ=environ, options=options
        )
        house.served = stack.enter_context(made)
        canaries.add("the admin's token", house.served.admin_token)
        yield house


def _receivers(house: House, url: str, port: int, root: Path) -> Environ:
    words = house.words
    login = house.file("mail-login", f"warden:{words['mail password']}")
    mail = {"HOST": "localhost", "PORT": str(port), "CA_FILE": str(root), "LOGIN_FILE": str(login)}
    mail |= {"FROM": "warden@example.com", "TO": "ops@example.com"}
    return {
        # Somebody who listens nowhere, so that the error is one of the connection.
        "IKEWARDEN_NOTICES__WEBHOOK": f"http://127.0.0.1:{free_ports(1)[0]}/{words['webhook']}",
        "IKEWARDEN_NOTICES__WEBHOOK_KEY_FILE": str(house.file("key", words["webhook key"])),
        "IKEWARDEN_NOTICES__ALERTMANAGER_URL": url,
        "IKEWARDEN_NOTICES__ALERTMANAGER_TOKEN_FILE": str(
            house.file("alertmanager-token", words["alertmanager token"])
        ),
        **{f"IKEWARDEN_NOTICES__MAIL_{name}": value for name, value in mail.items()},
    }


def _settings(house: House, keys: str, openbao: OpenBao | None) -> tuple[Environ, tuple[str, ...]]:
    """The environment, and options of `init`. The passphrase is in a variable whose name was chosen."""
    environ = {
        "SEALING_WORDS": house.words["passphrase"],
        "TMPDIR": str(house.place / "tmp"),
        "IKEWARDEN_LOGS__LEVEL": "debug",
        "IKEWARDEN_SCHEDULER__EXPIRY_NOTICES": "1",
        "IKEWARDEN_SCHEDULER__AUDIT_LOG": "1",
        "IKEWARDEN_APPROVALS__REQUIRED": "authority.create,role.change,backup.export",
    }
    options: tuple[str, ...] = ("--passphrase-env", "SEALING_WORDS")
    if keys == "softhsm":
        token = SoftToken(house.place / "softhsm", "no secrets", house.words["PIN"])
        environ |= token.environment
        environ["IKEWARDEN_PIN"] = token.pin
        options += ("--pkcs11", str(MODULE), "--token", token.label)
    if openbao is not None:
        options += ("--transit", str(_vault(house, openbao, environ)))
    return environ, options


def _vault(house: House, openbao: OpenBao, environ: Environ) -> Path:
    """Keys in Transit and shared secrets in KV, each under a role of its own; the file for `init`."""
    house.vault_log = openbao.directory / "audit.log"
    engine, method = openbao.engine(), openbao.method("approle")
    role = openbao.role(method, token_policies=[our_policy(openbao, engine)])
    house.canaries.add("a secret id", role.secret_id_file.read_text().strip())
    environ |= {
        "IKEWARDEN_SECRETS__STORE": "vault",
        "IKEWARDEN_SECRETS__URL": openbao.url,
        "IKEWARDEN_SECRETS__MOUNT": engine,
        "IKEWARDEN_SECRETS__AUTH_MOUNT": method,
        "IKEWARDEN_SECRETS__ROLE_ID": role.role_id,
        "IKEWARDEN_SECRETS__SECRET_ID_FILE": str(role.secret_id_file),
    }
    text = key_settings(openbao, openbao.transit())
    secret_id_file = text.rpartition('secret_id_file = "')[2].partition('"')[0]
    house.canaries.add("another secret id", Path(secret_id_file).read_text().strip())
    return house.file("transit.toml", text)
