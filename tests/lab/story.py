"""The story of the product's spine: enroll, connect, pass traffic, revoke, be refused.

Told by `make demo` in a terminal and by tests/lab/test_story.py with assertions.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp

from hsm.ports import KeyAlgorithm
from ikewarden.instance import Instance, InstancePlan, TokenPlan, make
from tests.fixtures.ports import free_ports
from tests.lab.charon import Gateway, connect
from tests.lab.errors import LabError, Refused
from tests.lab.lab import SERVICE_ADDRESS, Lab
from tests.lab.traffic import ping

Say = Callable[[str], None]
API_PORT, VALIDATION_PORT = 8443, 8080
_KEYS: dict[str, Callable[[], Any]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
PACKETS = 100


@dataclass(frozen=True)
class Enrolled:
    """A gateway's credentials as the service gave them."""

    name: str
    serial: str
    key_pem: bytes
    certificate_pem: bytes
    chain_pems: tuple[bytes, ...]


@dataclass
class Warden:
    """A served instance and how its API is reached."""

    instance: Instance
    api_port: int
    validation_port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    # Who waits for something asks many times: each time with a handshake, that would be most of the work.
    _http: urllib3.PoolManager | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Start `ikewarden serve` in a process group of its own."""
        self._hang_up()
        directory = str(self.instance.directory)
        command = [sys.executable, "-m", "ikewarden.main", "serve", "--dir", directory]
        environment = {**os.environ, **self.settings}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment
            )

    def stop(self) -> None:
        """End it as Ctrl-C would, and by force if that takes too long."""
        self._hang_up()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def kill(self, *, alone: bool = False) -> None:
        """End all its parts at once, as a power failure does; or the first of them `alone`, whose end the others find
        out. Gives back when none is left, and the ports are free.
        """
        (os.kill if alone else os.killpg)(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not _members(self.process.pid), "the parts of the service have ended")

    @property
    def log(self) -> Path:
        """Where it writes its log."""
        return self.instance.directory / "serve.log"

    def wait_until_ready(self) -> None:
        """Wait until /readyz says so; raises LabError with the end of the log when it does not."""
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib3.exceptions.HTTPError, LabError):
                if self.call("GET", "/readyz")["ready"]:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the service did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    @property
    def token(self) -> str:
        """The admin's token."""
        return self.instance.admin_token.reveal().decode()

    def call(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        """One call of the API over loopback; raises LabError with the problem's words."""
        http = self._http = self._http or self._pool()
        base = f"https://127.0.0.1:{self.api_port}"
        return self._call(http, base, method, path, body, token)

    def call_from(self, gateway: Gateway, method: str, path: str, body: Any, *, token: str) -> Any:
        """The same from inside a gateway's network namespace."""
        base = f"https://{SERVICE_ADDRESS}:{API_PORT}"
        with self._pool() as http:
            return gateway.namespace.within(
                lambda: self._call(http, base, method, path, body, token)
            )

    def _pool(self) -> urllib3.PoolManager:
        root = str(self.instance.directory / "root-ca.pem")
        return urllib3.PoolManager(ca_certs=root, retries=False, timeout=60.0, maxsize=16)

    def _hang_up(self) -> None:
        if self._http is not None:
            self._http.clear()
            self._http = None

    def _call(
        self, http: urllib3.PoolManager, base: str, method: str, path: str, body: Any, token: str
    ) -> Any:
        answer = http.request(
            method,
            base + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token or self.token}",
                "Content-Type": "application/json",
            },
        )
        if answer.status >= 400:
            raise LabError(f"{method} {path}: {answer.status} {answer.data.decode()}")
        return json.loads(answer.data)

    def fetch(self, path: str, body: bytes | None = None) -> bytes:
        """GET or POST at the validation listener."""
        url = f"http://127.0.0.1:{self.validation_port}{path}"
        with urllib3.PoolManager(retries=False, timeout=60.0) as http:
            return http.request("GET" if body is None else "POST", url, body=body).data


