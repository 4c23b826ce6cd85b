"""After a full round of work no secret stands anywhere but where it is kept: not in the records, logs, jobs, messages,
answers, temporary files, backups, nor in what a process shows of itself. With keys in each place.
"""

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import create_engine, text

from ikewarden.client import Client, Refused
from tests.api.plain import Listener
from tests.api.scepping import Device
from tests.fixtures.databases import _CHOSEN, _TEMPLATE
from tests.fixtures.needs import program
from tests.fixtures.postgresql import Server
from tests.lab.story import wait_until
from tests.service.canaries import Canaries, spelled_out
from tests.service.house import House, housing, rows, word
from tests.service.spoiling import spoil_commands, spoil_requests
from tests.service.witness import Witness

POSTGRESQL = "postgresql" in _CHOSEN
PLACES = [
    pytest.param(("files", "sqlite"), id="files"),
    pytest.param(
        ("softhsm", "postgresql" if POSTGRESQL else "sqlite"),
        id="softhsm",
        marks=[pytest.mark.postgres] if POSTGRESQL else [],
    ),
    pytest.param(("openbao", "sqlite"), id="openbao"),
]
LEFT, RIGHT, THIRD = "left.example", "right.example", "third.example"


@pytest.fixture(params=PLACES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    keys, database = request.param
    with contextlib.ExitStack() as stack:
        url = None
        if database == "postgresql":
            server: Server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database(_TEMPLATE))
        if keys == "softhsm":
            program("softhsm2-util", "softhsm2")
        openbao = request.getfixturevalue("lasting_openbao") if keys == "openbao" else None
        yield stack.enter_context(housing(tmp_path, keys, url, openbao))


def test_no_secret_is_found_after_a_full_round_of_work(house: House) -> None:
    bob = appoint(house)
    left, right = certify(house, LEFT), certify(house, RIGHT)
    if house.keys == "files":  # the same wherever the keys are
        enroll_an_agent(house)
        enroll_a_router(house)
    share_keys(house, left, right)
    hand_over(house)
    let_jobs_fail(house, left)
    spoil_requests(house, left)
    spoil_commands(house)
    back_up(house, bob)
    house.learn_sealed()
    known = set(house.canaries.spellings.values())
    assert {"brought.psk v2, as it is", "made.psk v1, as it is"} <= known
    found = {where: house.canaries.found(content) for where, content in house.written()}
    assert {where: names for where, names in found.items() if names} == {}
    assert house.witness.broken == []
    assert house.served.stop() == 0


def appoint(house: House) -> Path:
    """An approver and, with his approval, an operator; the file with the approver's token."""
    bob, operator = house.place / "given" / "bob", house.place / "given" / "operator"
    house.json("token", "create", "bob", "--role", "approver", "--out", bob)
    house.secret("the approver's token", bob.read_text().strip())
    wanted = ("token", "create", "olga", "--role", "operator", "--out", operator)
    approved(house, bob, *wanted)
    house.secret("the operator's token", operator.read_text().strip())
    approved(house, bob, "ca", "create", "branch", "--parent", "root", "--subject", "CN=Branch")
    enroller = house.place / "given" / "enroller"
    limits = ("--profile", "gateway", "--uses", "2", "--expires", "1d")
    made = house.json("token", "create", "e", "--role", "enroller", *limits, "--out", enroller)
    token = house.secret("an enroller's token", enroller.read_text().strip())
    house.run(*issuing(house, "host1.example"), environ={"IKEWARDEN_TOKEN": token})
    house.json("token", "revoke", made["id"])
    binding = house.place / "given" / "binding"
    house.json("token", "create", "f", "--role", "enroller", *limits, "--eab", "--out", binding)
    house.secret("the key of an external account binding", binding.read_text().strip())
    shared = house.place / "given" / "shared"
    house.json("token", "create", "g", "--role", "enroller", *limits, "--cmp", "--out", shared)
    house.secret("the secret of a CMP client", shared.read_text().strip())
    return bob


