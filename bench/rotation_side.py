"""`python -m bench.rotation_side DIR ACTION …`: who works on rotations in `bench.rotation`, each in its own process.

`prepare COUNT`: COUNT tunnels between two gateways each, with a key in OpenBao, due now. `replica NAME RULES`: a
scheduler's part in rotations, from a line of input on, until killed; RULES `bench` or `default`. `again COUNT`: so many
are due once more. `bare FIRST COUNT`: the same calls of the store with nothing around them. `check COUNT`: each was
rotated once. `begun VERSION`: how many rotations to this version began in any second.
DIR is the instance; its file `openbao.json` tells where the store is.
"""

import itertools
import json
import os
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
from sqlalchemy import Connection, func, insert, select, text, update

from bench.fleet_records import gateway_name
from core.secret import Secret
from fleet import ca_sets
from fleet.rotation import due, records
from fleet.rotation.runner import Runner
from fleet.rotation.values import Policy, State
from hsm.secretstore import SecretStore, VersionState
from hsm.vaultlogin import TokenLogin
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki.actors import Actor, Role
from pki.desk import Desk, RotationRules
from store.fleet_tables import (
    gateway_authorities,
    gateway_identities,
    gateway_reports,
    gateways,
    tunnels,
)
from store.rotation_tables import rotations, secret_slots, secrets

MOUNT = "rotation"
# As many as a replica has for the store.
THREADS = 8
_CHUNK = 2_000
_TOKEN = "BENCH_TOKEN"
_RULES = RotationRules(at_once=2_000, per_second=2_000.0)
_CLOCKWORK = Actor("bench", Role.SCHEDULER)


def main() -> None:
    """Do what the arguments say."""
    directory, action, *words = sys.argv[1:]
    place = Path(directory)
    if action == "bare":
        print(json.dumps(_bare(place, *words)))
        return
    desk = open_desk(place)
    actions: dict[str, Callable[..., Any]] = {
        "prepare": _prepare,
        "replica": _replica,
        "again": _again,
        "check": _check,
        "begun": _begun,
    }
    try:
        done = actions[action](desk, *words)
    finally:
        desk.store.close()
    print(json.dumps(done))


def open_desk(place: Path) -> Desk:
    """The instance's, with the rules of the benchmark and OpenBao as its store of secrets."""
    settings = load_settings(place / "ikewarden.toml", os.environ)
    desk = make_desk(settings, open_keys(settings, os.environ))
    told = _told(place)
    login = TokenLogin(None, _TOKEN, {_TOKEN: told["token"]})
    store = VaultSecretStore(Address(told["url"]), login, mount=MOUNT)
    return replace(desk, rules=replace(desk.rules, rotation=_RULES), secrets=store)


def clock() -> datetime:
    """The time of all who take part."""
    return datetime.now(UTC)


def _told(place: Path) -> dict[str, str]:
    return dict(json.loads((place / "openbao.json").read_text()))


def _secrets(desk: Desk) -> SecretStore:
    assert desk.secrets is not None
    return desk.secrets


def _path(number: int) -> str:
    return f"ikewarden/t{number:05}/psk"


def _prepare(desk: Desk, count: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    trusted = ca_sets.lineage(desk, "issuing")
    numbers = range(int(count))
    with desk.store.write() as connection:
        for start in range(0, len(numbers), _CHUNK):
            _register(connection, trusted, numbers[start : start + _CHUNK], now)
        if desk.store.dialect == "postgresql":
            for table in ("gateways", "tunnels", "secret_slots", "secrets"):
                counter = f"setval(pg_get_serial_sequence('{table}', 'id'), :last)"
                connection.execute(text(f"SELECT {counter}"), {"last": 2 * len(numbers) + 1})

    def put(number: int) -> None:
        value = Secret(desk.entropy(32))
        _secrets(desk).put(_path(number), value, after=0, tags={"version": "1"})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, numbers))
    return {"tunnels": len(numbers)}


def _register(connection: Connection, trusted: Any, numbers: range, now: datetime) -> None:
    ends = [end for number in numbers for end in (2 * number, 2 * number + 1)]
    made = {"created_at": now, "created_by": "bench"}
    shared = {"profile": "gateway", "authority_id": trusted[0].id, "version": 1, "commanded": 0}
    connection.execute(
        insert(gateways),
        [
            {
                "id": end + 1,
                "name": gateway_name(end),
                "identities": f"dns:{gateway_name(end)}",
                "changed_at": now,
                **shared,
                **made,
            }
            for end in ends
        ],
    )
    connection.execute(
        insert(gateway_identities),
        [{"identity": f"dns:{gateway_name(end)}", "gateway_id": end + 1} for end in ends],
    )
    connection.execute(
        insert(gateway_authorities),
        [
            {"gateway_id": end + 1, "authority_id": each.id, "crl_number": 1 << 40}
            for end in ends
            for each in trusted
        ],
    )
    connection.execute(
        insert(gateway_reports),
        [{"gateway_id": end + 1, "seen_at": now, "applied_version": 0} for end in ends],
    )
    _register_slots(connection, numbers, now, made)


