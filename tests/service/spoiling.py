"""Secrets where they do not belong: requests and commands that are refused, each with one in another place."""

import base64
import json
import socket
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from core.errors import IkewardenError
from ikewarden.client import Client
from ikewarden.settings import load_settings
from tests.service.house import House, word


def spoil_requests(house: House, gateway: Client) -> None:
    """Each is refused."""
    for number, (path, body) in enumerate(_bodies(house)):
        for headers in ({"Idempotency_Key": f"k{number}"}, {"Content_Type": "text/plain"}):
            status = house.ask("POST", path, body=body, **headers)
            assert 400 <= status < 500, (status, path, body)
    lost = house.secret("a lost secret", word())
    token = house.served.admin_token
    for where in (lost, token):
        there = quote(where, safe="")
        for path in (
            "/v1/certificates/{}",
            "/v1/tunnels/{}/secrets",
            "/v1/{}",
            "/{}",
            "/v1/jobs/{}",
        ):
            assert 400 <= house.ask("GET", path.format(there)) < 500
        for name in ("cursor", "limit", "status", "expires_before", "token", "q"):
            house.ask("GET", f"/v1/certificates?{name}={there}")
            house.ask("GET", f"/v1/audit-events?{name}={there}")
            house.ask("GET", f"/v1/jobs?{there}={name}")
        assert house.ask(where, "/v1/whoami") >= 400 if where.isalnum() else True
    pair = base64.b64encode(f"admin:{lost}".encode()).decode()
    for header in (
        f"Basic {pair}",
        f"Bearer {lost}",
        f"Bearer {token} {lost}",
        lost,
        f"Token {token}",
    ):
        assert house.ask("GET", "/v1/whoami", Authorization=header) == 401
    wrong = house.secret("a wrong token", f"iw_{word()}".replace("&", "-"))
    assert house.ask("GET", "/v1/whoami", Authorization=f"Bearer {wrong}") == 401
    house.ask("GET", "/v1/whoami", X_Request_Id=f"{lost} \u00e9".encode().decode("latin-1"))
    house.ask("GET", "/v1/certificates", Cookie=f"token={token}", If_None_Match=lost, Referer=lost)
    for line in (f"GET /{lost} HTTP/1.1\r\nHost: x\r\n\r\n", f"{token}\r\n\r\n"):
        _send(house.served.port, line)
        _send(house.served.validation_port, line)
    there = quote(lost, safe="")
    for path in (f"/crl/{there}.crl", f"/ocsp/issuing/{there}", f"/ca/{there}.crt", f"/?{there}"):
        _send(house.served.validation_port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")


def _bodies(house: House) -> list[tuple[str, str]]:
    lost = house.secret("another lost secret", word(), guessable=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    house.canaries.add_key("a key in the place of a request", key)
    value = base64.b64encode(lost.encode()).decode()
    documents: list[tuple[str, Any]] = [
        ("/v1/certificates", {"csr": pem, "profile": "gateway"}),
        ("/v1/certificates", {"csr": lost, "profile": lost}),
        ("/v1/certificates", {"csr": "x", "profile": "gateway", lost: pem}),
        ("/v1/tunnels", {"name": f"{lost} of ours", "left": {"gateway": lost}}),
        ("/v1/tunnels", {"name": "x", "left": {"gateway": lost}, "right": {"gateway": lost}}),
        ("/v1/tunnels", {"name": "x", "psk": lost, "left": lost, "right": [lost]}),
        ("/v1/tunnels/made/secrets", {"import": {"value": lost}}),
        ("/v1/tunnels/made/secrets", {"import": {"value": value, lost: 1}, "kind": lost}),
        ("/v1/tunnels/made/secrets", {"import": value, "policy": {"zone": lost}}),
        ("/v1/tunnels/made/rotate", {"kind": lost, "reason": {lost: lost}}),
        (f"/v1/tunnels/{quote(lost, safe='')}/rotate", {}),
        ("/v1/gateways", {"name": f"{lost} ", "identities": [lost, f"psk:{lost}"]}),
        ("/v1/tokens", {"name": "x", "role": lost, "profiles": [lost], "uses": lost}),
        ("/v1/authorities", {"name": lost, "kind": lost, "subject": lost, "algorithm": lost}),
        ("/v1/handovers/claim", {"token": lost}),
        ("/v1/certificates/00/revoke", {"reason": lost, "invalidity_date": lost}),
        ("/v1/approvals/1/approve", {"reason": {"pin": lost}}),
        ("/v1/gateways/self/applied", {"secrets": [{"name": "brought.psk", "value": value}]}),
    ]
    written = [(path, json.dumps(document)) for path, document in documents]
    return [
        *written,
        ("/v1/tokens", f'{{"name": "{lost}'),
        ("/v1/tokens", json.dumps(lost)),
        ("/v1/tokens", f'{{"name": "x", "name": "{lost}", "role": NaN}}'),
        ("/v1/tunnels/made/secrets", json.dumps({"import": {"value": lost * 4000}})),
    ]


def _send(port: int, text: str) -> None:
    """Without TLS, to whoever listens."""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(text.encode())
        line.shutdown(socket.SHUT_WR)
        try:
            while line.recv(65536):
                pass
        except OSError:
            return


def spoil_commands(house: House) -> None:
    """Each fails, on what it is given."""
    wrong = house.secret("a wrong secret", word(), guessable=True)
    key = house.place / "given" / "left.example" / "left.example.key"
    house.json("cert", "issue", "x.example", "--csr", key, code=2)
    house.json("whoami", environ={"IKEWARDEN_TOKEN": wrong}, code=2)
    open_file, weak = house.file("open", wrong, 0o644), house.file("weak", wrong[:3])
    add = ("tunnel", "secret-add", "outer", "--import")
    house.json(*add, open_file, code=2)
    house.json(*add, weak, code=1)
    house.json(
        "secret", "claim", house.served.url, "--ca-file", house.served.ca_file, given=wrong, code=1
    )
    _spoil_settings(house, wrong)
    again = ("serve", "--dir", house.served.directory)
    house.run(*again, local=True, environ={"SEALING_WORDS": wrong}, code=2)
    unreachable = f"postgresql+psycopg://warden:{wrong}@127.0.0.1:1/x"
    house.run(*again, local=True, environ={"IKEWARDEN_DATABASE__URL": unreachable}, code=None)
    if "IKEWARDEN_PIN" in house.served.environ:
        for pin in (wrong, wrong, house.words["PIN"]):
            code = 0 if pin != wrong else 1
            check = ("hsm", "check", "--algorithm", "ec-p256")
            house.json(*check, local=True, environ={"IKEWARDEN_PIN": pin}, code=code)


def _spoil_settings(house: House, wrong: str) -> None:
    """Each is refused, in words that do not repeat it."""
    settings = house.served.directory / "ikewarden.toml"
    for name, value in (
        ("DATABASE__URL", f"mysql://warden:{wrong}@db.example/x"),
        ("NOTICES__WEBHOOK", f"ftp://hooks.example/{wrong}"),
        ("NOTICES__ALERTMANAGER_URL", f"http://warden:{wrong}@alerts.example"),
        ("API__PORT", wrong),
        ("DATABASE__PASSWORD", wrong),
    ):
        with pytest.raises(IkewardenError) as refusal:
            load_settings(settings, {**house.served.environ, f"IKEWARDEN_{name}": value})
        house.keep("what is wrong with settings", f"{refusal.value}{refusal.value.details}")