def approved(house: House, bob: Path, *command: str | Path, **options: Any) -> None:
    """Ask, have it approved, and do it."""
    refused = house.json(*command, code=1, **options)
    number = str(refused["details"]["approval"])
    house.json("approval", "show", number, "--token-file", bob)
    house.json("approval", "approve", number, "--reason", "planned", "--token-file", bob)
    house.json(*command, "--approval", number, **options)


def issuing(house: House, name: str) -> tuple[str | Path, ...]:
    return ("cert", "issue", name, "--out", house.place / "given" / name)


def certify(house: House, name: str) -> Client:
    """A gateway on record, as it speaks to the service."""
    made = house.json("gateway", "add", name, "--identity", f"dns:{name}", shows=True)
    house.secret("an enrollment", made["enrollment"])
    house.json(*issuing(house, name))
    folder = house.place / "given" / name
    key = folder / f"{name}.key"
    private = load_pem_private_key(key.read_bytes(), None)
    house.canaries.add_key(f"the key of {name}", private)
    return house.served.client_with(None, certificate=folder / f"{name}.pem", key=key)


def enroll_an_agent(house: House) -> None:
    """By the program itself, with the line that a person carries over."""
    line, home, out = (house.place / "given" / each for each in ("line", "home", "out"))
    house.json("gateway", "add", THIRD, "--identity", f"dns:{THIRD}", shows=True)
    house.json("gateway", "enrollment", THIRD, "--out", line)
    text = house.secret("the agent's enrollment", line.read_text().strip())
    document = text.partition("_")[2]
    carried = json.loads(base64.urlsafe_b64decode(document + "=" * (-len(document) % 4)))
    house.secret("the token in it", carried["t"])
    where = ("--home", home)
    house.run("agent", "enroll", *where, "--render", "pem", "--out", out, "--enrollment-file", line)
    house.run("agent", "once", *where, "--renew")
    house.run("agent", "status", *where)
    # Once only.
    house.run("agent", "enroll", "--home", f"{home}2", "--enrollment-file", line, code=2)
    for key in [*sorted(home.rglob("*.key")), out / "key.pem"]:
        with contextlib.suppress(ValueError):
            private = load_pem_private_key(key.read_bytes(), None)
            house.canaries.add_key(f"the agent's key {key.name}", private)


def enroll_a_router(house: House) -> None:
    """By SCEP, whose requests hold the token: one waits, one is answered, and one has a wrong password."""
    name, file = "router.example", house.place / "given" / "router"
    endpoints = house.served.directory / "endpoints"
    endpoints.mkdir()
    for endpoint, approval in (("routers", "automatic"), ("watched", "manual")):
        settings = (
            f'name = "{endpoint}"\nprofile = "network-device"\napproval = "{approval}"\n[scep]\n'
        )
        (endpoints / f"{endpoint}.toml").write_text(settings)
    with (house.served.directory / "ikewarden.toml").open("a") as settings_file:
        settings_file.write('\n[enrollment]\nendpoints_directory = "endpoints"\n')
    assert house.served.stop() == 0
    house.served.start()
    limits = (
        "--profile",
        "network-device",
        "--uses",
        "2",
        "--allow",
        f"dns:{name}",
        "--expires",
        "1d",
    )
    house.json("token", "create", "router", "--role", "enroller", *limits, "--out", file)
    token = house.secret("the router's token", file.read_text().strip())
    wrong = house.secret("a wrong password", word())
    plain = Listener(None, house.served.validation_port, None)  # type: ignore[arg-type]  # only its port is needed
    statuses = []
    for endpoint, password in (("watched", token), ("routers", wrong), ("routers", token)):
        router = Device.new(plain, endpoint, name)
        house.canaries.add_key(f"the key of the router at {endpoint}", router.key)
        statuses.append(router.enroll(name, password).status)
    assert statuses == ["3", "2", "0"]


