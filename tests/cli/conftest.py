"""A hand-made TLS service whose answers each test writes, for what a good service never does."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.secret import Secret
from ikewarden.client import Client, Service

TOKEN = "iw_a-token-of-a-test"


@dataclass(frozen=True)
class Answer:
    """One answer; `hang_up` breaks the connection in its place."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False

    @classmethod
    def of(cls, document: object, status: int = 200) -> "Answer":
        return cls(status, json.dumps(document).encode())


HANG_UP = Answer(hang_up=True)


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Actor:
    """The service: answers come from `script` one after the other, the last one for ever."""

    url: str
    ca_file: Path
    script: list[Answer]
    asked: list[Asked] = field(default_factory=list)

    def client(self, ca_file: Path | None = None) -> Client:
        return Client(Service(self.url, ca_file or self.ca_file, Secret(TOKEN)))

    def options(self, token_file: Path) -> tuple[str, ...]:
        """Connection options of the program."""
        token_file.write_text(TOKEN)
        token_file.chmod(0o600)
        return (
            *("--url", self.url, "--ca-file", str(self.ca_file)),
            *("--token-file", str(token_file)),
        )


def credential(
    directory: Path, *, names: tuple[str, ...] = ("localhost",), days: int = 30
) -> tuple[Path, Path]:
    """A self-signed certificate and its key, one file each; valid from 60 days ago for 60 + `days`."""
    directory.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=A service of a test")
    now = datetime.now(UTC)
    alternatives: list[x509.GeneralName] = []
    for each in names:
        with contextlib.suppress(ValueError):
            alternatives.append(x509.IPAddress(ip_address(each)))
            continue
        alternatives.append(x509.DNSName(each))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_file, key_file


@contextlib.contextmanager
def acting(directory: Path, **certificate: Any) -> Iterator[Actor]:
    """Serve a script on a free port until the block ends."""
    certificate_file, key_file = credential(directory, **certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    actor = Actor("", certificate_file, [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            actor.asked.append(asked)
            answer = actor.script.pop(0) if len(actor.script) > 1 else actor.script[0]
            self.close_connection = True
            if answer.hang_up:
                return
            self.send_response(answer.status)
            for name, value in {
                "Content-Length": str(len(answer.body)),
                "Connection": "close",
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815 - names of http.server

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that do not like the certificate hang up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    actor.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield actor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Actor]:
    """A hand-made service for `localhost`."""
    with acting(tmp_path / "actor") as made:
        yield made


@pytest.fixture
def issued() -> Callable[..., dict[str, Any]]:
    """An answer to a request for a certificate, with PEM blocks that are text only."""

    def make(serial: str = "4f2a", **changes: Any) -> dict[str, Any]:
        block = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
        return {
            "serial": serial,
            "authority": "issuing",
            "profile": "gateway",
            "subject": "CN=gw1.example",
            "names": ["dns:gw1.example"],
            "gateway": "gw1.example",
            "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2026-04-01T00:00:00Z",
            "fingerprint": "00",
            "certificate": block.format("leaf"),
            "chain": [block.format("issuing"), block.format("root")],
            "lint": {"strongswan": "pass"},
            "renewed_from": None,
            **changes,
        }

    return make
