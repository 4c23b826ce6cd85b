"""`python -m bench.fleet_records DIR …`: the records behind `bench.fleet`, as other processes write them.

`prepare COUNT PLACE`: COUNT gateways with a valid certificate each, whose client certificates (all with one key) are
written to PLACE. `change RATE SECONDS FILE`: RATE commands a second to gateways in random order, none twice, written
down with the time before each. Both print one JSON object.
"""

import hashlib
import json
import os
import random
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import func, insert, select, text

from fleet import ca_sets, commands
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki import authorities
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.x509 import serials
from store.fleet_tables import gateway_authorities, gateway_identities, gateways
from store.tables import certificates

_OPERATOR = Actor(name="bench", role=Role.OPERATOR)
_CHUNK = 2_000
_THREADS = 4


def main() -> None:
    """Do what the arguments say."""
    directory, action, *words = sys.argv[1:]
    settings = load_settings(Path(directory) / "ikewarden.toml", os.environ)
    desk = make_desk(settings, open_keys(settings, os.environ))
    try:
        if action == "prepare":
            done = _prepare(desk, int(words[0]), Path(words[1]))
        else:
            done = _change(desk, int(words[0]), int(words[1]), Path(words[2]))
    finally:
        desk.store.close()
    print(json.dumps(done))


def gateway_name(number: int) -> str:
    """The name of the bench's gateway `number`."""
    return f"gw{number:05}.bench.example"


def _prepare(desk: Desk, count: int, place: Path) -> dict[str, Any]:
    now = datetime.now(UTC)
    trusted = ca_sets.lineage(desk, "issuing")
    key = ec.generate_private_key(ec.SECP256R1())
    place.mkdir()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = authorities.pem(trusted[0].certificate).encode()
    with desk.store.read() as connection:
        first = int(connection.scalar(select(func.max(certificates.c.id))) or 0) + 1
    for start in range(0, count, _CHUNK):
        some = range(start, min(start + _CHUNK, count))
        made = list(_certificates(desk, key, first, some, now))
        for number, row in zip(some, made, strict=True):
            leaf = x509.load_der_x509_certificate(row["der"]).public_bytes(Encoding.PEM)
            file = place / f"{number}.pem"
            file.touch(mode=0o600)
            file.write_bytes(private + leaf + chain)
        with desk.store.write() as connection:
            connection.execute(insert(certificates), made)
            _register(connection, trusted, some, now)
    if desk.store.dialect == "postgresql":
        with desk.store.write() as connection:
            for table, last in (("certificates", first + count), ("gateways", count)):
                counter = f"setval(pg_get_serial_sequence('{table}', 'id'), :last)"
                connection.execute(text(f"SELECT {counter}"), {"last": last})
    return {"gateways": count}


def _certificates(
    desk: Desk, key: ec.EllipticCurvePrivateKey, first: int, numbers: range, now: datetime
) -> Iterator[dict[str, Any]]:
    issuer = authorities.load(desk, "issuing")
    signer = authorities.signer(desk, issuer)
    spki = hashlib.sha256(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()
    not_before = now.replace(microsecond=0) - timedelta(minutes=10)
    not_after = not_before + timedelta(days=80)
    for number in numbers:
        name = gateway_name(number)
        serial = serials.from_random(secrets.token_bytes(serials.BYTES), now)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(signer, hashes.SHA256())
        )
        der = leaf.public_bytes(Encoding.DER)
        yield {
            "id": first + number,
            "authority_id": issuer.id,
            "serial": serials.to_hex(serial),
            "status": "valid",
            "profile": "gateway",
            "subject": "",
            "names": f"dns:{name}",
            "not_before": not_before,
            "not_after": not_after,
            "shard": 0,
            "der": der,
            "fingerprint": hashlib.sha256(der).hexdigest(),
            "spki_sha256": spki,
            "requested_by": "bench",
            "credential": "local",
            "gateway": name,
            "request_id": "bench",
            "created_at": now,
            "issued_at": now,
        }


def _register(connection: Any, trusted: Any, numbers: range, now: datetime) -> None:
    rows, names, sets = [], [], []
    for number in numbers:
        name = gateway_name(number)
        rows.append(
            {
                "id": number + 1,
                "name": name,
                "profile": "gateway",
                "authority_id": trusted[0].id,
                "identities": f"dns:{name}",
                "version": 1,
                "commanded": 0,
                "changed_at": now,
                "created_at": now,
                "created_by": "bench",
            }
        )
        names.append({"identity": f"dns:{name}", "gateway_id": number + 1})
        sets += [
            {"gateway_id": number + 1, "authority_id": each.id, "crl_number": 1 << 40}
            for each in trusted
        ]
    connection.execute(insert(gateways), rows)
    connection.execute(insert(gateway_identities), names)
    connection.execute(insert(gateway_authorities), sets)


def _change(desk: Desk, rate: int, seconds: int, file: Path) -> dict[str, Any]:
    with desk.store.read() as connection:
        names = list(connection.scalars(select(gateways.c.name)))
    wanted = min(rate * seconds, len(names))
    chosen = iter(random.sample(names, wanted))
    said: list[tuple[str, float]] = []
    lock = threading.Lock()
    began = time.monotonic()

    def work() -> None:
        while True:
            with lock:
                name = next(chosen, None)
                place = len(said)
                if name is None:
                    return
                said.append((name, 0.0))
            time.sleep(max(0.0, began + place / rate - time.monotonic()))
            moment = time.monotonic()
            commands.give(desk, _OPERATOR, name, "renew", None, now=datetime.now(UTC))
            said[place] = (name, moment)

    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    file.write_text(json.dumps(dict(said)))
    return {"changes": wanted, "seconds": took}


if __name__ == "__main__":
    main()