def _members(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(stat.parent.name)
    return found


@contextlib.contextmanager
def served(
    directory: Path,
    algorithm: KeyAlgorithm,
    *,
    in_lab: bool,
    settings: Mapping[str, str] | None = None,
    token: TokenPlan | None = None,
    transit: str | None = None,
) -> Iterator[Warden]:
    """Make an instance for a lab and serve it on loopback until the block ends.

    The keys of its authorities are in the `token` or in the engine of `transit`, if there is one. `settings` are
    environment variables that go before the instance's own settings.
    """
    api_port, validation_port = free_ports(2)
    instance = make(
        InstancePlan(
            directory=directory,
            organization="Demo",
            port=api_port,
            names=("localhost", "127.0.0.1", SERVICE_ADDRESS),
            validation_port=validation_port,
            validation_url=f"http://{SERVICE_ADDRESS}:{VALIDATION_PORT}" if in_lab else None,
            algorithm=algorithm,
            token=token,
            transit=transit,
        ),
        None,
        now=datetime.now(UTC),
    )
    warden = Warden(instance, api_port, validation_port, settings or {})
    warden.start()
    try:
        warden.wait_until_ready()
        yield warden
    finally:
        warden.stop()


def enroll(
    warden: Warden, name: str, algorithm: str = "ec-p256", gateway: Gateway | None = None
) -> Enrolled:
    """Make a key where the gateway is, and have it certified with a one-time token."""
    made = warden.call(
        "POST",
        "/v1/tokens",
        {
            "name": f"enroll {name}",
            "role": "enroller",
            "profiles": ["gateway"],
            "names": [f"dns:{name}"],
            "gateway": name,
            "uses": 1,
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
    )
    key = _KEYS[algorithm]()
    digest = None if algorithm == "ed25519" else hashes.SHA256()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, digest)
    )
    body = {
        "csr": request.public_bytes(serialization.Encoding.PEM).decode(),
        "profile": "gateway",
    }
    path = "/v1/certificates"
    if gateway is None:
        issued = warden.call("POST", path, body, token=made["token"])
    else:
        issued = warden.call_from(gateway, "POST", path, body, token=made["token"])
    return Enrolled(
        name=name,
        serial=issued["serial"],
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate_pem=issued["certificate"].encode(),
        chain_pems=tuple(pem.encode() for pem in issued["chain"]),
    )


def ocsp_status(warden: Warden, enrolled: Enrolled) -> str:
    """What our responder says: GOOD, REVOKED or UNKNOWN."""
    leaf = x509.load_pem_x509_certificate(enrolled.certificate_pem)
    issuer = x509.load_pem_x509_certificate(enrolled.chain_pems[0])
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())  # noqa: S303 - a CertID, not a signature
    request = builder.build().public_bytes(serialization.Encoding.DER)
    answer = ocsp.load_der_ocsp_response(warden.fetch("/ocsp/issuing", request))
    return answer.certificate_status.name


def on_crl(warden: Warden, enrolled: Enrolled) -> bool:
    """Whether the complete CRL lists the certificate."""
    try:
        crl = x509.load_der_x509_crl(warden.fetch("/crl/issuing.crl"))
    except ValueError:  # none yet
        return False
    return crl.get_revoked_certificate_by_serial_number(int(enrolled.serial, 16)) is not None


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 180.0) -> float:
    """Wait for a condition; returns the seconds it took, raises LabError when it took too long."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise LabError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - start


Enroll = Callable[[Warden, str, str, Gateway], Enrolled]


def tell(
    lab: Lab, warden: Warden, algorithm: str, say: Say, *, enroll: Enroll = enroll
) -> list[str]:
    """The whole story; returns the daemon's own words of the refusal. Raises LabError where it goes wrong."""
    lab.publish(("127.0.0.1", warden.api_port), port=API_PORT)
    lab.publish(("127.0.0.1", warden.validation_port), port=VALIDATION_PORT)
    say("starting two charon daemons in network namespaces")
    left, right = lab.gateway("gw-a"), lab.gateway("gw-b")
    say(f"strongSwan {left.version} at {left.outside} and {right.outside}")
    enrolled = []
    for gateway in (left, right):
        mine = enroll(warden, f"{gateway.name}.demo.example", algorithm, gateway)
        gateway.install(mine.key_pem, mine.certificate_pem, mine.chain_pems)
        enrolled.append(mine)
        say(f"{mine.name}: enrolled, {algorithm} certificate {mine.serial}")
    connect(left, right)
    left.initiate()
    say("IKEv2 tunnel is up, with revocation = strict on both ends")
    passed = ping(left, right, PACKETS)
    if passed.received != PACKETS:
        raise LabError(f"only {passed.received} of {PACKETS} packets came back: {passed.output}")
    say(f"{passed.received} of {passed.sent} pings passed through it")
    return _revoke(warden, left, right, enrolled[1], say)


def _revoke(warden: Warden, left: Gateway, right: Gateway, victim: Enrolled, say: Say) -> list[str]:
    if (before := ocsp_status(warden, victim)) != "GOOD":
        raise LabError(f"OCSP calls a good certificate {before}")
    warden.call("POST", f"/v1/certificates/{victim.serial}/revoke", {"reason": "keyCompromise"})
    say(f"{victim.name}: certificate revoked, reason keyCompromise")
    crl = wait_until(lambda: on_crl(warden, victim), "the serial on the CRL")
    answer = wait_until(lambda: ocsp_status(warden, victim) == "REVOKED", "OCSP says revoked")
    say(f"CRL lists it after {crl:.2f} s; OCSP says REVOKED ({answer:.2f} s later)")
    # charon asks again only when its caches end; the agent of a gateway will do this.
    left.flush_certs()
    left.terminate()
    left.wait_until(up=False)
    mark = left.log.mark()
    try:
        right.initiate()
    except Refused:
        words = left.log.words(r"revoked|no trusted", since=mark)
        words += right.log.words("AUTHENTICATION_FAILED")
        if not any("certificate was revoked" in line for line in words):
            raise LabError(f"refused, but not for the revocation: {words}") from None
        say("the next authentication is refused; in the daemons' own words:")
        return words
    raise LabError("the revoked certificate was let in")
