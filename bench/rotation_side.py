"""`python -m bench.rotation_side DIR ACTION …`: who works on rotations in `bench.rotation`, each in its own process.

`prepare COUNT`: COUNT tunnels between two gateways each, with a key in OpenBao, due now. `replica NAME`: a scheduler's
part in rotations, until killed. `agents`: all agents, until the input ends; prints how many rotations have retired each
second. `bare COUNT`: the same calls of the store with nothing around them. `check COUNT`: that each was rotated once.
DIR is the instance; its file `openbao.json` tells where the store is.
"""

import itertools
import json
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from bench.fleet_records import gateway_name
from core.secret import Secret
from fleet import ca_sets, reports, state
from fleet.changes import Changes
from fleet.reports import AppliedReport
from fleet.rotation import delivery, due, records
from fleet.rotation.intake import SecretReport, Secrets
from fleet.rotation.runner import Runner
from fleet.rotation.values import Authentication, EndAbilities, Policy, State
from hsm.secretstore import SecretStore, VersionState
from hsm.vaultlogin import TokenLogin
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from pki.actors import Actor, Role, Scope
from pki.desk import Desk, RotationRules
from store.fleet_tables import gateway_authorities, gateway_identities, gateways, tunnels
from store.rotation_tables import rotations, secret_slots, secrets

MOUNT = "rotation"
# As many as a replica has for the store.
THREADS = 8
_CHUNK = 2_000
_TOKEN = "BENCH_TOKEN"
_ABLE = EndAbilities(overlap=True, ppk=True, gapless=True)
_RULES = RotationRules(at_once=2_000, per_second=2_000.0)
_CLOCKWORK = Actor("bench", Role.SCHEDULER)


def main() -> None:
    """Do what the arguments say."""
    directory, action, *words = sys.argv[1:]
    settings = load_settings(Path(directory) / "ikewarden.toml", os.environ)
    desk = make_desk(settings, open_keys(settings, os.environ))
    rules = replace(desk.rules, rotation=_RULES)
    desk = replace(desk, rules=rules, secrets=_store(Path(directory)))
    actions: dict[str, Callable[..., Any]] = {
        "prepare": _prepare,
        "replica": _replica,
        "agents": _agents,
        "bare": _bare,
        "check": _check,
    }
    try:
        done = actions[action](desk, *words)
    finally:
        desk.store.close()
    print(json.dumps(done))


def _store(directory: Path) -> SecretStore:
    told = json.loads((directory / "openbao.json").read_text())
    login = TokenLogin(None, _TOKEN, {_TOKEN: told["token"]})
    return VaultSecretStore(Address(told["url"]), login, mount=MOUNT)


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


def _clock() -> datetime:
    return datetime.now(UTC)


def _replica(desk: Desk, name: str) -> None:
    runner = Runner(desk, _CLOCKWORK, name)
    print("ready", flush=True)
    for turn in itertools.count():
        if turn % 20 == 0:
            due.begin_due(desk, _CLOCKWORK, now=_clock())
        runner.run(_clock)
        time.sleep(0.1)


class _Agents:
    """The agents of all gateways, which do at once what they are told."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: dict[str, Authentication] = {}

    def work(self, gateway: int) -> None:
        """One round of one gateway: fetch the state and what values are new, apply, report."""
        name = gateway_name(gateway - 1)
        scope = Scope(gateway=name)
        actor = Actor(name, Role.GATEWAY, credential=f"certificate:bench:{gateway}", scope=scope)
        found = state.current(self._desk, actor, frozenset(), now=_clock())
        assert isinstance(found, state.DesiredState)
        told, started = [], False
        for slot in found.secrets:
            versions = tuple(key.version for key in slot.keys)
            if len(versions) > 1 and versions[0] < versions[1]:
                newest = max(slot.keys, key=lambda key: key.version)
                delivery.value(self._desk, actor, newest.id, now=_clock())
            if slot.prove is not None and slot.prove.start:
                spi = f"{slot.prove.version:016x}"
                proof = Authentication(slot.prove.version, spi, spi)
                started = started or self._seen.get(slot.name) != proof
                self._seen[slot.name] = proof
            seen = self._seen.get(slot.name)
            told.append(SecretReport(slot.name, versions, versions, (), seen, "", ""))
        report = AppliedReport(
            found.mark.version, "0", "strongswan", "6", "1", None, "loaded", {}, (), (),
            Secrets(_ABLE, tuple(told)),
        )  # fmt: skip
        reports.applied(self._desk, actor, report, now=_clock())
        if started:
            self.work((gateway - 1 ^ 1) + 1)  # the other end saw it too


def _agents(desk: Desk) -> dict[str, Any]:
    """Until the input ends; the first line is printed when all have reported once."""
    agents, changes, known = _Agents(desk), Changes(desk, _CLOCKWORK), dict[int, int]()
    waiter = selectors.DefaultSelector()
    waiter.register(sys.stdin, selectors.EVENT_READ)
    with ThreadPoolExecutor(THREADS) as pool:
        first = True
        while not waiter.select(0.05):
            news = {each.gateway_id: each.version for each in changes.look(_clock())}
            fresh = [gateway for gateway, version in news.items() if known.get(gateway) != version]
            known |= {gateway: version for gateway, version in news.items() if version is not None}
            list(pool.map(agents.work, fresh))
            if first:
                print("ready", flush=True)
                first = False
            with desk.store.read() as connection:
                print(json.dumps({"at": time.time(), "done": _retired(connection)}), flush=True)
    return {"rounds": len(known)}


def _retired(connection: Connection) -> int:
    query = select(func.count()).where(rotations.c.state == State.RETIRED)
    return int(connection.execute(query).scalar_one())


def _bare(desk: Desk, count: str) -> dict[str, Any]:
    store = _secrets(desk)

    def rotate(number: int) -> None:
        path = f"bare/t{number:05}/psk"
        made = store.put(path, Secret(desk.entropy(32)), after=0, tags={"version": "1"})
        for _ in range(2):
            store.get(path, made)
        store.destroy(path, made)

    rotate(int(count))  # it logs in
    start = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(rotate, range(int(count))))
    return {"seconds": time.monotonic() - start}


def _check(desk: Desk, count: str) -> dict[str, Any]:
    with desk.store.read() as connection:
        turns = select(func.count()).select_from(rotations).group_by(rotations.c.slot_id)
        each = connection.scalars(turns).all()
        ended = _retired(connection)

    def once(number: int) -> bool:
        states = [version.state for version in _secrets(desk).versions(_path(number))]
        return states == [VersionState.DESTROYED, VersionState.LIVE]

    with ThreadPoolExecutor(THREADS) as pool:
        found: Iterable[bool] = pool.map(once, range(int(count)))
        good = sum(found)
    wanted = int(count)
    return {"once": good == ended == wanted and list(each) == [1] * wanted, "good": good}


if __name__ == "__main__":
    main()