def _register_slots(
    connection: Connection, numbers: range, now: datetime, made: dict[str, Any]
) -> None:
    connection.execute(
        insert(tunnels),
        [
            {
                "id": each + 1,
                "name": f"t{each:05}",
                "left_id": 2 * each + 1,
                "right_id": 2 * each + 2,
                "managed": 0,
                **made,
            }
            for each in numbers
        ],
    )
    keys = {"left_keys": [1], "right_keys": [1], "last_version": 1, "kind": "psk"}
    policy = records.policy_document(Policy())
    connection.execute(
        insert(secret_slots),
        [
            {
                "id": each + 1,
                "tunnel_id": each + 1,
                "name": f"t{each:05}.psk",
                "path": _path(each),
                "policy": policy,
                "due_at": now,
                **keys,
                **made,
            }
            for each in numbers
        ],
    )
    current = {"version": 1, "state": "current", "source": "generate", "store_version": 1}
    connection.execute(
        insert(secrets),
        [
            {"id": each + 1, "slot_id": each + 1, "created_at": now, "current_at": now, **current}
            for each in numbers
        ],
    )


def _replica(desk: Desk, name: str, rules: str) -> None:
    if rules == "default":
        desk = replace(desk, rules=replace(desk.rules, rotation=RotationRules()))
    runner = Runner(desk, _CLOCKWORK, name)
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in itertools.count():
        if turn % 20 == 0:
            due.begin_due(desk, _CLOCKWORK, now=clock())
        runner.run(clock)
        time.sleep(0.1)


def _again(desk: Desk, count: str) -> dict[str, Any]:
    with desk.store.write() as connection:
        those = update(secret_slots).where(secret_slots.c.id <= int(count))
        connection.execute(those.values(due_at=clock()))
    return {}


def _bare(place: Path, first: str, count: str) -> dict[str, Any]:
    """One loop, one client: what a rotation asks of the store, in the same order."""
    told = _told(place)
    calls = hvac.Client(url=told["url"], token=told["token"]).secrets.kv.v2
    values = [b64encode(os.urandom(32)).decode() for _ in range(int(count))]

    def put(number: int, value: str, after: int) -> None:
        document = {"value": value, "tags": {"rotation": str(number), "version": str(after + 1)}}
        calls.create_or_update_secret(path(number), document, cas=after, mount_point=MOUNT)

    def path(number: int) -> str:
        return f"bare/t{number:05}/psk"

    numbers = range(int(first), int(first) + int(count))
    for number in numbers:
        put(number, "", 0)
    start = time.monotonic()
    for number, value in zip(numbers, values, strict=True):
        put(number, value, 1)
        for _ in range(2):  # each end's agent
            calls.read_secret_version(
                path(number), 2, mount_point=MOUNT, raise_on_deleted_version=True
            )
        calls.destroy_secret_versions(path(number), [1], mount_point=MOUNT)
    return {"seconds": time.monotonic() - start}


def _check(desk: Desk, count: str) -> dict[str, Any]:
    with desk.store.read() as connection:
        turns = select(func.count()).select_from(rotations).group_by(rotations.c.slot_id)
        each = connection.scalars(turns).all()
        retired = select(func.count()).where(rotations.c.state == State.RETIRED)
        ended = connection.execute(retired).scalar_one()
        kept = select(func.count()).where(
            secrets.c.version == 2, secrets.c.store_version == 2, secrets.c.state == "current"
        )
        current = connection.execute(kept).scalar_one()

    def once(number: int) -> bool:
        states = [version.state for version in _secrets(desk).versions(_path(number))]
        return states == [VersionState.DESTROYED, VersionState.LIVE]

    with ThreadPoolExecutor(THREADS) as pool:
        found: Iterable[bool] = pool.map(once, range(int(count)))
        good = sum(found)
    wanted = int(count)
    once_each = good == ended == current == wanted and list(each) == [1] * wanted
    return {"once": once_each, "good": good}


def _begun(desk: Desk, version: str) -> dict[str, Any]:
    with desk.store.read() as connection:
        query = select(secrets.c.created_at).where(secrets.c.version == int(version))
        at = list(connection.scalars(query.order_by(secrets.c.created_at)))
    most, first = 0, 0
    for last, moment in enumerate(at):
        while moment - at[first] >= timedelta(seconds=1):
            first += 1
        most = max(most, last - first + 1)
    return {"most": most, "all": len(at)}


if __name__ == "__main__":
    main()