def share_keys(house: House, left: Client, right: Client) -> None:
    """A key that is brought along, one that the service makes; both rotated until the old one is gone."""
    for name in ("brought", "made"):
        house.json("tunnel", "add", name, LEFT, RIGHT)
    brought = house.secret("a brought key", word(), guessable=True)
    house.json("tunnel", "secret-add", "brought", "--import", house.file("psk", brought))
    # Whoever asks twice is answered from the records.
    key = {"Idempotency_Key": "twice"}
    body = json.dumps({"import": {"value": _text(brought)}})
    for _ in range(2):
        assert house.ask("POST", "/v1/tunnels/made/secrets", body=body, **key) in (409, 422)
    house.json("tunnel", "secret-add", "made")
    begun = [house.json("tunnel", "rotate", "brought")["rotations"][0]["id"]]
    begun += [each["id"] for each in house.json("rotation", "list")["items"]]

    def retired() -> bool:
        for client in (left, right):
            _apply(house, client)
        path = "/v1/rotations/{}"
        states = [house.served.client.get(path.format(each))["state"] for each in begun]
        return set(states) == {"retired"}

    wait_until(retired, "the rotations")
    for name in ("brought", "made"):
        house.json("tunnel", "secrets", name)


def _apply(house: House, client: Client) -> None:
    """What an agent does: fetch each key, and report that it is in force."""
    state = client.get("/v1/gateways/self/state")
    for slot in state["secrets"]:
        for key in slot["keys"]:
            with contextlib.suppress(Refused):
                got = client.get(f"/v1/gateways/self/secrets/{key['id']}")
                house.canaries.add(
                    f"{slot['name']} v{key['version']}", base64.b64decode(got["value"])
                )
    report = {
        "version": state["version"],
        "agent_version": "0",
        "daemon": {"kind": "strongswan", "version": "6", "incarnation": "1"},
        "abilities": {"overlap": True, "ppk": True, "gapless": True},
        "secrets": [_report(slot) for slot in state["secrets"]],
    }
    client.post("/v1/gateways/self/applied", report)


def _report(slot: dict[str, Any]) -> dict[str, Any]:
    versions = [key["version"] for key in slot["keys"]]
    seen = slot["prove"] and {
        "version": slot["prove"]["version"],
        "at": datetime.now(UTC).isoformat(),
    }
    return {"name": slot["name"], "versions": versions, "held": versions, "authenticated": seen}


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def hand_over(house: House) -> None:
    """A key for an outside peer, by a token that is good once."""
    house.json("tunnel", "add", "outer", LEFT, "bank", "--peer-identity", "dns:vpn.bank.example")
    house.json("tunnel", "secret-add", "outer")
    given: dict[str, Any] = {}

    def handed_over() -> bool:
        """A busy service makes the first value a moment later."""
        given.update(house.json("tunnel", "handover", "outer", shows=True, code=None))
        return "token" in given

    wait_until(handed_over, "the first value")
    token = house.secret("the token of a handover", given["token"])
    out = house.place / "given" / "bank.psk"
    claim = ("secret", "claim", house.served.url, "--ca-file", house.served.ca_file)
    house.run(*claim, "--out", out, given=token)
    house.secret("the bank's key", out.read_bytes().strip())
    house.run(*claim, "--format", "json", given=token, code=1)


def let_jobs_fail(house: House, left: Client) -> None:
    """Notices and alerts that nobody takes, until it is on record that it failed."""
    house.json(*issuing(house, "short.example"), "--not-after", "2h")
    at = datetime.now(UTC)
    event = {"event": "auth_failed", "peer": "198.51.100.7", "source": "198.51.100.7"}
    event |= {"connection": "made", "name": "made", "identity": "CN=x", "reason": "psk"}
    times = [(at - timedelta(seconds=600 - each)).isoformat() for each in range(10)]
    events = [{**event, "time": time, "ike_id": number} for number, time in enumerate(times)]
    report = {"stream": "s1", "first": 0, "until": at.isoformat(), "events": events}
    left.post("/v1/gateways/self/sa-events", report)

    def failed() -> bool:
        tables = dict(rows(house.database_url, only="outbox"))
        lines = tables["the table outbox"]
        return all(each in lines for each in (b"notice", b"alertmanager", b"mail"))

    wait_until(failed, "messages that fail")
    house.json("job", "list")


