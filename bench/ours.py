"""Our side: a real instance from `ikewarden init`, served by `ikewarden serve`, on SQLite or PostgreSQL."""

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from cryptography import x509
from sqlalchemy import func, insert, select

from bench.processes import Program, free_ports, plain_environment, wait_until
from core.secret import Secret
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki.identity import token_hash
from pki.tokens import cmp_secret
from store import outbox
from store.engine import Store, open_store
from store.tables import audit_events, authorities, certificates, tokens

ISSUING = "issuing"
PROFILE = "gateway"
# The same number of processes for both listeners.
_SETTINGS = {
    "IKEWARDEN_API__WORKERS": "2",
    # As by default: one has a thread that talks and one that answers, so it keeps two processors busy.
    "IKEWARDEN_VALIDATION__WORKERS": "1",
}
_JOBS = 5  # crl_refresh, ocsp_refresh, reconcile, expiry_notices, cleanup; more are welcome


class OursRefused(Exception):
    """Our service did not do what it was asked."""


class Ours:
    """An instance and, from `start` to `stop`, its service.

    `database_url` puts its records into an empty PostgreSQL database instead of the instance's SQLite file; `options`
    are for `init`, `environment` goes before the settings of all benchmarks.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory / "instance"
        self._log = directory / "ikewarden.log"
        port, validation_port = free_ports(2)
        self.url = f"https://127.0.0.1:{port}"
        self.plain_url = f"http://127.0.0.1:{validation_port}"
        self.environment = plain_environment(**{**_SETTINGS, **(environment or {})})
        self._command = Path(sys.executable).with_name("ikewarden")
        self.run(
            [
                *(self._command, "init", "--dir", self.directory),
                *("--port", str(port), "--validation-port", str(validation_port), *options),
            ]
        )
        self.database_url = f"sqlite:///{self.directory / 'ikewarden.db'}"
        if database_url is not None:
            self.run([sys.executable, "-m", "bench.copy", self.database_url, database_url])
            self.database_url = database_url
            self.environment["IKEWARDEN_DATABASE__URL"] = database_url
        self._http = urllib3.PoolManager(
            ca_certs=str(self.directory / "root-ca.pem"), retries=False, timeout=60.0
        )
        self.admin_token = (self.directory / "admin-token").read_text().strip()
        self.token = ""
        self._program: Program | None = None
        self._store: Store | None = None

    def run(self, command: Sequence[str | Path], *, seconds: float = 900) -> str:
        """Run a program to its end; gives what it printed. Raises OursRefused."""
        try:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=Path(__file__).parents[1],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OursRefused(f"{command[1:4]} took over {seconds:,.0f} s") from None
        if done.returncode != 0:
            raise OursRefused(f"{command[1:4]} failed: {done.stderr[-1500:]} {done.stdout[-500:]}")
        return done.stdout

    def seed(self, *arguments: str) -> Any:
        """Run `bench.seed` on the instance, in a process of its own; gives its JSON."""
        program = [sys.executable, "-m", "bench.seed", str(self.directory), *arguments]
        return json.loads(self.run(program).splitlines()[-1])

    @property
    def program(self) -> Program:
        """The running service."""
        if self._program is None:
            raise OursRefused("not started")
        return self._program

    def start(self) -> None:
        """Serve, and make the operator's token that the load uses."""
        self._program = Program(
            [self._command, "serve", "--dir", self.directory],
            log=self._log,
            cwd=self.directory,
            environment=self.environment,
        )
        wait_until(self._is_ready, seconds=60, what="our start", program=self._program)
        made = self.call("POST", "/v1/tokens", {"name": "bench", "role": "operator"})
        self.token = made["token"]
        self._store = open_store(self.database_url)
        # With a million certificates on record the first notices alone take a while.
        wait_until(self._is_settled, seconds=600, what="our first jobs", program=self._program)

    def stop(self) -> None:
        """End the service, if it runs."""
        self._http.clear()
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._program is not None:
            self._program.stop()
            self._program = None

    def _is_ready(self) -> bool:
        try:
            ready = self._http.request("GET", f"{self.url}/readyz").status == 200
            alive = self._http.request("GET", f"{self.plain_url}/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False
        return ready and alive

    def _is_settled(self) -> bool:
        """Whether every job ran once and the outbox is empty: what comes after is everyday work."""
        jobs = self.call("GET", "/v1/jobs")["items"]
        with self._records().read() as connection:
            waiting = outbox.depth(connection, datetime.now(UTC)).waiting
        return len(jobs) >= _JOBS and all(job["finished_at"] for job in jobs) and not waiting

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """One request as the admin, or with the load's token once there is one. Raises OursRefused."""
        answer = self._http.request(
            method,
            f"{self.url}{path}",
            body=json.dumps(body).encode() if body is not None else None,
            headers={
                "Authorization": f"Bearer {self.token or self.admin_token}",
                "Content-Type": "application/json",
            },
        )
        if answer.status >= 300:
            raise OursRefused(f"{method} {path}: {answer.status} {answer.data[:300]!r}")
        read: dict[str, Any] = json.loads(answer.data)
        return read

    def headers(self) -> dict[str, str]:
        """Headers of the load's requests."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def issuer(self) -> x509.Certificate:
        """The issuing authority's certificate."""
        found = self.call("GET", f"/v1/authorities/{ISSUING}")
        return x509.load_pem_x509_certificate(found["certificate"].encode())

    def serials(self, profile: str = PROFILE) -> list[int]:
        """Serial numbers of all certificates of a profile that the issuing authority issued."""
        return [int(text, 16) for text in self._select(None, profile)]

    def revoked(self) -> int:
        """How many of them are on record as revoked."""
        return len(self._select("revoked"))

    def enroller_token(self) -> str:
        """One token of many uses, for all host names that the load has."""
        wanted = {
            "name": "bench-device",
            "role": "enroller",
            "profiles": [PROFILE],
            "names": ["dns:*.bench.example"],
            "uses": 1_000_000,
        }
        made: str = self.call("POST", "/v1/tokens", wanted)["token"]
        return made

    def enroller_tokens(self, name: str, profile: str, count: int) -> list[str]:
        """One-time tokens for a host name, put on record at once: the API makes one at a time."""
        return [secret for _, secret in self._tokens(name, profile, count)]

    def cmp_secrets(self, name: str, profile: str, count: int) -> list[tuple[str, bytes]]:
        """The same for CMP: the reference of each, and the secret, which is derived from the instance's seal."""
        settings = load_settings(self.directory / "ikewarden.toml", self.environment)
        desk = make_desk(settings, open_keys(settings, self.environment))
        try:
            references = [of for of, _ in self._tokens(name, profile, count)]
            return [(each, cmp_secret(desk, each).reveal()) for each in references]
        finally:
            desk.store.close()

    def _tokens(self, name: str, profile: str, count: int) -> list[tuple[str, str]]:
        made = [(secrets.token_hex(8), f"iw_bench{secrets.token_hex(16)}") for _ in range(count)]
        now = datetime.now(UTC)
        rows = [
            {
                "id": number,
                "name": name,
                "hash": token_hash(Secret(secret)),
                "role": "enroller",
                "scope": {"profiles": [profile], "names": [f"dns:{name}"]},
                "uses_left": 1,
                "created_by": "bench",
                "created_at": now,
            }
            for number, secret in made
        ]
        with self._records().write() as connection:
            connection.execute(insert(tokens), rows)
        return made

    def _records(self) -> Store:
        if self._store is None:
            raise OursRefused("not started")
        return self._store

    def _select(self, status: str | None, profile: str = PROFILE) -> list[str]:
        # Not the service's own TLS certificate, nor the responder's.
        query = (
            select(certificates.c.serial)
            .join(authorities, authorities.c.id == certificates.c.authority_id)
            .where(authorities.c.name == ISSUING, certificates.c.profile == profile)
            .where(certificates.c.status.not_in(("pending", "abandoned")))
        )
        if status is not None:
            query = query.where(certificates.c.status == status)
        with self._records().read() as connection:
            return list(connection.scalars(query))

    def audit_events(self) -> int:
        """How many events the audit log has."""
        with self._records().read() as connection:
            return int(connection.scalar(select(func.count()).select_from(audit_events)) or 0)


def issue_bodies(requests: Sequence[str]) -> list[bytes]:
    """JSON bodies for POST /v1/certificates."""
    return [json.dumps({"csr": pem, "profile": PROFILE}).encode() for pem in requests]


def hexadecimal(serial: int) -> str:
    """A serial number as our API writes it."""
    digits = format(serial, "x")
    return digits.zfill(len(digits) + len(digits) % 2)
