"""A small service over real TLS that speaks the part of the API that an agent uses, and can do it badly.

Switches: `answer_with(path, status, document, headers)` once or for good, `cut_off` (bodies end in the middle),
`drip` (seconds between the octets of a body), `date` and `date_offset` (its clock), `dates_arrival` (Date tells when
a request came), `down()`/`up()`, `hold_back` (long polls wait), `lifetime` of what it issues.
"""

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pki.x509.names import GeneralName
from tests.lab.handmade import Authority

GATEWAY = "gw1.example.com"
NAMES = ["dns:gw1.example.com", "ip:192.0.2.1"]
_PEM = Encoding.PEM


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(_PEM).decode()


@dataclass
class Canned:
    status: int
    document: dict[str, Any]
    headers: dict[str, str]
    times: int


class MiniService:
    """See the module. What the agent sent is in `requests`, `applied`, `sas` and `findings`."""

    def __init__(self, directory: Path) -> None:
        self.root = Authority("Mini Root")
        self.issuing = Authority("Mini Issuing", self.root, serial=2)
        self.lifetime = timedelta(days=90)
        self.backdate = timedelta(minutes=5)
        self.date_offset = timedelta()
        self.dates_arrival = False
        self.date = ""
        self.cut_off = False
        self.hold_back = True
        self.token = "iw_mini-token-of-the-test"
        self.uses = 1
        self.names = list(NAMES)
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.moments: list[
            tuple[float, str]
        ] = []  # when each came, on the clock that does not jump
        self.applied: list[dict[str, Any]] = []
        self.sas: list[dict[str, Any]] = []
        self.findings: list[dict[str, Any]] = []
        self.issued: list[x509.Certificate] = []
        self.by_key: dict[str, dict[str, Any]] = {}
        self.crl_number = 1
        self.revoked: list[int] = []
        self.version = 1
        self.renew = False
        self.commands: list[dict[str, Any]] = []
        self.connections: list[dict[str, Any]] = []
        self.secrets: list[dict[str, Any]] | None = []
        self.values: dict[int, dict[str, Any]] = {}
        self.knows_secrets = True  # takes reports that speak of shared secrets
        self.extra_authorities: list[str] = []
        self.drip = 0.0
        self.seen_certificates: list[str] = []
        self._canned: dict[str, Canned] = {}
        self._changed = threading.Condition()
        self._serial = 0x1000
        self._directory = directory
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self._credential = directory / "mini.pem"
        self._write_tls()
        self.up()

    # switches

    def answer_with(
        self,
        path: str,
        status: int,
        document: dict[str, Any],
        *,
        times: int = 10**6,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._canned[path] = Canned(status, document, headers or {}, times)

    def as_usual(self) -> None:
        self._canned.clear()
        self.cut_off = False

    def change(self, **members: Any) -> None:
        """Change the desired state; waiting polls are answered."""
        with self._changed:
            for name, value in members.items():
                setattr(self, name, value)
            self.version += 1
            self._changed.notify_all()

    def up(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._credential)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(
            cadata=self.root.certificate.public_bytes(_PEM).decode()
            + self.issuing.certificate.public_bytes(_PEM).decode()
        )
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.mini = self
        server.tls = context
        self.port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
            server.hang_up()
            with self._changed:
                self._changed.notify_all()

    @property
    def is_up(self) -> bool:
        return self._server is not None

    # what it is

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def pin(self) -> str:
        return hashlib.sha256(self.root.certificate.public_bytes(Encoding.DER)).hexdigest()

    def line(self, **members: str) -> str:
        document = {"u": self.url, "p": self.pin, "t": self.token, "n": GATEWAY, **members}
        content = json.dumps(document).encode()
        return "iwe1_" + base64.urlsafe_b64encode(content).decode().rstrip("=")

    @property
    def etag(self) -> str:
        return f'"{self.version}-{len(self.issued)}"'

    def crl(self) -> bytes:
        entries = [(serial, x509.ReasonFlags.key_compromise) for serial in self.revoked]
        return self.issuing.crl(self.crl_number, entries)

    def state(self) -> dict[str, Any]:
        crl = self.crl()
        return {
            "gateway": GATEWAY,
            "version": self.version,
            "profile": "gateway",
            "authorities": [
                pem(self.root.certificate),
                pem(self.issuing.certificate),
                *self.extra_authorities,
            ],
            "certificate": self._shown(self.issued[-1]) if self.issued else None,
            "renew": self.renew,
            "crls": [
                {
                    "authority": "issuing",
                    "number": self.crl_number,
                    "sha256": hashlib.sha256(crl).hexdigest(),
                    "size": len(crl),
                }
            ],
            "connections": self.connections,
            "secrets": self.secrets,
            "commands": self.commands,
        }

    def _shown(self, certificate: x509.Certificate) -> dict[str, Any]:
        return {
            "serial": format(certificate.serial_number, "x"),
            "certificate": pem(certificate),
            "chain": [pem(self.issuing.certificate), pem(self.root.certificate)],
        }

    def wait_changed(self, etag: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while self.etag == etag and self.is_up and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def issue(self, csr: str, names: list[str] | None = None) -> dict[str, Any]:
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if names is not None:
            san = x509.SubjectAlternativeName([GeneralName.parse(n).to_x509() for n in names])
        self._serial += 1
        now = datetime.now(UTC).replace(microsecond=0)
        common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, GATEWAY)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(common)
            .issuer_name(self.issuing.subject)
            .public_key(request.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - self.backdate)
            .not_valid_after(now + self.lifetime)
            .add_extension(san, critical=False)
            .sign(self.issuing.key, hashes.SHA256())
        )
        with self._changed:
            self.issued.append(certificate)
            self._changed.notify_all()
        return self._shown(certificate)

    def _write_tls(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.issuing.subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=5))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
            .sign(self.issuing.key, hashes.SHA256())
        )
        secret = key.private_bytes(_PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self._credential.write_text(secret + pem(certificate) + pem(self.issuing.certificate))


class _Server(ThreadingHTTPServer):
    mini: MiniService
    tls: ssl.SSLContext
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *given: Any) -> None:
        self.open: list[Any] = []
        super().__init__(*given)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(90)
        wrapped = self.tls.wrap_socket(request, server_side=True)
        self.open.append(wrapped)
        try:
            super().finish_request(wrapped, client_address)
        finally:
            wrapped.close()

    def hang_up(self) -> None:
        import socket

        for each in self.open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        return

    def date_time_string(self, timestamp: float | None = None) -> str:
        mini = self.server.mini
        moment = self._came if mini.dates_arrival else datetime.now(UTC)
        moment += mini.date_offset
        return mini.date or format_datetime(moment, usegmt=True)

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        self._came = datetime.now(UTC)
        mini = self.server.mini
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        path = urlsplit(self.path).path
        presented = self.connection.getpeercert(binary_form=True)  # type: ignore[attr-defined]
        if presented:
            serial = x509.load_der_x509_certificate(presented).serial_number
            mini.seen_certificates.append(format(serial, "x"))
        mini.moments.append((time.monotonic(), path))
        mini.requests.append((method, path, {**body, "_token": self.headers.get("Authorization")}))
        canned = mini._canned.get(path)
        if canned is not None and canned.times > 0:
            canned.times -= 1
            self._send(canned.status, canned.document, canned.headers)
            return
        self._route(mini, method, path, body, presented)

    def _route(
        self,
        mini: MiniService,
        method: str,
        path: str,
        body: dict[str, Any],
        presented: bytes | None,
    ) -> None:
        if path == "/v1/trust":
            self._send(
                200, {"roots": [pem(Authority("Other").certificate), pem(mini.root.certificate)]}
            )
        elif path == "/v1/whoami":
            if not self._token_holds(mini):
                return
            self._send(200, {"gateway": GATEWAY, "names": mini.names, "profiles": ["gateway"]})
        elif path == "/v1/certificates":
            self._issue(mini, body)
        elif path.endswith("/renew"):
            if presented is None:
                self._send(401, {"code": "credentials_missing", "detail": "Who are you?"})
                return
            self._issue(mini, body, spends=False)
        elif presented is None:
            self._send(401, {"code": "credentials_missing", "detail": "Who are you?"})
        else:
            self._route_own(mini, path, body)

    def _route_own(self, mini: MiniService, path: str, body: dict[str, Any]) -> None:
        number = path.removeprefix("/v1/gateways/self/secrets/")
        if path == "/v1/gateways/self/state":
            self._state(mini)
        elif number.isdecimal() and int(number) in mini.values:
            self._send(200, mini.values[int(number)])
        elif path.endswith("/applied") and not mini.knows_secrets and "secrets" in body:
            self._send(422, {"code": "invalid_input", "detail": "There is no member secrets."})
        elif path == "/v1/gateways/self/applied":
            mini.applied.append(body)
            self._send(204, None)
        elif path == "/v1/gateways/self/sas":
            mini.sas.append(body)
            self._send(204, None)
        elif path == "/v1/gateways/self/findings":
            mini.findings.append(body)
            self._send(204, None)
        elif path == "/v1/authorities/issuing/crl":
            self._send_bytes(200, mini.crl(), "application/pkix-crl")
        else:
            self._send(404, {"code": "route_not_found", "detail": "No such route."})

    def _token_holds(self, mini: MiniService) -> bool:
        if self.headers.get("Authorization") != f"Bearer {mini.token}" or mini.uses < 1:
            self._send(401, {"code": "token_refused", "detail": "This token is not valid."})
            return False
        return True

    def _issue(self, mini: MiniService, body: dict[str, Any], *, spends: bool = True) -> None:
        key = self.headers["Idempotency-Key"]
        if key not in mini.by_key:
            if spends:
                if not self._token_holds(mini):
                    return
                mini.uses -= 1
            mini.by_key[key] = mini.issue(body["csr"])
        self._send(201, mini.by_key[key])

    def _state(self, mini: MiniService) -> None:
        known = self.headers.get("If-None-Match")
        wait = int(parse_qs(urlsplit(self.path).query).get("wait", ["0"])[0])
        if known and wait and mini.hold_back:
            mini.wait_changed(known, wait)
        if known == mini.etag:
            self._send(304, None, {"ETag": mini.etag})
        else:
            self._send(200, mini.state(), {"ETag": mini.etag})

    def _send(
        self, status: int, document: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self._send_bytes(status, content, "application/json", headers)

    def _send_bytes(
        self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.mini.cut_off:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if self.server.mini.drip:
            for octet in content:
                self.wfile.write(bytes([octet]))
                time.sleep(self.server.mini.drip)
            return
        self.wfile.write(content)


@contextmanager
def mini_service(directory: Path) -> Iterator[MiniService]:
    service = MiniService(directory)
    try:
        yield service
    finally:
        service.down()