def back_up(house: House, bob: Path) -> None:
    """A backup that another person approved, the log as a file, and both read again."""
    words = house.secret("the backup's passphrase", word(), guessable=True)
    environ = {"IKEWARDEN_BACKUP_PASSPHRASE": words}
    file, log = house.place / "backup.ikw", house.place / "audit-log.export"
    approved(house, bob, "backup", file, local=True, environ=environ)
    house.json("restore", file, "--check", local=True, environ=environ)
    wrong = {"IKEWARDEN_BACKUP_PASSPHRASE": house.secret("a wrong passphrase", word())}
    house.json("restore", file, "--check", local=True, environ=wrong, code=2)
    house.json("audit-log", "export", log)
    public = house.file("log-key", house.run("audit-log", "key").out)
    house.json("audit-log", "verify", log, "--key", public)
    if house.database_url.startswith("sqlite"):
        house.json("restore", file, "--dir", house.place / "restored", local=True, environ=environ)


KEYS: dict[str, Any] = {
    "ec": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
DER = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_the_search_finds_every_spelling() -> None:
    canaries = Canaries()
    value = word()
    canaries.add("it", value, guessable=True)
    for _, spelled in spelled_out(value.encode()):
        assert canaries.found(b"\0before" + spelled + b"after\n")
    for shift in range(4):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert canaries.found(encode(b"x" * shift + value.encode() + b"yz")), shift
    assert canaries.found(json.dumps({"x": value}).encode())
    assert canaries.found(hashlib.sha256(value.encode()).hexdigest().encode())
    assert canaries.found(value[:-1].encode()) == set()


@pytest.mark.parametrize("kind", KEYS)
def test_the_search_finds_private_keys_that_it_does_not_know(kind: str) -> None:
    key, canaries = KEYS[kind], Canaries()
    der = key.private_bytes(*DER)
    pem = key.private_bytes(Encoding.PEM, *DER[1:])
    lines = b"\n".join(pem.splitlines()[1:-1])
    for content in (
        der,
        pem,
        lines,
        lines.replace(b"\n", b"\\n"),
        base64.b64encode(der),
        der.hex(),
    ):
        octets = content.encode() if isinstance(content, str) else content
        assert canaries.found(b"\0\x30 before " + octets + b" after"), content
    sealed = key.private_bytes(*DER[:2], BestAvailableEncryption(b"words"))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for content in (sealed, public, base64.b64encode(public)):
        assert canaries.found(content) == set()
    canaries.add_key("it", key)
    if kind != "rsa":
        assert canaries.found(der[-64:] if kind == "ed25519" else der)


def test_rows_and_files_of_a_database_are_searched(store_url: str) -> None:
    canaries, value = Canaries(), word()
    canaries.add("it", value)
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE unheard_of (a INTEGER, b TEXT)"))
        connection.execute(text("INSERT INTO unheard_of VALUES (1, :it)"), {"it": f"x{value}y"})
    engine.dispose()
    found = {name for name, content in rows(store_url) if canaries.found(content)}
    assert found == {"the table unheard_of"}


def seen(what: str, where: Iterable[bytes]) -> bool:
    return any(what.encode() in each for each in list(where))


def test_arguments_environments_and_files_are_seen(tmp_path: Path) -> None:
    in_arguments, in_environ, in_file = word(), word(), word()
    file = tmp_path / "for-a-moment"
    wait = f"import sys; sys.stdin.read() # {in_arguments}"
    with Witness(lambda: iter([file])) as witness:
        process = subprocess.Popen(
            [sys.executable, "-c", wait], stdin=subprocess.PIPE, env={"X": in_environ}
        )
        file.write_text(in_file)
        wait_until(lambda: seen(in_environ, witness.environs), "the environment")
        wait_until(lambda: seen(in_file, witness.files.values()), "the file")
        process.communicate()
    assert seen(in_arguments, witness.arguments)
    assert witness.broken == []
