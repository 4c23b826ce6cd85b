"""`python -m bench.seed DIR crowd NAME COUNT SHARDS` and `… publish NAME TIMES`: what would take hours over the API.

`crowd` founds an authority and records COUNT certificates that it issued and revoked; entries are encoded by the same
code as in a real revocation. `publish` builds and publishes the authority's lists as the scheduler does, with the time
of each and the process's peak memory. Both print one JSON object.
"""

import json
import os
import resource
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, text

from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki import authorities, founding, publication
from pki.actors import Actor, Role
from pki.authorities import Authority
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.x509 import serials
from pki.x509.crl import Reason, entry
from scheduler.jobs import SCHEDULER
from store.tables import certificates, revocations

_CONSOLE = Actor(name="bench", role=Role.ADMIN)
_CHUNK = 20_000
_DER_BYTES = 800  # of a usual certificate


def main() -> None:
    """Do what the arguments say."""
    directory, action, name, *numbers = sys.argv[1:]
    settings = load_settings(Path(directory) / "ikewarden.toml", os.environ)
    desk = make_desk(settings, open_keys(settings, os.environ))
    try:
        counts = [int(number) for number in numbers]
        done = _crowd(desk, name, *counts) if action == "crowd" else _publish(desk, name, *counts)
    finally:
        desk.store.close()
    print(json.dumps(done))


def _crowd(desk: Desk, name: str, count: int, shards: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    request = AuthorityRequest(
        name=name, kind="issuing", parent="root", subject=f"CN={name},O=bench", shards=shards
    )
    owner = founding.create(desk, _CONSOLE, request, now=now)
    began = time.perf_counter()
    with desk.store.read() as connection:
        first = int(connection.scalar(select(func.max(certificates.c.id))) or 0) + 1
    for start in range(0, count, _CHUNK):
        pairs = list(_rows(owner, first + start, min(_CHUNK, count - start), now))
        with desk.store.write() as connection:
            connection.execute(insert(certificates), [pair[0] for pair in pairs])
            connection.execute(insert(revocations), [pair[1] for pair in pairs])
    if desk.store.dialect == "postgresql":
        with desk.store.write() as connection:
            counter = "setval(pg_get_serial_sequence('certificates', 'id'), :last)"
            connection.execute(text(f"SELECT {counter}"), {"last": first + count})
    return {"revoked": count, "seconds": time.perf_counter() - began}


def _rows(
    owner: Authority, first: int, count: int, now: datetime
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    issued, revoked = now - timedelta(days=2), now - timedelta(days=1)
    not_after = now + timedelta(days=80)
    der = bytes(_DER_BYTES)
    for number in range(first, first + count):
        serial = serials.from_random(secrets.token_bytes(serials.BYTES), issued)
        common = {
            "authority_id": owner.id,
            "serial": serials.to_hex(serial),
            "shard": owner.shard_of(serial),
            "not_after": not_after,
        }
        certificate = {
            "id": number,
            "status": "revoked",
            "profile": "gateway-sharded" if owner.shards else "gateway",
            "subject": f"CN=gw{number}.bench.example",
            "names": f"dns:gw{number}.bench.example",
            "not_before": issued,
            "der": der,
            "fingerprint": secrets.token_hex(32),
            "spki_sha256": secrets.token_hex(32),
            "requested_by": "bench",
            "credential": "local",
            "gateway": f"gw{number}.bench.example",
            "request_id": "bench",
            "created_at": issued,
            "issued_at": issued,
        }
        revocation = {
            "certificate_id": number,
            "state": "revoked",
            "reason": Reason.superseded.value,
            "revoked_at": revoked,
            "changed_at": revoked,
            "entry": entry(serial, revoked, Reason.superseded, None),
        }
        yield common | certificate, common | revocation


def _publish(desk: Desk, name: str, times: int) -> dict[str, Any]:
    owner = authorities.load(desk, name)
    full = []
    for _ in range(times):
        began = time.perf_counter()
        made = publication.publish_full(desk, SCHEDULER, name, now=datetime.now(UTC))
        full.append(time.perf_counter() - began)
    shards = []
    for shard in range(owner.shards):
        began = time.perf_counter()
        publication.publish_shard(desk, SCHEDULER, name, shard, now=datetime.now(UTC))
        shards.append(time.perf_counter() - began)
    return {
        "full_seconds": full,
        "shard_seconds": shards,
        "entries": made.entries,
        "bytes": len(made.der),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
