"""Spoiled requests at all doors of a running service: each gets an answer of its protocol and never one of ours that
says that something broke, no certificate is made for a key that nobody proved to have, nothing is told that shall not
be, and the processes do not grow. `IKEWARDEN_SOAK_REQUESTS` says how many (`make soak`: 1,000,000).
"""

import contextlib
import multiprocessing
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tests.api import scepping
from tests.fixtures.ports import free_ports
from tests.lab.story import Warden, served
from tests.service.strange.door import NAME, Given
from tests.service.strange.sender import Tally, Target, send

REQUESTS = int(os.environ.get("IKEWARDEN_SOAK_REQUESTS", "3000"))
ROUNDS, SENDERS = 10, 2
#: MiB that a process may be larger at the end than after the second of ten rounds.
_ROOM = 32
_ENDPOINTS = """\
[est]
server_keys = true
[scep]
[cmp]
"""
_ACME = """\
[acme]
networks = ["127.0.0.0/8"]
resolvers = ["127.0.0.1:{nobody}"]
http_port = {nobody}
tls_port = {nobody}
orders_per_hour = 1_000_000
failures_per_hour = 1_000_000
accounts_per_hour = 1_000_000
"""


@pytest.fixture
def warden(tmp_path: Path) -> Iterator[Warden]:
    """A service with every door open."""
    files = tmp_path / "endpoints"
    files.mkdir()
    [nobody] = free_ports(1)
    main = f'name = "strange"\nprofile = "gateway"\n{_ENDPOINTS}{_ACME.format(nobody=nobody)}'
    routers = 'name = "routers"\nprofile = "network-device"\n[scep]\n'
    old = 'name = "old"\nprofile = "network-device"\n[scep]\nlegacy = true\n'
    watched = (
        'name = "watched"\nprofile = "network-device"\napproval = "manual"\n[est]\n[scep]\n[cmp]\n'
    )
    for name, content in {
        "strange": main,
        "routers": routers,
        "old": old,
        "watched": watched,
    }.items():
        (files / f"{name}.toml").write_text(content)
    settings = {"IKEWARDEN_ENROLLMENT__ENDPOINTS_DIRECTORY": str(files)}
    with served(tmp_path / "instance", "ec-p256", in_lab=False, settings=settings) as running:
        yield running


def test_no_request_is_too_strange(warden: Warden) -> None:
    target = _target(warden)
    whole, grown = Tally(), []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(SENDERS, mp_context=spawn) as pool:
        for turn in range(ROUNDS):
            seeds = range(turn * SENDERS, (turn + 1) * SENDERS)
            counts = [REQUESTS // ROUNDS // SENDERS] * SENDERS
            for tally in pool.map(send, [target] * SENDERS, seeds, counts):
                whole.add(tally)
            grown.append(_memory(warden))
            sent, sizes = sum(whole.answers.values()), dict(sorted(grown[-1].items()))
            print(f"{sent:,} requests; MiB of each process: {sizes}")
    print(_table(whole.answers))
    assert not whole.wrong, "\n\n".join(whole.wrong[:5])
    assert {door for door, _ in whole.answers} == {"est", "scep", "cmp", "acme"}
    assert grown[-1].keys() == grown[0].keys(), "a process ended"
    for process, size in grown[-1].items():
        assert size - grown[1][process] < _ROOM, grown
    _only_proven_keys(warden.instance.directory / "ikewarden.db", target.given, whole)
    assert "Traceback" not in warden.log.read_text()
    made = warden.call(
        "POST", "/v1/certificates", {"csr": _pem(target.given), "profile": "gateway"}
    )
    assert made["serial"]
    assert warden.call("GET", "/readyz")["ready"]


def _target(warden: Warden) -> Target:
    wanted = {
        "name": "strange",
        "role": "enroller",
        "profiles": ["gateway", "network-device"],
        "names": [f"dns:{NAME}", f"dns:*.{NAME}"],
        "uses": 1_000_000,
    }
    made = warden.call("POST", "/v1/tokens", wanted)
    curve, modulus = (
        key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for key in (ec.generate_private_key(ec.SECP256R1()), scepping.new_key())
    )
    found = warden.fetch("/scep/routers?operation=GetCACert")
    ras = [
        each.public_bytes(Encoding.DER)
        for each in pkcs7.load_der_pkcs7_certificates(found)
        if not each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    ]
    given = Given(
        token=made["token"],
        reference=made["id"],
        eab_key=made["eab_hmac_key"],
        cmp_secret=made["cmp_secret"],
        ec_key=curve,
        rsa_key=modulus,
        ra=ras[0],
    )
    words = [made["token"], made["eab_hmac_key"], made["cmp_secret"], warden.token]
    words += [str(warden.instance.directory), "Traceback", "sqlite3.", "sqlalchemy"]
    root = warden.instance.directory / "root-ca.pem"
    silent = tuple(each.encode() for each in words)
    return Target(root, warden.api_port, warden.validation_port, given, silent)


def _memory(warden: Warden) -> dict[str, int]:
    """MiB of the processes of the service, each by itself with its share of what they have in common."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == warden.process.pid and fields[0] != "Z":
                text = (stat.parent / "smaps_rollup").read_text()
                [size] = re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
                name = (stat.parent / "comm").read_text().strip()
                found[f"{name} {stat.parent.name}"] = int(size) // 1024
    return found


def _only_proven_keys(database: Path, given: Given, whole: Tally) -> None:
    """Each certificate is for a key that the senders hold, but for those that the service made for them."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as records:
        rows = records.execute(
            "select der from certificates where der is not null "
            "and profile in ('gateway', 'network-device')"
        ).fetchall()
    ours = {_spki(key.public_key()) for key in (given.curve, given.modulus)}
    strange = 0
    for (der,) in rows:
        strange += _spki(x509.load_der_x509_certificate(der).public_key()) not in ours
    print(f"{len(rows):,} certificates, {strange:,} of them for keys that the service made")
    assert strange <= whole.server_keys


def _spki(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    found: bytes = key.public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def _pem(given: Given) -> str:
    name = x509.SubjectAlternativeName([x509.DNSName("after.example")])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(name, False)
    return builder.sign(given.curve, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _table(answers: Counter[tuple[str, int]]) -> str:
    return "\n".join(
        f"{door:5} {status} {count:>9,}" for (door, status), count in sorted(answers.items())
    )
