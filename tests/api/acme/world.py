"""What proofs are looked for in, on loopback: a name server, a web server, a TLS server."""

import contextlib
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Names:
    """A name server: what it answers to a name and a type; what is not there does not exist."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    port: int = 0
    # Called for each question, to answer another time something else.
    rebind: Callable[[str, str], list[str] | None] | None = None

    def point(self, name: str, *found: str) -> None:
        for each in found:
            kind = "AAAA" if ":" in each else "A"
            self.records.setdefault((name, kind), []).append(each)

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text().rstrip(".").lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        at = question.name
        followed = 0
        while (alias := self.records.get((name, "CNAME"))) and kind != "CNAME" and followed < 50:
            answer.answer.append(dns.rrset.from_text(at, 0, "IN", "CNAME", *alias))
            at, name, followed = dns.name.from_text(alias[0]), alias[0].rstrip("."), followed + 1
        found = self.rebind(name, kind) if self.rebind else None
        found = self.records.get((name, kind), []) if found is None else found
        if found:
            answer.answer.append(dns.rrset.from_text(at, 0, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()


@contextlib.contextmanager
def name_server() -> Iterator[Names]:
    names = Names()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, held = self.request
            made = names.answer(data)
            if made is not None:
                held.sendto(made, self.client_address)

    with _serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)) as server:
        names.port = server.server_address[1]
        yield names


@contextlib.contextmanager
def _serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Web:
    """A web server: bodies, or whole answers, by path; and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def show(self, token: str, content: str) -> None:
        self.files[f"/.well-known/acme-challenge/{token}"] = content.encode()


@contextlib.contextmanager
def web_server(host: str = "127.0.0.1", port: int = 0, tls: Path | None = None) -> Iterator[Web]:
    web = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            if self.path in web.redirects:
                self.send_response(302)
                self.send_header("Location", web.redirects[self.path])
                self.end_headers()
                return
            content = web.files.get(self.path)
            self.send_response(web.statuses.get(self.path, 404 if content is None else 200))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    server = Server((host, port), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with _serving(server):
        web.port = server.server_address[1]
        yield web


def self_signed(
    names: list[str], digest: bytes | None, *, critical: bool = True, tail: bytes = b""
) -> bytes:
    """A certificate with its key, in PEM, as tls-alpn-01 wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "challenge")])
    now = datetime.now(UTC)
    shown: list[x509.GeneralName] = []
    for name in names:
        with contextlib.suppress(ValueError):
            shown.append(x509.IPAddress(ip_address(name)))
            continue
        shown.append(x509.DNSName(name))
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(shown), critical=False)
    )
    if digest is not None:
        oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
        value = x509.UnrecognizedExtension(oid, b"\x04\x20" + digest + tail)
        builder = builder.add_extension(value, critical=critical)
    made = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + made.public_bytes(serialization.Encoding.PEM)


@dataclass
class Alpn:
    """A server that shows its certificate to who asks for its protocol."""

    asked: list[str | None] = field(default_factory=list)
    port: int = 0


@contextlib.contextmanager
def alpn_server(pem: Path, protocol: str | None = "acme-tls/1") -> Iterator[Alpn]:
    told = Alpn()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    context.sni_callback = lambda _held, name, _context: told.asked.append(name)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                with context.wrap_socket(self.request, server_side=True) as held:
                    held.recv(1)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with _serving(Server(("127.0.0.1", 0), Handler)) as server:
        told.port = server.server_address[1]
        yield told


@contextlib.contextmanager
def answering(reply: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with each connection what it is told; gives its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                reply(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with _serving(Server(("127.0.0.1", 0), Handler)) as server:
        yield server.server_address[1]
